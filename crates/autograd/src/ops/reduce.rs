//! Reductions over axes. No axes named means all of them.

use kiln_tensor::{Shape, Tensor};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The sum over axes: [`Tensor::sum`]. `dx` is `dy` at every element that was summed.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn sum(&self, dims: &[usize], keepdim: bool) -> Result<Var> {
        let y = self.tensor().sum(dims, keepdim)?;
        let (shape, kept) = (*self.shape(), kept(self.shape(), dims));
        self.record_unary("sum", y, move |dy| Ok(dy.reshape(kept)?.expand(shape)?))
    }

    /// The mean over axes: [`Tensor::mean`]. `dx` is `dy / n` at each of the `n` elements that share a mean.
    ///
    /// # Errors
    /// As [`Tensor::mean`].
    pub fn mean(&self, dims: &[usize], keepdim: bool) -> Result<Var> {
        let y = self.tensor().mean(dims, keepdim)?;
        let (shape, kept) = (*self.shape(), kept(self.shape(), dims));
        let count = self.numel() as f64 / y.numel().max(1) as f64;
        self.record_unary("mean", y, move |dy| Ok(dy.mul_scalar(1.0 / count)?.reshape(kept)?.expand(shape)?))
    }

    /// The largest over axes: [`Tensor::max`]. `dx` is `dy` at the largest element, divided evenly where several are
    /// equal (as PyTorch's `amax`), and 0 at the others.
    ///
    /// # Errors
    /// As [`Tensor::max`].
    pub fn max(&self, dims: &[usize], keepdim: bool) -> Result<Var> {
        self.extreme("max", dims, self.tensor().max(dims, keepdim)?)
    }

    /// The smallest over axes: [`Tensor::min`]. `dx` is `dy` at the smallest element, divided evenly where several are
    /// equal (as PyTorch's `amin`), and 0 at the others.
    ///
    /// # Errors
    /// As [`Tensor::min`].
    pub fn min(&self, dims: &[usize], keepdim: bool) -> Result<Var> {
        self.extreme("min", dims, self.tensor().min(dims, keepdim)?)
    }

    fn extreme(&self, op: &'static str, dims: &[usize], y: Tensor) -> Result<Var> {
        let kept = kept(self.shape(), dims);
        let axes: Vec<usize> = (0..self.rank()).filter(|axis| dims.is_empty() || dims.contains(axis)).collect();
        let (x, value) = (Saved::new(self.tensor()), Saved::new(&y));
        self.record_unary(op, y, move |dy| {
            let x = x.get()?;
            let ties = x.eq(&value.get()?.reshape(kept)?)?.to_dtype(dy.dtype())?;
            Ok(ties.mul(&dy.reshape(kept)?.div(&ties.sum(&axes, true)?)?)?)
        })
    }
}

/// The shape after a reduction that keeps its axes with size 1.
fn kept(shape: &Shape, dims: &[usize]) -> Shape {
    let size = |(axis, &size): (usize, &usize)| if dims.is_empty() || dims.contains(&axis) { 1 } else { size };
    Shape::from(shape.iter().enumerate().map(size).collect::<Vec<usize>>())
}
