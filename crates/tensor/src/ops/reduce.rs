//! Reductions over any axes: sum, mean, max, min, argmax, argmin.
//!
//! `dims` names the axes to reduce; `..` is all of them. They go, or with `_keepdim` stay with size 1. Sums are in `f32` (integers modulo
//! 2^32), in an order that depends on the shape and the adapter alone, within `4 log2(n) eps sum|x|`.

use kiln_gpu::{AdapterClass, Device};
use kiln_shaders::reduce::{Reduction, View, plan};

use crate::axis::Axes;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Lanes that keep an adapter busy.
pub(crate) fn lanes(device: &Device) -> usize {
    match device.info().class {
        AdapterClass::Software => 64,
        AdapterClass::Gpu => 16_384,
    }
}

/// Which axes are reduced.
fn reduced_axes(op: &'static str, x: &Tensor, dims: &Axes) -> Result<Vec<bool>> {
    let dims = dims.of(op, x.shape())?;
    Ok((0..x.rank()).map(|axis| dims.is_empty() || dims.contains(&axis)).collect())
}

fn result_shape(x: &Tensor, reduced: &[bool], keepdim: bool) -> Shape {
    let dims: Vec<usize> = x
        .shape()
        .iter()
        .zip(reduced)
        .filter(|(_, reduced)| keepdim || !**reduced)
        .map(|(&dim, &reduced)| if reduced { 1 } else { dim })
        .collect();
    Shape::from(dims)
}

fn reduce(op: &'static str, reduction: Reduction, x: &Tensor, dims: &Axes, keepdim: bool) -> Result<Tensor> {
    let reduced = reduced_axes(op, x, dims)?;
    if reduction == Reduction::Mean {
        x.check_dtype(op, "the tensor", &[DType::F32, DType::F16])?;
    }
    let count: usize = x.shape().iter().zip(&reduced).filter(|(_, reduced)| **reduced).map(|(dim, _)| dim).product();
    let shape = result_shape(x, &reduced, keepdim);
    if count == 0 && !matches!(reduction, Reduction::Sum | Reduction::Mean) && shape.numel() > 0 {
        return Err(Error::shape(
            op,
            format!(
                "a tensor of shape {} over axes {dims} has no elements to choose from; needs at least one",
                x.shape()
            ),
        ));
    }
    if count > i32::MAX as usize && reduction.positions() {
        return Err(Error::shape(op, format!("{count} elements per result; an i32 position needs fewer than 2^31")));
    }
    over(op, reduction, x, &reduced)?.reshape(shape)
}

/// The type of a result.
fn result_dtype(reduction: Reduction, x: DType) -> DType {
    match (reduction, x) {
        _ if reduction.positions() => DType::I32,
        (Reduction::Sum, DType::U8) => DType::U32,
        _ => x,
    }
}

/// The reduction over the flagged axes, which stay with size 1.
fn over(op: &'static str, reduction: Reduction, x: &Tensor, reduced: &[bool]) -> Result<Tensor> {
    let shape = result_shape(x, reduced, true);
    let dtype = result_dtype(reduction, x.dtype());
    if x.numel() == 0 {
        let empty_sum = if reduction == Reduction::Mean { f64::NAN } else { 0.0 };
        return Tensor::full(x.device(), shape, empty_sum, dtype);
    }
    if !x.fits() {
        return in_halves(op, reduction, x, reduced);
    }
    let Some(view) = View::new(x.shape(), x.strides(), reduced) else {
        return over(op, reduction, &x.contiguous()?, reduced);
    };
    // Bytes are made as words and cast.
    let made = if dtype == DType::U8 { DType::U32 } else { dtype };
    let out = Tensor::empty(x.device(), shape, made, op)?;
    let (mut source, target) = (x.clone(), out.window());
    let first = x.window().offset as usize;
    let passes =
        plan(reduction, x.dtype().storage(), made.storage(), &view, lanes(x.device()), first, target.offset as usize);
    let last = passes.len().saturating_sub(1);
    for (index, pass) in passes.iter().enumerate() {
        let partial = if index < last { Some(Tensor::empty(x.device(), [pass.words], DType::U32, op)?) } else { None };
        let into = partial.as_ref().unwrap_or(&out);
        launch_planned(x.device(), &pass.launch, &[source.window().binding, into.window().binding])?;
        if let Some(partial) = partial {
            source = partial;
        }
    }
    out.to_dtype(dtype)
}

