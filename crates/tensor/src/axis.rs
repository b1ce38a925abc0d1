//! Axes and sizes as arguments: what PyTorch takes as a number, a negative number, a pair or a list.

use std::fmt;
use std::ops::{RangeFull, RangeInclusive};

use crate::error::{Error, Result};
use crate::shape::{MAX_RANK, Shape};

/// One axis: `0` is the first, `-1` the last.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::Tensor;
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let x = Tensor::from_slice(&Device::open_default()?, [2, 3], &[0.0f32, 0.0, 0.0, 1.0, 1.0, 1.0])?;
/// assert_eq!(x.softmax(-1)?.to_vec::<f32>()?, x.softmax(1)?.to_vec::<f32>()?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis(isize);

impl Axis {
    /// The last axis.
    pub const LAST: Axis = Axis(-1);

    /// Its number from 0 in a tensor of this shape.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such axis.
    pub fn of(self, op: &'static str, shape: &Shape) -> Result<usize> {
        let axis = self.0;
        self.within(shape.rank()).ok_or_else(|| match shape.rank() {
            0 => Error::argument(op, format!("axis {axis} of a scalar; it has no axes: add one by unsqueeze")),
            rank => {
                let from_the_end = if axis < 0 { format!(" and at least -{rank}") } else { String::new() };
                Error::argument(
                    op,
                    format!("axis {axis} of a tensor of shape {shape}; needs an axis below {rank}{from_the_end}"),
                )
            }
        })
    }

    /// Its number among this many axes.
    pub(crate) fn within(self, rank: usize) -> Option<usize> {
        let axis = if self.0 < 0 { rank.checked_sub(self.0.unsigned_abs())? } else { self.0.unsigned_abs() };
        (axis < rank).then_some(axis)
    }

    pub(crate) fn number(self) -> isize {
        self.0
    }
}

impl From<usize> for Axis {
    fn from(axis: usize) -> Axis {
        Axis(isize::try_from(axis).unwrap_or(isize::MAX))
    }
}

impl From<isize> for Axis {
    fn from(axis: isize) -> Axis {
        Axis(axis)
    }
}

impl From<i32> for Axis {
    fn from(axis: i32) -> Axis {
        Axis(axis as isize)
    }
}

/// Some axes, as a number, an array, a slice, or `..` for all of them.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let x = Tensor::ones(&Device::open_default()?, [2, 3, 4], DType::F32)?;
/// assert_eq!(x.sum(..)?.item::<f32>()?, 24.0);
/// assert_eq!(x.sum(-1)?.dims::<2>()?, [2, 3]);
/// assert_eq!(x.sum([0, 2])?.dims::<1>()?, [3]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes(Vec<Axis>);

impl Axes {
    /// Their numbers from 0 in a tensor of this shape, in the order in which they were given. Empty for all axes.
    ///
    /// # Errors
    /// [`Error::Argument`] for a missing or repeated axis.
    pub fn of(&self, op: &'static str, shape: &Shape) -> Result<Vec<usize>> {
        let mut numbers = Vec::with_capacity(self.0.len());
        for axis in &self.0 {
            let number = axis.of(op, shape)?;
            if numbers.contains(&number) {
                return Err(Error::argument(op, format!("axes {self} name axis {number} twice; name each once")));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|axis| axis.number())).finish()
    }
}

impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Axes {
        Axes(Vec::new())
    }
}

impl From<&Axes> for Axes {
    fn from(axes: &Axes) -> Axes {
        axes.clone()
    }
}

macro_rules! axes_from {
    ($($number:ty),*) => {$(
        impl From<$number> for Axes {
            fn from(axis: $number) -> Axes {
                Axes(vec![axis.into()])
            }
        }

        impl From<&[$number]> for Axes {
            fn from(axes: &[$number]) -> Axes {
                Axes(axes.iter().map(|&axis| axis.into()).collect())
            }
        }

        impl<const N: usize> From<[$number; N]> for Axes {
            fn from(axes: [$number; N]) -> Axes {
                Axes::from(axes.as_slice())
            }
        }

        impl<const N: usize> From<&[$number; N]> for Axes {
            fn from(axes: &[$number; N]) -> Axes {
                Axes::from(axes.as_slice())
            }
        }

        impl From<&Vec<$number>> for Axes {
            fn from(axes: &Vec<$number>) -> Axes {
                Axes::from(axes.as_slice())
            }
        }
    )*};
}
axes_from!(usize, isize, i32);

/// Neighbouring axes: `1` from axis 1 to the last, `1..=2` these two, `(1, -2)` from axis 1 to the last but one, `..` all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisRange {
    /// The first of them.
    pub start: Axis,
    /// The last of them.
    pub end: Axis,
}

impl From<RangeFull> for AxisRange {
    fn from(_: RangeFull) -> AxisRange {
        AxisRange { start: Axis(0), end: Axis::LAST }
    }
}

/// From the first of the two to the second, either counted from an end of its own.
impl<A: Into<Axis>, B: Into<Axis>> From<(A, B)> for AxisRange {
    fn from((start, end): (A, B)) -> AxisRange {
        AxisRange { start: start.into(), end: end.into() }
    }
}

macro_rules! axis_range_from {
    ($($number:ty),*) => {$(
        impl From<$number> for AxisRange {
            fn from(start: $number) -> AxisRange {
                AxisRange { start: start.into(), end: Axis::LAST }
            }
        }

        impl From<RangeInclusive<$number>> for AxisRange {
            fn from(range: RangeInclusive<$number>) -> AxisRange {
                AxisRange { start: (*range.start()).into(), end: (*range.end()).into() }
            }
        }
    )*};
}
axis_range_from!(usize, isize, i32);

