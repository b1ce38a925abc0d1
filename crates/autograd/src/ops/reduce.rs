//! Reductions over axes, `..` for all of them.

use kiln_tensor::{Axes, Shape, Tensor};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The sum over axes: [`Tensor::sum`]. `dx` is `dy` at every element that was summed.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn sum(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.summed(&dims, self.tensor().sum(&dims)?)
    }

    /// As [`Var::sum`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::sum`].
    pub fn sum_keepdim(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.summed(&dims, self.tensor().sum_keepdim(&dims)?)
    }

    fn summed(&self, dims: &Axes, y: Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), kept("sum", self.shape(), dims)?);
        self.record_unary("sum", y, move |dy| Ok(dy.reshape(kept)?.expand(shape)?))
    }

    /// The mean over axes: [`Tensor::mean`]. `dx` is `dy / n` at each of the `n` elements that share a mean.
    ///
    /// # Errors
    /// As [`Tensor::mean`].
    pub fn mean(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.averaged(&dims, self.tensor().mean(&dims)?)
    }

    /// As [`Var::mean`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::mean`].
    pub fn mean_keepdim(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.averaged(&dims, self.tensor().mean_keepdim(&dims)?)
    }

    fn averaged(&self, dims: &Axes, y: Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), kept("mean", self.shape(), dims)?);
        let count = self.numel() as f64 / y.numel().max(1) as f64;
        self.record_unary("mean", y, move |dy| Ok(dy.mul_scalar(1.0 / count)?.reshape(kept)?.expand(shape)?))
    }

    /// The largest over axes: [`Tensor::max`]. `dx` is `dy` at the largest element, divided evenly where several are
    /// equal (as PyTorch's `amax`), and 0 at the others.
    ///
    /// # Errors
    /// As [`Tensor::max`].
    pub fn max(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.extreme("max", &dims, self.tensor().max(&dims)?)
    }

    /// As [`Var::max`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::max`].
    pub fn max_keepdim(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.extreme("max", &dims, self.tensor().max_keepdim(&dims)?)
    }

    /// The smallest over axes: [`Tensor::min`]. `dx` is `dy` at the smallest element, divided evenly where several are
    /// equal (as PyTorch's `amin`), and 0 at the others.
    ///
    /// # Errors
    /// As [`Tensor::min`].
    pub fn min(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.extreme("min", &dims, self.tensor().min(&dims)?)
    }

    /// As [`Var::min`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::min`].
    pub fn min_keepdim(&self, dims: impl Into<Axes>) -> Result<Var> {
        let dims = dims.into();
        self.extreme("min", &dims, self.tensor().min_keepdim(&dims)?)
    }

    fn extreme(&self, op: &'static str, dims: &Axes, y: Tensor) -> Result<Var> {
        let kept = kept(op, self.shape(), dims)?;
        let (dims, x, value) = (dims.clone(), Saved::new(self.tensor()), Saved::new(&y));
        self.record_unary(op, y, move |dy| {
            let x = x.get()?;
            let ties = x.eq(&value.get()?.reshape(kept)?)?.to_dtype(dy.dtype())?;
            Ok(ties.mul(&dy.reshape(kept)?.div(&ties.sum_keepdim(&dims)?)?)?)
        })
    }
}

/// The shape after a reduction that keeps its axes with size 1.
fn kept(op: &'static str, shape: &Shape, dims: &Axes) -> Result<Shape> {
    let dims = dims.of(op, shape)?;
    let size = |(axis, &size): (usize, &usize)| if dims.is_empty() || dims.contains(&axis) { 1 } else { size };
    Ok(Shape::from(shape.iter().enumerate().map(size).collect::<Vec<usize>>()))
}
