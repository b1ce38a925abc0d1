//! Flattening.

use kiln_autograd::Var;

use crate::error::Result;
use crate::layers::parameterless;
use crate::module::{Module, Visitor};

/// Merges all axes behind the first into one: `[n, c, h, w]` to `[n, c h w]`, between convolutions and linear layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flatten;

impl Module for Flatten {
    fn forward(&self, x: &Var) -> Result<Var> {
        match x.rank() {
            // Nothing behind the first axis: each sample is a single element.
            1 => Ok(x.reshape([x.dim(0)?, 1])?),
            _ => Ok(x.flatten(1)?),
        }
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(Flatten);