/// A tensor that is too large to bind, halved along the axis over which it extends furthest.
fn in_halves(op: &'static str, reduction: Reduction, x: &Tensor, reduced: &[bool]) -> Result<Tensor> {
    let axis = (0..x.rank()).max_by_key(|&axis| (x.shape()[axis] - 1) * x.strides()[axis]).unwrap_or(0);
    let (size, half) = (x.shape()[axis], x.shape()[axis] / 2);
    let (x0, x1) = (x.narrow(axis, 0, half)?, x.narrow(axis, half, size - half)?);
    if !reduced[axis] {
        return Tensor::cat(&[&over(op, reduction, &x0, reduced)?, &over(op, reduction, &x1, reduced)?], axis);
    }
    let both = |reduction| -> Result<(Tensor, Tensor)> {
        Ok((over(op, reduction, &x0, reduced)?, over(op, reduction, &x1, reduced)?))
    };
    match reduction {
        Reduction::Sum => {
            let (a, b) = both(reduction)?;
            a.add(&b)
        }
        Reduction::Mean => {
            let (a, b) = both(reduction)?;
            let share = half as f64 / size as f64;
            a.mul_scalar(share)?.add(&b.mul_scalar(1.0 - share)?)
        }
        Reduction::Max => {
            let (a, b) = both(reduction)?;
            a.maximum(&b)
        }
        Reduction::Min => {
            let (a, b) = both(reduction)?;
            a.minimum(&b)
        }
        Reduction::ArgMax | Reduction::ArgMin => {
            let largest = reduction == Reduction::ArgMax;
            let (a, b) = both(if largest { Reduction::Max } else { Reduction::Min })?;
            let (at_a, at_b) = both(reduction)?;
            // A position counts along the reduced axes in order; cutting one of them changes the steps of those before it.
            let at_a = rebased(&at_a, x, reduced, axis, half, 0)?;
            let at_b = rebased(&at_b, x, reduced, axis, size - half, half)?;
            let better = if largest { b.gt(&a)? } else { b.lt(&a)? };
            let only_b_is_nan = b.ne(&b)?.mul(&a.eq(&a)?)?;
            Tensor::where_(&better.maximum(&only_b_is_nan)?, &at_b, &at_a)
        }
    }
}

/// Positions found where `axis` had `size` elements from `start` on, as positions in the whole tensor.
fn rebased(at: &Tensor, x: &Tensor, reduced: &[bool], axis: usize, size: usize, start: usize) -> Result<Tensor> {
    let extents = |range: std::ops::Range<usize>| -> usize {
        range.filter(|&axis| reduced[axis]).map(|axis| x.shape()[axis]).product()
    };
    let inner = extents(axis + 1..x.rank());
    let before = extents(0..axis);
    let at = at.add_scalar((start * inner) as f64)?;
    if before == 1 {
        return Ok(at);
    }
    // Each step of the axes before counts for the whole axis, not for the part.
    let part = Tensor::full(x.device(), (), (size * inner) as f64, DType::I32)?;
    let outer = at.add_scalar(-((start * inner) as f64))?.div(&part)?;
    at.add(&outer.mul_scalar(((x.shape()[axis] - size) * inner) as f64)?)
}

macro_rules! reductions {
    ($($(#[$doc:meta])* pub fn $name:ident, $keepdim:ident => $reduction:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`Error::Argument`] for a missing or repeated axis, [`Error::Shape`] where there is no element to choose,
            /// [`Error::DType`] for a mean of integers; [`Error::Gpu`].
            pub fn $name(&self, dims: impl Into<Axes>) -> Result<Tensor> {
                reduce(stringify!($name), Reduction::$reduction, self, &dims.into(), false)
            }

            #[doc = concat!("As [`Tensor::", stringify!($name), "`], and the axes stay, with size 1.")]
            ///
            /// # Errors
            #[doc = concat!("As [`Tensor::", stringify!($name), "`].")]
            pub fn $keepdim(&self, dims: impl Into<Axes>) -> Result<Tensor> {
                reduce(stringify!($keepdim), Reduction::$reduction, self, &dims.into(), true)
            })*
        }
    };
}

reductions! {
    /// The sum over `dims`. `u8` sums to `u32`; no elements sum to 0.
    pub fn sum, sum_keepdim => Sum;
    /// The mean over `dims`, of floats. The mean of no elements is NaN.
    pub fn mean, mean_keepdim => Mean;
    /// The largest element over `dims`; NaN if there is one.
    pub fn max, max_keepdim => Max;
    /// The smallest element over `dims`; NaN if there is one.
    pub fn min, min_keepdim => Min;
    /// The position of the largest element over `dims`, as `i32`: the first of equals, or the first NaN. Over several axes it
    /// counts through them in row-major order.
    pub fn argmax, argmax_keepdim => ArgMax;
    /// The position of the smallest element over `dims`, as [`Tensor::argmax`].
    pub fn argmin, argmin_keepdim => ArgMin;
}
