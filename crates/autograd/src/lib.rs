//! Kiln's automatic differentiation: a [`Tape`] records the ops of one forward pass, [`Var`]s are tensors on it, and
//! [`Var::backward`] walks the tape back to the [`Gradients`] of its leaves.
//!
//! ```
//! use kiln_autograd::Tape;
//! use kiln_tensor::{Device, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let device = Device::open_default()?;
//! let tape = Tape::train();
//! let images = tape.constant(Tensor::from_slice(&device, [1, 2], &[1.0f32, 2.0])?);
//! let weight = tape.leaf(Tensor::from_slice(&device, [2, 1], &[3.0f32, 4.0])?);
//! let loss = images.matmul(&weight)?.square()?.sum(..)?;
//! assert_eq!(loss.item::<f32>()?, 121.0);
//!
//! let gradients = loss.backward()?;
//! assert_eq!(gradients.get(&weight).map(|dw| dw.to_vec::<f32>()).transpose()?, Some(vec![22.0, 44.0]));
//! # Ok(())
//! # }
//! ```
//!
//! Every rule states a gradient for each input: a tensor, zero, or not differentiable. The sum over what broadcasting
//! repeated and over several uses of a variable is done in the walk. Nothing recurses, whatever the length of the
//! graph. A user's own op is [`Tape::record`], the same call as ours, and [`gradcheck`] compares its rule with central
//! differences.

mod backward;
mod error;
mod gradcheck;
mod gradients;
mod ops;
mod rectifier;
mod saved;
mod tape;
mod var;
mod watch;

pub use error::{Error, Form, Result};
pub use gradcheck::{GradcheckOptions, GradcheckReport, Slope, gradcheck};
pub use gradients::Gradients;
pub use saved::Saved;
pub use tape::{Gradient, Tape};
pub use var::Var;
pub use watch::{Captured, Layer, LayerScope, OpTrace};
