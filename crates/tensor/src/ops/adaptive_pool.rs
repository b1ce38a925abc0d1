//! Adaptive pooling of `[batch, channels, height, width]` to a given size, and its gradients.
//!
//! Window `o` of `out` along an axis of `in` pixels is `floor(o in / out) .. ceil((o + 1) in / out)`, as PyTorch's. Where `out`
//! divides `in`, that is plain pooling, which has kernels of its own.

use kiln_shaders::adaptive_pool::{self as kernels, AdaptivePool};

use super::pool::{self, AvgPool2dOptions, MaxPool2dOptions, MaxPool2dOutput};
use crate::axis::Size2;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The problem, checked.
fn geometry(op: &'static str, input: &Shape, output_size: [usize; 2], max: bool) -> Result<AdaptivePool> {
    let Ok([n, c, h, w]) = <[usize; 4]>::try_from(input.dims()) else {
        return Err(Error::shape(op, format!("input has shape {input}; needs [batch, channels, height, width]")));
    };
    if output_size.contains(&0) {
        return Err(Error::argument(op, format!("output_size {output_size:?}; each must be at least 1")));
    }
    if h == 0 || w == 0 {
        return Err(Error::shape(op, format!("input has shape {input}; needs at least one pixel")));
    }
    Shape::from([n, c, output_size[0], output_size[1]]).checked_numel(op)?;
    // The kernel multiplies a position by a size.
    if [(h, output_size[0]), (w, output_size[1])]
        .iter()
        .any(|&(size, out)| (size + 1).saturating_mul(out + 1) >= 1 << 31)
    {
        return Err(Error::argument(
            op,
            format!("output_size {output_size:?} of a {h}x{w} image; needs smaller sizes"),
        ));
    }
    Ok(AdaptivePool { planes: n * c, size: [h, w], out_size: output_size, max })
}

/// The window of plain pooling that does the same.
fn plain(pool: &AdaptivePool) -> Option<[usize; 2]> {
    let whole = (0..2).all(|axis| pool.size[axis].is_multiple_of(pool.out_size[axis]));
    whole.then(|| [0, 1].map(|axis| pool.size[axis] / pool.out_size[axis]))
}

fn floats(op: &'static str, name: &str, x: &Tensor) -> Result<()> {
    x.check_dtype(op, name, &[DType::F32, DType::F16])
}

/// Calls `half` with either half of the batch, or of the channels, and that axis, where a tensor is too large to bind.
pub(super) fn in_halves<T>(
    x: &Tensor,
    largest: usize,
    half: impl Fn(usize, usize, usize) -> Result<T>,
) -> Result<Option<([T; 2], usize)>> {
    let limit = x.device().info().limits.binding_bytes.min(1 << 31) as usize;
    let Some(axis) = [0, 1].into_iter().find(|&axis| x.shape()[axis] > 1).filter(|_| largest > limit) else {
        return Ok(None);
    };
    let size = x.shape()[axis];
    Ok(Some(([half(axis, 0, size / 2)?, half(axis, size / 2, size - size / 2)?], axis)))
}

/// The largest value of each adaptive window, and where it was: see [`Tensor::adaptive_max_pool2d`].
///
/// # Errors
/// As [`Tensor::adaptive_max_pool2d`].
pub fn adaptive_max_pool2d(x: &Tensor, output_size: [usize; 2]) -> Result<MaxPool2dOutput> {
    const OP: &str = "adaptive_max_pool2d";
    let pool = geometry(OP, x.shape(), output_size, true)?;
    floats(OP, "input", x)?;
    if let Some(window) = plain(&pool) {
        return pool::max_pool2d(x, &MaxPool2dOptions::new(window));
    }
    let x = x.contiguous()?;
    let shape = x.shape().with_dim(2, output_size[0]).with_dim(3, output_size[1]);
    let largest = (x.numel() * x.dtype().size()).max(shape.numel() * 4);
    let halves = in_halves(&x, largest, |axis, start, length| {
        adaptive_max_pool2d(&x.narrow(axis, start, length)?.contiguous()?, output_size)
    })?;
    if let Some(([a, b], axis)) = halves {
        return Ok(MaxPool2dOutput {
            values: Tensor::cat(&[&a.values, &b.values], axis)?,
            indices: Tensor::cat(&[&a.indices, &b.indices], axis)?,
        });
    }
    let values = Tensor::empty(x.device(), shape, x.dtype(), OP)?;
    let indices = Tensor::empty(x.device(), shape, DType::I32, OP)?;
    let windows = [x.window(), values.window(), indices.window()];
    let plan = kernels::forward(x.dtype().storage(), &pool, windows.map(|window| window.offset as usize));
    launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
    Ok(MaxPool2dOutput { values, indices })
}

