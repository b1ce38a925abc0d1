//! The f64 reference: every public op once more, in plain Rust on row-major arrays of `f64`.
//!
//! Written for clarity, from each op's definition and not from its kernel: a loop over output elements, no tiling, no
//! tricks. Two things rest on it: the device's forward values are compared with it, and the device's gradients are
//! compared with central differences of it. It is itself held to values that PyTorch recorded (`recorded.rs`).
//!
//! Functions assert what they need. A broken assertion here is a mistake in a test, never in the code under test.

pub mod array;
pub mod conv;
pub mod difference;
pub mod interpolate;
pub mod lenet;
pub mod matmul;
pub mod movement;
pub mod norm;
pub mod optim;
pub mod philox;
pub mod pointwise;
pub mod pool;
pub mod reduce;

pub use array::Array;
