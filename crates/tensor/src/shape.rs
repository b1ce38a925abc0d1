//! Shapes and strides.

use std::fmt;
use std::ops::Deref;

use crate::error::{Error, Result};

/// The most axes that a tensor can have.
pub const MAX_RANK: usize = 6;

/// The sizes of a tensor's axes, outermost first. The empty shape is a scalar's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
    // Axes beyond MAX_RANK are only counted, so that every op can refuse them with an error of its own.
    excess: u16,
}

impl Shape {
    /// The shape of a scalar.
    pub const SCALAR: Shape = Shape { dims: [0; MAX_RANK], rank: 0, excess: 0 };

    /// The sizes, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..usize::from(self.rank)]
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// The number of elements, or an error where it does not fit.
    pub(crate) fn checked_numel(&self, op: &'static str) -> Result<usize> {
        if self.excess > 0 {
            return Err(Error::shape(
                op,
                format!(
                    "a shape of {} axes; needs at most {MAX_RANK}: merge neighbouring axes by reshape",
                    MAX_RANK + usize::from(self.excess)
                ),
            ));
        }
        // Any axis of 0 makes the product 0, even where the others overflow.
        if self.dims().contains(&0) {
            return Ok(0);
        }
        self.dims()
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim))
            .filter(|&numel| u32::try_from(numel).is_ok())
            .ok_or_else(|| {
                Error::shape(
                    op,
                    format!("shape {self} has more than {} elements; split it into several tensors", u32::MAX),
                )
            })
    }

    /// The number of elements of a shape that was checked before.
    pub fn numel(&self) -> usize {
        self.dims().iter().product()
    }

    /// Row-major strides, in elements.
    pub(crate) fn contiguous_strides(&self) -> Strides {
        let mut strides = Strides::default();
        let mut step = 1usize;
        for (dim, stride) in self.dims().iter().zip(&mut strides.0).rev() {
            *stride = step;
            step = step.saturating_mul((*dim).max(1));
        }
        strides
    }

    /// The same shape with one axis of another size.
    #[must_use]
    pub(crate) fn with_dim(mut self, axis: usize, size: usize) -> Shape {
        self.dims[axis] = size;
        self
    }

    /// The shape that both broadcast to: axes are aligned at the end, and an axis of 1 stretches.
    ///
    /// # Errors
    /// [`Error::Shape`] where two sizes differ and neither is 1.
    pub fn broadcast(&self, other: &Shape, op: &'static str) -> Result<Shape> {
        let rank = self.rank().max(other.rank());
        let mut dims = [0; MAX_RANK];
        for (from_end, dim) in dims[..rank].iter_mut().rev().enumerate() {
            let size = |shape: &Shape| shape.dims().iter().rev().nth(from_end).copied().unwrap_or(1);
            *dim = match (size(self), size(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => {
                    return Err(Error::shape(
                        op,
                        format!(
                            "shapes {self} and {other} do not broadcast; aligned at the end, sizes must be equal or 1: \
                             reshape or expand one of them"
                        ),
                    ));
                }
            };
        }
        Ok(Shape { dims, rank: rank as u8, excess: 0 })
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Shape {
        let rank = dims.len().min(MAX_RANK);
        let mut shape = Shape {
            dims: [0; MAX_RANK],
            rank: rank as u8,
            excess: u16::try_from(dims.len() - rank).unwrap_or(u16::MAX),
        };
        shape.dims[..rank].copy_from_slice(&dims[..rank]);
        shape
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape::from(dims.as_slice())
    }
}

impl From<&Vec<usize>> for Shape {
    fn from(dims: &Vec<usize>) -> Shape {
        Shape::from(dims.as_slice())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Shape {
        Shape::from(dims.as_slice())
    }
}

impl From<usize> for Shape {
    fn from(dim: usize) -> Shape {
        Shape::from([dim])
    }
}

impl From<()> for Shape {
    fn from((): ()) -> Shape {
        Shape::SCALAR
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        *shape
    }
}

/// The distance between neighbours along each axis, in elements. An expanded axis has 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Strides(pub(crate) [usize; MAX_RANK]);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let huge = Shape::from([1 << 20, 1 << 20]);
        assert_eq!(
            huge.checked_numel("zeros").unwrap_err().to_string(),
            "zeros: shape [1048576, 1048576] has more than 4294967295 elements; split it into several tensors"
        );
        assert_eq!(Shape::from([usize::MAX, usize::MAX, 0]).checked_numel("zeros").unwrap(), 0);
        assert_eq!(Shape::from(()).checked_numel("zeros").unwrap(), 1);
        assert_eq!(
            Shape::from([1; 9]).checked_numel("zeros").unwrap_err().to_string(),
            "zeros: a shape of 9 axes; needs at most 6: merge neighbouring axes by reshape"
        );
    }

    #[test]
    fn shapes_broadcast_as_in_pytorch() {
        let shape = |dims: &[usize]| Shape::from(dims);
        assert_eq!(shape(&[2, 1, 3]).broadcast(&shape(&[4, 1]), "add").unwrap(), shape(&[2, 4, 3]));
        assert_eq!(shape(&[]).broadcast(&shape(&[0, 5]), "add").unwrap(), shape(&[0, 5]));
        assert_eq!(
            shape(&[2, 3]).broadcast(&shape(&[2]), "add").unwrap_err().to_string(),
            "add: shapes [2, 3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or expand one \
             of them"
        );
    }
}
