//! Kiln's compute kernels: plain WGSL files, and the linker that makes one text of a kernel.
//!
//! A [`Kernel`] is a file and a header of constants, aliases and generated functions; [`link`] joins the header, the
//! parts that the file names in its `//! use:` line, and the file. [`variants`] lists every kernel that the library can
//! ask for, so that tests translate each to the language of every backend. The crate knows nothing of wgpu.
//!
//! ```
//! use kiln_shaders::{Kernel, ParamSpace, link};
//!
//! let linked = link(&Kernel::new("arange").alias("T", "f32"), ParamSpace::Uniform)?;
//! assert_eq!(linked.bindings(), 1);
//! assert!(linked.source.starts_with("alias T = f32;"));
//! # Ok::<(), kiln_shaders::LinkError>(())
//! ```

pub mod contract;
mod files;
mod kernel;
mod link;
mod variants;

pub use kernel::{Kernel, Value};
pub use link::{LinkError, Linked, Location, ParamSpace, link};
pub use variants::variants;
