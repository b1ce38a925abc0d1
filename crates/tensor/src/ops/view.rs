//! Other views of the same elements. Nothing is computed and nothing is copied, except where [`Tensor::reshape`] meets a view whose
//! elements are not in order.

use crate::axis::{Axes, Axis, AxisRange, NewShape};
use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, Shape, Strides};
use crate::tensor::Tensor;

impl Tensor {
    /// The same elements in row-major order under another shape of as many elements. A view where the elements lie in order,
    /// a copy otherwise. One size may be -1: what the others leave.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshape(&self, shape: impl Into<NewShape>) -> Result<Tensor> {
        let shape = shape.into().of("reshape", self.shape())?;
        let source = self.contiguous()?;
        Ok(source.view(shape, shape.contiguous_strides(), source.offset()))
    }

    /// Merges neighbouring axes into one: `1` is all from axis 1 on, `1..=2` these two, `..` all.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::zeros(&Device::open_default()?, [8, 16, 5, 5], DType::F32)?;
    /// assert_eq!(x.flatten(1)?.dims::<2>()?, [8, 400]);
    /// assert_eq!(x.flatten(1..=2)?.dims::<3>()?, [8, 80, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where an axis is missing or the first is after the last.
    pub fn flatten(&self, axes: impl Into<AxisRange>) -> Result<Tensor> {
        let AxisRange { start, end } = axes.into();
        // A scalar counts as one axis here, as in PyTorch.
        if self.rank() == 0 && start.within(1).is_some() && end.within(1).is_some() {
            return self.reshape([1]);
        }
        let (start, end) = (start.of("flatten", self.shape())?, end.of("flatten", self.shape())?);
        if start > end {
            return Err(Error::argument(
                "flatten",
                format!("start {start} is after end {end}; pass the first axis and then the last"),
            ));
        }
        let mut dims = self.shape()[..start].to_vec();
        dims.push(self.shape()[start..=end].iter().product());
        dims.extend_from_slice(&self.shape()[end + 1..]);
        self.reshape(dims)
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this tensor.
    ///
    /// # Errors
    /// [`Error::Argument`] where `axes` does not name every axis once.
    pub fn permute(&self, axes: impl Into<Axes>) -> Result<Tensor> {
        let rank = self.rank();
        let axes = axes.into().of("permute", self.shape())?;
        if axes.len() != rank {
            return Err(Error::argument(
                "permute",
                format!("axes {axes:?} for a tensor of shape {}; needs each of 0..{rank} once", self.shape()),
            ));
        }
        let dims: Vec<usize> = axes.iter().map(|&axis| self.shape()[axis]).collect();
        let mut strides = Strides::default();
        for (stride, &axis) in strides.0.iter_mut().zip(&axes) {
            *stride = self.strides()[axis];
        }
        Ok(self.view(Shape::from(dims), strides, self.offset()))
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// [`Error::Argument`] where an axis is missing.
    pub fn transpose(&self, dim0: impl Into<Axis>, dim1: impl Into<Axis>) -> Result<Tensor> {
        let (dim0, dim1) = (self.axis("transpose", dim0)?, self.axis("transpose", dim1)?);
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(dim0, dim1);
        self.permute(&axes)
    }

    /// A matrix transposed.
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is not 2.
    pub fn t(&self) -> Result<Tensor> {
        if self.rank() != 2 {
            return Err(Error::shape(
                "t",
                format!("a tensor of shape {}; needs a matrix: name the two axes by transpose", self.shape()),
            ));
        }
        self.transpose(0, 1)
    }

    /// Along one axis, the elements `start, start + step, ...` below `end`.
    ///
    /// # Errors
    /// [`Error::Argument`] where the axis is missing, `step` is 0, or the range is not inside the axis.
    pub fn slice(&self, dim: impl Into<Axis>, start: usize, end: usize, step: usize) -> Result<Tensor> {
        let dim = self.axis("slice", dim)?;
        let size = self.shape()[dim];
        if start > end || end > size {
            return Err(Error::argument(
                "slice",
                format!(
                    "range {start}..{end} of axis {dim} of a tensor of shape {}; needs start <= end <= {size}",
                    self.shape()
                ),
            ));
        }
        if step == 0 {
            return Err(Error::argument("slice", "step 0; needs at least 1"));
        }
        let shape = self.shape().with_dim(dim, (end - start).div_ceil(step));
        let mut strides = self.raw_strides();
        let offset = if shape.contains(&0) { self.offset() } else { self.offset() + start * strides.0[dim] };
        strides.0[dim] *= step;
        Ok(self.view(shape, strides, offset))
    }

    /// Along one axis, `length` elements from `start` on.
    ///
    /// # Errors
    /// [`Error::Argument`] where the axis is missing or the range is not inside it.
    pub fn narrow(&self, dim: impl Into<Axis>, start: usize, length: usize) -> Result<Tensor> {
        let dim = self.axis("narrow", dim)?;
        let size = self.shape()[dim];
        match start.checked_add(length) {
            Some(end) if end <= size => self.slice(dim, start, end, 1),
            _ => Err(Error::argument(
                "narrow",
                format!(
                    "{length} elements from {start} on of axis {dim} of a tensor of shape {}; needs start + length <= {size}",
                    self.shape()
                ),
            )),
        }
    }

    /// The tensor stretched to a shape to which it broadcasts: axes of size 1 are repeated, new axes are put in front.
    ///
    /// # Errors
    /// [`Error::Shape`] where it does not broadcast to that shape.
    pub fn expand(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        shape.checked_numel("expand")?;
        let lead = shape.rank().checked_sub(self.rank());
        let fits =
            |lead: usize| self.shape().iter().zip(&shape[lead..]).all(|(&own, &wanted)| own == wanted || own == 1);
        let Some(lead) = lead.filter(|&lead| fits(lead)) else {
            return Err(Error::shape(
                "expand",
                format!("shape {} to {shape}; aligned at the end, each size must be the wanted one or 1", self.shape()),
            ));
        };
        let mut strides = Strides::default();
        for (axis, stride) in strides.0.iter_mut().enumerate().take(shape.rank()).skip(lead) {
            if self.shape()[axis - lead] == shape[axis] {
                *stride = self.strides()[axis - lead];
            }
        }
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Without one axis of size 1.
    ///
    /// # Errors
    /// [`Error::Argument`] where the axis is missing or has another size.
    pub fn squeeze(&self, dim: impl Into<Axis>) -> Result<Tensor> {
        let dim = self.axis("squeeze", dim)?;
        if self.shape()[dim] != 1 {
            return Err(Error::argument(
                "squeeze",
                format!(
                    "axis {dim} of a tensor of shape {} has size {}; needs size 1",
                    self.shape(),
                    self.shape()[dim]
                ),
            ));
        }
        let mut dims = self.shape().to_vec();
        dims.remove(dim);
        let mut strides = self.strides().to_vec();
        strides.remove(dim);
        Ok(self.view(Shape::from(dims), padded(&strides), self.offset()))
    }

    /// With a new axis of size 1, which is axis `dim` of the result: -1 puts it at the end.
    ///
    /// # Errors
    /// [`Error::Argument`] where `dim` is beyond the rank, [`Error::Shape`] where there are too many axes.
    pub fn unsqueeze(&self, dim: impl Into<Axis>) -> Result<Tensor> {
        let dim = self.new_axis("unsqueeze", dim.into())?;
        if self.rank() == MAX_RANK {
            return Err(Error::shape(
                "unsqueeze",
                format!("a tensor of shape {} has {MAX_RANK} axes already; merge some by reshape", self.shape()),
            ));
        }
        let mut dims = self.shape().to_vec();
        dims.insert(dim, 1);
        let mut strides = self.strides().to_vec();
        strides.insert(dim, 0);
        Ok(self.view(Shape::from(dims), padded(&strides), self.offset()))
    }
}

impl Tensor {
    /// The number from 0 of an axis.
    pub(crate) fn axis(&self, op: &'static str, axis: impl Into<Axis>) -> Result<usize> {
        axis.into().of(op, self.shape())
    }

    /// The number from 0 of an axis that a result has and this tensor does not.
    pub(crate) fn new_axis(&self, op: &'static str, axis: Axis) -> Result<usize> {
        axis.within(self.rank() + 1).ok_or_else(|| {
            let (axis, rank) = (axis.number(), self.rank());
            let from_the_end = if axis < 0 { format!(" and at least -{}", rank + 1) } else { String::new() };
            Error::argument(
                op,
                format!("axis {axis} for a tensor of shape {}; needs at most {rank}{from_the_end}", self.shape()),
            )
        })
    }
}

fn padded(strides: &[usize]) -> Strides {
    let mut padded = Strides::default();
    padded.0[..strides.len()].copy_from_slice(strides);
    padded
}

impl Tensor {
    /// The first `count` axes merged into one: a view where their strides allow, a copy otherwise. No axes give one of size 1.
    pub(crate) fn merge_leading(&self, count: usize) -> Result<Tensor> {
        let merged = self.shape()[..count].iter().product();
        let mut dims = vec![merged];
        dims.extend_from_slice(&self.shape()[count..]);
        // Sizes of 1 have no say; all others must step as one axis would.
        let mut stride = None;
        let mut expected = 0;
        for axis in (0..count).rev().filter(|&axis| self.shape()[axis] != 1) {
            let own = self.strides()[axis];
            if stride.is_some() && own != expected {
                return self.contiguous()?.reshape(dims);
            }
            stride = stride.or(Some(own));
            expected = own * self.shape()[axis];
        }
        let mut strides = vec![stride.unwrap_or(0)];
        strides.extend_from_slice(&self.strides()[count..]);
        Ok(self.view(Shape::from(dims), padded(&strides), self.offset()))
    }
}
