//! Tensors joined and framed.

use kiln_shaders::pointwise as kernels;

use super::pointwise::pointwise_into;
use crate::axis::Axis;
use crate::error::{Error, Result};
use crate::shape::MAX_RANK;
use crate::tensor::Tensor;

impl Tensor {
    /// Tensors one after the other along an axis that they have already. All other sizes are equal.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty list, a missing axis, or tensors of two devices; [`Error::Shape`] and [`Error::DType`] where
    /// tensors differ; [`Error::Gpu`].
    pub fn cat(tensors: &[&Tensor], dim: impl Into<Axis>) -> Result<Tensor> {
        const OP: &str = "cat";
        let Some(first) = tensors.first() else {
            return Err(Error::argument(OP, "no tensors; needs at least one"));
        };
        let dim = first.axis(OP, dim)?;
        let mut total = 0usize;
        for (index, tensor) in tensors.iter().enumerate() {
            first.check_device(OP, tensor)?;
            let same = tensor.rank() == first.rank()
                && (0..first.rank()).all(|axis| axis == dim || tensor.shape()[axis] == first.shape()[axis]);
            if !same {
                return Err(Error::shape(
                    OP,
                    format!(
                        "tensor {index} has shape {}, the first {}; needs equal sizes on every axis but {dim}",
                        tensor.shape(),
                        first.shape()
                    ),
                ));
            }
            if tensor.dtype() != first.dtype() {
                return Err(Error::dtype(
                    OP,
                    format!(
                        "tensor {index} is {}, the first {}; needs one type: convert one by to_dtype",
                        tensor.dtype(),
                        first.dtype()
                    ),
                ));
            }
            total = total.saturating_add(tensor.shape()[dim]);
        }
        let out = Tensor::empty(first.device(), first.shape().with_dim(dim, total), first.dtype(), OP)?;
        let mut start = 0;
        for tensor in tensors {
            let size = tensor.shape()[dim];
            pointwise_into(&kernels::COPY, &[tensor], &out.narrow(dim, start, size)?, [0.0; 2], false)?;
            start += size;
        }
        Ok(out)
    }

    /// Tensors of one shape, side by side along a new axis, which is axis `dim` of the result.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty list, an axis beyond the rank, or tensors of two devices; [`Error::Shape`] and
    /// [`Error::DType`] where tensors differ or there are too many axes; [`Error::Gpu`].
    pub fn stack(tensors: &[&Tensor], dim: impl Into<Axis>) -> Result<Tensor> {
        const OP: &str = "stack";
        let Some(first) = tensors.first() else {
            return Err(Error::argument(OP, "no tensors; needs at least one"));
        };
        if let Some(index) = tensors.iter().position(|tensor| tensor.shape() != first.shape()) {
            return Err(Error::shape(
                OP,
                format!(
                    "tensor {index} has shape {}, the first {}; needs one shape: use cat to join along an axis",
                    tensors[index].shape(),
                    first.shape()
                ),
            ));
        }
        let dim = dim.into();
        let place = dim.within(first.rank() + 1).filter(|_| first.rank() < MAX_RANK);
        let Some(dim) = place else {
            return Err(Error::argument(
                OP,
                format!(
                    "a new axis {} for tensors of shape {}; needs one of at most {} and no more than {MAX_RANK} axes in all",
                    dim.number(),
                    first.shape(),
                    first.rank()
                ),
            ));
        };
        if let Some((index, other)) = tensors.iter().enumerate().find(|(_, tensor)| tensor.dtype() != first.dtype()) {
            return Err(Error::dtype(
                OP,
                format!(
                    "tensor {index} is {}, the first {}; needs one type: convert one by to_dtype",
                    other.dtype(),
                    first.dtype()
                ),
            ));
        }
        for tensor in tensors {
            first.check_device(OP, tensor)?;
        }
        let raised: Vec<Tensor> = tensors.iter().map(|tensor| tensor.unsqueeze(dim)).collect::<Result<_>>()?;
        Tensor::cat(&raised.iter().collect::<Vec<_>>(), dim)
    }

    /// The tensor with `(before, after)` elements of `value` around it along each axis.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::from_slice(&Device::open_default()?, [1, 2], &[1i32, 2])?;
    /// assert_eq!(x.pad(&[(0, 1), (1, 0)], 9.0)?.to_vec::<i32>()?, [9, 1, 2, 9, 9, 9]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where `padding` has not one pair per axis, [`Error::Shape`] where the result is too large;
    /// [`Error::Gpu`].
    pub fn pad(&self, padding: &[(usize, usize)], value: f64) -> Result<Tensor> {
        const OP: &str = "pad";
        if padding.len() != self.rank() {
            return Err(Error::argument(
                OP,
                format!(
                    "{} pairs for a tensor of shape {}; needs {}, one (before, after) per axis",
                    padding.len(),
                    self.shape(),
                    self.rank()
                ),
            ));
        }
        let mut shape = *self.shape();
        for (axis, &(before, after)) in padding.iter().enumerate() {
            shape = shape.with_dim(axis, before.saturating_add(self.shape()[axis]).saturating_add(after));
        }
        shape.checked_numel(OP)?;
        let out = Tensor::full(self.device(), shape, value, self.dtype())?;
        let mut inside = out.clone();
        for (axis, &(before, _)) in padding.iter().enumerate() {
            inside = inside.narrow(axis, before, self.shape()[axis])?;
        }
        pointwise_into(&kernels::COPY, &[self], &inside, [0.0; 2], false)?;
        Ok(out)
    }
}
