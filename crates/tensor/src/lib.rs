//! Kiln's tensors: n-dimensional arrays whose elements live on the GPU, and the operations on them.
//!
//! A [`Tensor`] is a view (shape, strides, offset) of memory on a [`Device`]; clones and views share the
//! memory. Every operation returns a [`Result`]: its error says what was given, what is needed and what to change. Nothing
//! waits for the GPU until a value is read.
//!
//! ```
//! use kiln_gpu::Device;
//! use kiln_tensor::Tensor;
//!
//! # fn main() -> Result<(), kiln_tensor::Error> {
//! let device = Device::open_default()?;
//! let a = Tensor::from_slice(&device, [2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! let b = a.transpose(0, 1)?;
//! assert_eq!(a.matmul(&b)?.to_vec::<f32>()?, [14.0, 32.0, 32.0, 77.0]);
//! # Ok(())
//! # }
//! ```

mod axis;
pub mod ceiling;
mod contract;
pub mod custom;
mod dtype;
mod error;
mod launch;
pub mod ops;
pub mod plan;
mod shape;
mod tensor;

pub use kiln_gpu::{AdapterInfo, Device, GpuError, Live};

pub use axis::{Axes, Axis, AxisRange, NewShape, Size, Size2};
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use ops::random::Random;
pub use shape::{MAX_RANK, Shape};
pub use tensor::Tensor;
