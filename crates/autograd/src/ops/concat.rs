//! Joining and padding.

use kiln_tensor::{Axis, Tensor};

use crate::error::{Error, Result};
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// Variables joined along an existing axis: [`Tensor::cat`]. Each gets its part of `dy`.
    ///
    /// # Errors
    /// As [`Tensor::cat`]; [`Error::TwoTapes`].
    pub fn cat(vars: &[&Var], dim: impl Into<Axis>) -> Result<Var> {
        let first = first("cat", vars)?;
        let dim = dim.into().of("cat", first.shape())?;
        let y = Tensor::cat(&tensors(vars), dim)?;
        let sizes = vars.iter().map(|var| var.dim(dim)).collect::<Result<Vec<usize>>>()?;
        first.tape().record("cat", vars, y, move |dy, wants| {
            let mut start = 0;
            let part = |(&size, &wanted): (&usize, &bool)| {
                let from = start;
                start += size;
                Gradient::when(wanted, || Ok(dy.narrow(dim, from, size)?))
            };
            sizes.iter().zip(wants).map(part).collect()
        })
    }

    /// Variables of one shape joined along a new axis: [`Tensor::stack`]. Each gets its part of `dy`.
    ///
    /// # Errors
    /// As [`Tensor::stack`]; [`Error::TwoTapes`].
    pub fn stack(vars: &[&Var], dim: impl Into<Axis>) -> Result<Var> {
        let dim = dim.into();
        let y = Tensor::stack(&tensors(vars), dim)?;
        first("stack", vars)?.tape().record("stack", vars, y, move |dy, wants| {
            let part = |(index, &wanted): (usize, &bool)| {
                Gradient::when(wanted, || Ok(dy.narrow(dim, index, 1)?.squeeze(dim)?))
            };
            wants.iter().enumerate().map(part).collect()
        })
    }

    /// For each axis, so many elements of `value` before and after: [`Tensor::pad`]. `dx` is `dy` without them.
    ///
    /// # Errors
    /// As [`Tensor::pad`].
    pub fn pad(&self, padding: &[(usize, usize)], value: f64) -> Result<Var> {
        let y = self.tensor().pad(padding, value)?;
        let shape = *self.shape();
        let starts: Vec<usize> = padding.iter().map(|&(before, _)| before).collect();
        self.record_unary("pad", y, move |dy| {
            let mut inner = dy.clone();
            for (axis, (&start, &size)) in starts.iter().zip(shape.iter()).enumerate() {
                inner = inner.narrow(axis, start, size)?;
            }
            Ok(inner)
        })
    }
}

fn tensors<'a>(vars: &[&'a Var]) -> Vec<&'a Tensor> {
    vars.iter().map(|var| var.tensor()).collect()
}

/// The variable whose tape records.
fn first<'a>(op: &'static str, vars: &[&'a Var]) -> Result<&'a Var> {
    let none = || Error::Argument { op, message: "no variables; needs at least one".to_string() };
    vars.first().copied().ok_or_else(none)
}
