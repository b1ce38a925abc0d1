//! The operations, a file per family. Each documents its formula, shapes and errors.

mod pointwise;
mod view;
