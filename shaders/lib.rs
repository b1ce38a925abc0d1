//! Kiln's compute kernels: plain WGSL files, and the linker that makes one text of a kernel.
//!
//! A [`Kernel`] is a file and a header of constants, aliases and generated functions; [`link`] joins the header, the
//! parts that the file names in its `//! use:` line, and the file. Each kernel family has a module that chooses the
//! variant for a problem and gives a [`Launch`]: kernel, parameters and workgroups. [`variants`] lists every kernel that
//! the library can ask for, so that tests translate each to the language of every backend. The crate knows nothing of
//! wgpu.
//!
//! ```
//! use kiln_shaders::{Kernel, ParamSpace, link};
//!
//! let linked = link(&Kernel::new("arange").alias("T", "f32"), ParamSpace::Uniform)?;
//! assert_eq!(linked.bindings(), 1);
//! assert!(linked.source.starts_with("alias T = f32;"));
//! # Ok::<(), kiln_shaders::LinkError>(())
//! ```
//!
//! What every kernel expects: buffers are bound in the order that its module states; every offset counts elements from the
//! start of the binding (quads of four elements where it says so); what lies between a tensor's end and the next multiple
//! of 16 bytes may be read and written; counts and offsets are below 2^31.

pub mod adaptive_pool;
pub mod batch_norm;
pub mod ceiling;
pub mod class_loss;
pub mod contract;
pub mod conv;
pub mod depthwise;
pub mod foreach;
pub mod image;
pub mod interpolate;
pub mod local_response_norm;
pub mod matmul;
pub mod optim;
pub mod pointwise;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod softmax;
pub mod winograd;

mod files;
mod kernel;
mod launch;
mod link;
mod storage;
mod variants;

pub use kernel::{Kernel, Value};
pub use launch::{Launch, Layout, Params};
pub use link::{LinkError, Linked, Location, ParamSpace, link};
pub use storage::{Compute, Storage};
pub use variants::{layouts, variants};
