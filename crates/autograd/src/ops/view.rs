//! Views: the gradient takes the same way back.

use kiln_tensor::{Axes, Axis, AxisRange, DType, NewShape, Shape, Tensor};

use crate::error::Result;
use crate::var::Var;

impl Var {
    /// The same elements under another shape: [`Tensor::reshape`]. `dx` is `dy` under the shape of `x`.
    ///
    /// # Errors
    /// As [`Tensor::reshape`].
    pub fn reshape(&self, shape: impl Into<NewShape>) -> Result<Var> {
        self.reshaped("reshape", self.tensor().reshape(shape)?)
    }

    /// Neighbouring axes merged into one, `1` from axis 1 on: [`Tensor::flatten`]. `dx` is `dy` under the shape of `x`.
    ///
    /// # Errors
    /// As [`Tensor::flatten`].
    pub fn flatten(&self, axes: impl Into<AxisRange>) -> Result<Var> {
        self.reshaped("flatten", self.tensor().flatten(axes)?)
    }

    /// Without one axis of size 1: [`Tensor::squeeze`]. `dx` is `dy` with that axis.
    ///
    /// # Errors
    /// As [`Tensor::squeeze`].
    pub fn squeeze(&self, dim: impl Into<Axis>) -> Result<Var> {
        self.reshaped("squeeze", self.tensor().squeeze(dim)?)
    }

    /// With a new axis of size 1, which is axis `dim` of the result: [`Tensor::unsqueeze`]. `dx` is `dy` without that axis.
    ///
    /// # Errors
    /// As [`Tensor::unsqueeze`].
    pub fn unsqueeze(&self, dim: impl Into<Axis>) -> Result<Var> {
        self.reshaped("unsqueeze", self.tensor().unsqueeze(dim)?)
    }

    fn reshaped(&self, op: &'static str, y: Tensor) -> Result<Var> {
        let shape = *self.shape();
        self.record_unary(op, y, move |dy| Ok(dy.reshape(shape)?))
    }

    /// The axes in another order: [`Tensor::permute`]. `dx` is `dy` with the axes put back.
    ///
    /// # Errors
    /// As [`Tensor::permute`].
    pub fn permute(&self, axes: impl Into<Axes>) -> Result<Var> {
        let axes = axes.into().of("permute", self.shape())?;
        let y = self.tensor().permute(&axes)?;
        let mut back: Vec<usize> = (0..axes.len()).collect();
        back.sort_unstable_by_key(|&axis| axes[axis]);
        self.record_unary("permute", y, move |dy| Ok(dy.permute(&back)?))
    }

    /// Two axes exchanged: [`Tensor::transpose`]. `dx` is `dy` with the same axes exchanged.
    ///
    /// # Errors
    /// As [`Tensor::transpose`].
    pub fn transpose(&self, dim0: impl Into<Axis>, dim1: impl Into<Axis>) -> Result<Var> {
        let (dim0, dim1) = (dim0.into(), dim1.into());
        let y = self.tensor().transpose(dim0, dim1)?;
        self.record_unary("transpose", y, move |dy| Ok(dy.transpose(dim0, dim1)?))
    }

    /// A matrix transposed: [`Tensor::t`]. `dx` is `dy` transposed.
    ///
    /// # Errors
    /// As [`Tensor::t`].
    pub fn t(&self) -> Result<Var> {
        self.record_unary("t", self.tensor().t()?, |dy| Ok(dy.t()?))
    }

    /// The tensor stretched to a shape to which it broadcasts: [`Tensor::expand`]. `dx` is the sum of `dy` over the
    /// copies.
    ///
    /// # Errors
    /// As [`Tensor::expand`].
    pub fn expand(&self, shape: impl Into<Shape>) -> Result<Var> {
        // The walk sums over what was stretched.
        self.record_unary("expand", self.tensor().expand(shape)?, |dy| Ok(dy.clone()))
    }

    /// Along one axis, the elements `start, start + step, ...` below `end`: [`Tensor::slice`]. `dx` is `dy` at those
    /// elements and 0 at the others.
    ///
    /// # Errors
    /// As [`Tensor::slice`].
    pub fn slice(&self, dim: impl Into<Axis>, start: usize, end: usize, step: usize) -> Result<Var> {
        let dim = dim.into().of("slice", self.shape())?;
        let y = self.tensor().slice(dim, start, end, step)?;
        let shape = *self.shape();
        self.record_unary("slice", y, move |dy| spread(dy, shape, dim, start, step))
    }

    /// Along one axis, `length` elements from `start` on: [`Tensor::narrow`]. `dx` is `dy` there and 0 elsewhere.
    ///
    /// # Errors
    /// As [`Tensor::narrow`].
    pub fn narrow(&self, dim: impl Into<Axis>, start: usize, length: usize) -> Result<Var> {
        let dim = dim.into().of("narrow", self.shape())?;
        let y = self.tensor().narrow(dim, start, length)?;
        let shape = *self.shape();
        self.record_unary("narrow", y, move |dy| spread(dy, shape, dim, start, 1))
    }

    /// The same elements in row-major order without gaps: [`Tensor::contiguous`]. `dx = dy`.
    ///
    /// # Errors
    /// As [`Tensor::contiguous`].
    pub fn contiguous(&self) -> Result<Var> {
        self.record_unary("contiguous", self.tensor().contiguous()?, |dy| Ok(dy.clone()))
    }

    /// The elements converted: [`Tensor::to_dtype`]. `dx` is `dy` converted back; what is converted to integers is a
    /// constant.
    ///
    /// # Errors
    /// As [`Tensor::to_dtype`].
    pub fn to_dtype(&self, dtype: DType) -> Result<Var> {
        let from = self.dtype();
        self.record_unary("to_dtype", self.tensor().to_dtype(dtype)?, move |dy| Ok(dy.to_dtype(from)?))
    }
}

/// A tensor of zeros but for `dy` at the elements `start, start + step, ...` of one axis.
fn spread(dy: &Tensor, shape: Shape, dim: usize, start: usize, step: usize) -> Result<Tensor> {
    let size = shape[dim];
    let (before, after): (usize, usize) = (shape[..dim].iter().product(), shape[dim + 1..].iter().product());
    let length = dy.shape()[dim];
    let mut rows = dy.reshape([before, length, after])?;
    let mut spaced = length;
    if step > 1 {
        // Zeros between the elements: each element becomes a row of `step`. Those after the last may reach beyond the
        // axis.
        let gaps = rows.reshape([before, length, 1, after])?.pad(&[(0, 0), (0, 0), (0, step - 1), (0, 0)], 0.0)?;
        spaced = (length * step).min(size - start);
        rows = gaps.reshape([before, length * step, after])?.narrow(1, 0, spaced)?;
    }
    Ok(rows.pad(&[(0, 0), (start, size - start - spaced), (0, 0)], 0.0)?.reshape(shape)?)
}
