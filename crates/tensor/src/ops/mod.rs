//! The operations, a file per family. Each documents its formula, shapes and errors.

pub mod activation;
pub mod adaptive_pool;
pub mod batch_norm;
pub mod class_loss;
mod concat;
pub mod conv;
mod conv_options;
pub mod conv_transpose;
mod depthwise;
pub mod elementwise_loss;
pub mod foreach;
pub mod image;
pub mod interpolate;
pub mod local_response_norm;
pub mod loss;
pub mod matmul;
mod operator;
pub mod optim;
pub mod pointwise;
pub mod pool;
pub mod random;
mod reduce;
pub mod softmax;
mod view;