/// Height and width of a window, a step or a border: a number for both, or `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size2(pub [usize; 2]);

impl From<usize> for Size2 {
    fn from(size: usize) -> Size2 {
        Size2([size, size])
    }
}

impl From<[usize; 2]> for Size2 {
    fn from(size: [usize; 2]) -> Size2 {
        Size2(size)
    }
}

impl From<(usize, usize)> for Size2 {
    fn from((height, width): (usize, usize)) -> Size2 {
        Size2([height, width])
    }
}

/// The shape that [`Tensor::reshape`](crate::Tensor::reshape) gives: as [`Shape`], and one size may be -1, which is then what the
/// others leave. Sizes of which some are variables and one is -1 go into a tuple.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let x = Tensor::zeros(&Device::open_default()?, [8, 16, 5, 5], DType::F32)?;
/// let [n, ..] = x.dims::<4>()?;
/// assert_eq!(x.reshape([-1, 400])?.dims::<2>()?, [8, 400]);
/// assert_eq!(x.reshape((n, -1))?.dims::<2>()?, [8, 400]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewShape {
    sizes: [isize; MAX_RANK],
    // Sizes beyond MAX_RANK are only counted.
    rank: usize,
}

/// A size of a [`NewShape`]: at least 0, or -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(isize);

impl NewShape {
    fn new(given: impl ExactSizeIterator<Item = Size>) -> NewShape {
        let rank = given.len();
        let mut sizes = [0; MAX_RANK];
        sizes.iter_mut().zip(given).for_each(|(size, given)| *size = given.0);
        NewShape { sizes, rank }
    }

    /// The shape for the elements of `from`.
    ///
    /// # Errors
    /// [`Error::Shape`] for two sizes of -1, another negative one, too many axes, or another number of elements.
    pub(crate) fn of(&self, op: &'static str, from: &Shape) -> Result<Shape> {
        let sizes = &self.sizes[..self.rank.min(MAX_RANK)];
        if sizes.iter().filter(|&&size| size < 0).count() > 1 || sizes.iter().any(|&size| size < -1) {
            return Err(Error::shape(op, format!("{sizes:?}; needs sizes of at least 0, of which one may be -1")));
        }
        // An open size counts as 1.
        let mut dims = [1; MAX_RANK];
        dims.iter_mut().zip(sizes).for_each(|(dim, size)| *dim = size.unsigned_abs());
        let shape = match self.rank {
            0..=MAX_RANK => Shape::from(&dims[..self.rank]),
            rank => Shape::from(vec![1; rank]),
        };
        let (numel, known) = (from.numel(), shape.checked_numel(op)?);
        match sizes.iter().position(|&size| size < 0) {
            Some(open) if known > 0 && numel.is_multiple_of(known) => Ok(shape.with_dim(open, numel / known)),
            Some(_) => Err(Error::shape(
                op,
                format!(
                    "{from} has {numel} elements, not a multiple of {known}, which the other sizes of {sizes:?} make"
                ),
            )),
            None if known == numel => Ok(shape),
            None => Err(Error::shape(
                op,
                format!("{from} has {numel} elements, {sizes:?} has {known}; pass a shape of {numel} elements"),
            )),
        }
    }
}

impl From<usize> for Size {
    fn from(size: usize) -> Size {
        Size(isize::try_from(size).unwrap_or(isize::MAX))
    }
}

impl From<isize> for Size {
    fn from(size: isize) -> Size {
        Size(size)
    }
}

impl From<i32> for Size {
    fn from(size: i32) -> Size {
        Size(size as isize)
    }
}

macro_rules! new_shape_from {
    ($($number:ty),*) => {$(
        impl From<$number> for NewShape {
            fn from(size: $number) -> NewShape {
                NewShape::from([size])
            }
        }

        impl<const N: usize> From<[$number; N]> for NewShape {
            fn from(sizes: [$number; N]) -> NewShape {
                NewShape::from(sizes.as_slice())
            }
        }

        impl From<&[$number]> for NewShape {
            fn from(sizes: &[$number]) -> NewShape {
                NewShape::new(sizes.iter().map(|&size| size.into()))
            }
        }

        impl From<Vec<$number>> for NewShape {
            fn from(sizes: Vec<$number>) -> NewShape {
                NewShape::from(sizes.as_slice())
            }
        }
    )*};
}
new_shape_from!(usize, isize, i32);

macro_rules! new_shape_from_tuple {
    ($($size:ident)+) => {
        impl<$($size: Into<Size>),+> From<($($size,)+)> for NewShape {
            #[allow(non_snake_case)]
            fn from(($($size,)+): ($($size,)+)) -> NewShape {
                NewShape::new([$($size.into()),+].into_iter())
            }
        }
    };
}
new_shape_from_tuple!(A B);
new_shape_from_tuple!(A B C);
new_shape_from_tuple!(A B C D);
new_shape_from_tuple!(A B C D E);
new_shape_from_tuple!(A B C D E F);
const _: () = assert!(MAX_RANK == 6, "a tuple for each rank");

impl From<()> for NewShape {
    fn from((): ()) -> NewShape {
        NewShape::from(Shape::SCALAR)
    }
}

impl From<&Shape> for NewShape {
    fn from(shape: &Shape) -> NewShape {
        NewShape::from(shape.dims())
    }
}

impl From<Shape> for NewShape {
    fn from(shape: Shape) -> NewShape {
        NewShape::from(&shape)
    }
}
