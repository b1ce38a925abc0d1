//! The rows, a file per family of ops.

pub mod binary;
pub mod conv;
pub mod create;
pub mod matmul;
pub mod pool;
pub mod reduce;
pub mod unary;
pub mod view;
