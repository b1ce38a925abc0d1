//! The rows, a file per family of ops.

pub mod binary;
pub mod create;
pub mod unary;
pub mod view;