/// The gradient of [`adaptive_max_pool2d`] to its input of this shape: each `dy` goes to the place of its maximum.
///
/// # Errors
/// [`Error::Shape`] where `dy` or `indices` are not like the forward pass's result; as [`Tensor::adaptive_max_pool2d`].
pub fn adaptive_max_pool2d_grad(dy: &Tensor, indices: &Tensor, input_shape: impl Into<Shape>) -> Result<Tensor> {
    const OP: &str = "adaptive_max_pool2d_grad";
    let shape = input_shape.into();
    let pool = gradient_geometry(OP, dy, &shape, true)?;
    indices.check_dtype(OP, "indices", &[DType::I32])?;
    dy.check_device(OP, indices)?;
    if indices.shape() != dy.shape() {
        return Err(Error::shape(
            OP,
            format!("dy has shape {}, indices {}; needs those of the forward pass", dy.shape(), indices.shape()),
        ));
    }
    if let Some(window) = plain(&pool) {
        return pool::max_pool2d_grad(dy, indices, shape, &MaxPool2dOptions::new(window));
    }
    let (dy, indices) = (dy.contiguous()?, indices.contiguous()?);
    let largest = (shape.numel() * dy.dtype().size()).max(dy.numel() * 4);
    let halves = in_halves(&dy, largest, |axis, start, length| {
        let cut = |x: &Tensor| x.narrow(axis, start, length)?.contiguous();
        adaptive_max_pool2d_grad(&cut(&dy)?, &cut(&indices)?, shape.with_dim(axis, length))
    })?;
    if let Some(([a, b], axis)) = halves {
        return Tensor::cat(&[&a, &b], axis);
    }
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), OP)?;
    let windows = [dy.window(), out.window(), indices.window()];
    let plan = kernels::gradient(dy.dtype().storage(), &pool, windows.map(|window| window.offset as usize));
    launch_planned(dy.device(), &plan, &windows.map(|window| window.binding))?;
    Ok(out)
}

/// The problem of a gradient whose `dy` says the output's size.
fn gradient_geometry(op: &'static str, dy: &Tensor, input: &Shape, max: bool) -> Result<AdaptivePool> {
    floats(op, "dy", dy)?;
    match (dy.shape().dims(), input.dims()) {
        ([n, c, oh, ow], [batch, channels, ..]) if (n, c) == (batch, channels) => geometry(op, input, [*oh, *ow], max),
        _ => Err(Error::shape(
            op,
            format!(
                "dy has shape {} for an input of {input}; needs [batch, channels, height, width] of one batch",
                dy.shape()
            ),
        )),
    }
}

/// The gradient of [`Tensor::adaptive_avg_pool2d`] to its input of this shape: each `dy`, over its window's size, goes to every
/// pixel of the window.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not like the forward pass's result; as [`Tensor::adaptive_avg_pool2d`].
pub fn adaptive_avg_pool2d_grad(dy: &Tensor, input_shape: impl Into<Shape>) -> Result<Tensor> {
    const OP: &str = "adaptive_avg_pool2d_grad";
    let shape = input_shape.into();
    let pool = gradient_geometry(OP, dy, &shape, false)?;
    if let Some(window) = plain(&pool) {
        return pool::avg_pool2d_grad(dy, shape, &AvgPool2dOptions::new(window));
    }
    let dy = dy.contiguous()?;
    let largest = shape.numel().max(dy.numel()) * dy.dtype().size();
    let halves = in_halves(&dy, largest, |axis, start, length| {
        adaptive_avg_pool2d_grad(&dy.narrow(axis, start, length)?.contiguous()?, shape.with_dim(axis, length))
    })?;
    if let Some(([a, b], axis)) = halves {
        return Tensor::cat(&[&a, &b], axis);
    }
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), OP)?;
    let (from, to) = (dy.window(), out.window());
    let plan = kernels::gradient(dy.dtype().storage(), &pool, [from.offset as usize, to.offset as usize, 0]);
    launch_planned(dy.device(), &plan, &[from.binding, to.binding])?;
    Ok(out)
}

impl Tensor {
    /// The largest value of each of `output_size` windows that cover the image: `[n, c, h, w]` becomes `[n, c, h', w']`. Floats
    /// only; NaN wins.
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is not 4 or there are no pixels, [`Error::Argument`] for a size of 0,
    /// [`Error::DType`]; [`Error::Gpu`].
    pub fn adaptive_max_pool2d(&self, output_size: impl Into<Size2>) -> Result<Tensor> {
        Ok(adaptive_max_pool2d(self, output_size.into().0)?.values)
    }

    /// The mean of each of `output_size` windows that cover the image: `[n, c, h, w]` becomes `[n, c, h', w']`. Floats only.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::from_slice(&Device::open_default()?, [1, 1, 1, 3], &[1.0f32, 3.0, 9.0])?;
    /// // The windows share the middle pixel.
    /// assert_eq!(x.adaptive_avg_pool2d([1, 2])?.to_vec::<f32>()?, [2.0, 6.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::adaptive_max_pool2d`].
    pub fn adaptive_avg_pool2d(&self, output_size: impl Into<Size2>) -> Result<Tensor> {
        const OP: &str = "adaptive_avg_pool2d";
        let Size2(output_size) = output_size.into();
        let pool = geometry(OP, self.shape(), output_size, false)?;
        floats(OP, "input", self)?;
        if let Some(window) = plain(&pool) {
            return self.avg_pool2d(window);
        }
        let x = self.contiguous()?;
        let shape = x.shape().with_dim(2, output_size[0]).with_dim(3, output_size[1]);
        let largest = x.numel().max(shape.numel()) * x.dtype().size();
        let halves = in_halves(&x, largest, |axis, start, length| {
            x.narrow(axis, start, length)?.contiguous()?.adaptive_avg_pool2d(output_size)
        })?;
        if let Some(([a, b], axis)) = halves {
            return Tensor::cat(&[&a, &b], axis);
        }
        let out = Tensor::empty(x.device(), shape, x.dtype(), OP)?;
        let (from, to) = (x.window(), out.window());
        let plan = kernels::forward(x.dtype().storage(), &pool, [from.offset as usize, to.offset as usize, 0]);
        launch_planned(x.device(), &plan, &[from.binding, to.binding])?;
        Ok(out)
    }
}
