//! The parity table: one row per public op, a file per family.

pub mod view;
