//! The operations, a file per family. Each documents its formula, shapes and errors.

pub mod activation;
pub mod batch_norm;
mod concat;
pub mod conv;
mod depthwise;
pub mod conv_transpose;
pub mod elementwise_loss;
pub mod image;
pub mod loss;
pub mod matmul;
pub mod optim;
pub mod pointwise;
pub mod pool;
pub mod random;
mod reduce;
pub mod softmax;
mod view;
