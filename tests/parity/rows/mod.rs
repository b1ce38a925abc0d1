//! The rows, a file per family of ops.

pub mod access;
pub mod activation;
pub mod adaptive_pool;
pub mod binary;
pub mod class_loss;
pub mod conv;
pub mod conv_transpose;
pub mod create;
pub mod elementwise_loss;
pub mod gradient;
pub mod image;
pub mod interpolate;
pub mod local_response_norm;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod softmax;
pub mod unary;
pub mod view;
