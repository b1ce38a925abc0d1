//! Interpolation of `[batch, channels, height, width]` to another size, and its gradient.
//!
//! With a step `s` of input pixels for one of the output, result `o` along an axis is at `floor(o s)` for the nearest pixel, at
//! `max((o + 0.5) s - 0.5, 0)` for bilinear, and at `o s` for bilinear with aligned corners. `s` is the input's size over the
//! output's; 1 over the scale factor where that was given; and with aligned corners the quotient of both sizes less 1. All of it in
//! f32, as PyTorch's, so that the same pixels are chosen.

use kiln_shaders::interpolate::{self as kernels, Interpolate, Mode};

use super::adaptive_pool::in_halves;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How [`Tensor::interpolate`] makes a pixel. As PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterpolateMode {
    /// The pixel at its place, rounded down.
    #[default]
    Nearest,
    /// Of the four pixels around its place, by their distances.
    Bilinear {
        /// Whether the centres of the corner pixels of both images are at the same place, instead of their outer corners.
        align_corners: bool,
    },
}

/// What [`Tensor::interpolate`] is asked for; pairs are (height, width).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InterpolateSize {
    /// An image of this size.
    Size([usize; 2]),
    /// An image of the input's size times this, rounded down.
    ScaleFactor([f64; 2]),
}

/// Input pixels for a step of the output, as PyTorch computes them.
fn step(size: usize, out: usize, factor: Option<f64>, mode: InterpolateMode) -> f32 {
    let plain = match factor {
        Some(factor) => (1.0 / factor) as f32,
        None => size as f32 / out as f32,
    };
    match mode {
        // Of the same size, nothing moves, whatever the factor.
        _ if size == out => 1.0,
        InterpolateMode::Nearest if out == 2 * size => 0.5,
        InterpolateMode::Bilinear { align_corners: true } if out == 1 => 0.0,
        InterpolateMode::Bilinear { align_corners: true } => (size - 1) as f32 / (out - 1) as f32,
        _ => plain,
    }
}

/// The problem, checked, and the output's shape.
fn geometry(
    op: &'static str,
    input: &Shape,
    size: InterpolateSize,
    mode: InterpolateMode,
) -> Result<(Interpolate, Shape)> {
    let Ok([n, c, h, w]) = <[usize; 4]>::try_from(input.dims()) else {
        return Err(Error::shape(op, format!("input has shape {input}; needs [batch, channels, height, width]")));
    };
    if h == 0 || w == 0 {
        return Err(Error::shape(op, format!("input has shape {input}; needs at least one pixel")));
    }
    let (out_size, factors) = match size {
        InterpolateSize::Size(size) => (size, None),
        InterpolateSize::ScaleFactor(factors) => {
            if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
                return Err(Error::argument(op, format!("scale_factor {factors:?}; each must be a number above 0")));
            }
            // A product beyond usize is cut to its largest value, and refused below.
            ([(h, factors[0]), (w, factors[1])].map(|(size, factor)| (size as f64 * factor) as usize), Some(factors))
        }
    };
    if out_size.contains(&0) {
        return Err(Error::argument(op, format!("an output of size {out_size:?}; each must be at least 1")));
    }
    let output = Shape::from([n, c, out_size[0], out_size[1]]);
    output.checked_numel(op)?;
    // Coordinates are f32: beyond, they are no pixels any more.
    if [h, w, out_size[0], out_size[1]].iter().any(|&size| size > 1 << 22) {
        return Err(Error::argument(
            op,
            format!("an output of size {out_size:?} of a {h}x{w} image; each side can be at most {}", 1 << 22),
        ));
    }
    let scale = [0, 1].map(|i| step([h, w][i], out_size[i], factors.map(|factors| factors[i]), mode));
    let mode = match mode {
        InterpolateMode::Nearest => Mode::Nearest,
        InterpolateMode::Bilinear { align_corners } => Mode::Bilinear { align_corners },
    };
    Ok((Interpolate { planes: n * c, size: [h, w], out_size, scale, mode }, output))
}

/// The gradient of [`Tensor::interpolate`] to its input of this shape: each `dy` goes to the pixels that the result was made of, by
/// their parts.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not like the forward pass's result; as [`Tensor::interpolate`].
pub fn interpolate_grad(
    dy: &Tensor,
    input_shape: impl Into<Shape>,
    size: InterpolateSize,
    mode: InterpolateMode,
) -> Result<Tensor> {
    const OP: &str = "interpolate_grad";
    let shape = input_shape.into();
    dy.check_dtype(OP, "dy", &[DType::F32, DType::F16])?;
    let (problem, output) = geometry(OP, &shape, size, mode)?;
    if *dy.shape() != output {
        return Err(Error::shape(
            OP,
            format!("dy has shape {}; an input of {shape} interpolated so needs {output}", dy.shape()),
        ));
    }
    let dy = dy.contiguous()?;
    let largest = shape.numel().max(dy.numel()) * dy.dtype().size();
    let halves = in_halves(&dy, largest, |axis, start, length| {
        let part = dy.narrow(axis, start, length)?.contiguous()?;
        interpolate_grad(&part, shape.with_dim(axis, length), size, mode)
    })?;
    if let Some(([a, b], axis)) = halves {
        return Tensor::cat(&[&a, &b], axis);
    }
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), OP)?;
    let (from, to) = (dy.window(), out.window());
    let plan = kernels::gradient(dy.dtype().storage(), &problem, [from.offset as usize, to.offset as usize]);
    launch_planned(dy.device(), &plan, &[from.binding, to.binding])?;
    Ok(out)
}

impl Tensor {
    /// The image in another size, larger or smaller: `[n, c, h, w]` becomes `[n, c, h', w']`. Floats only. As
    /// `torch.nn.functional.interpolate` without antialiasing; [`kiln_tensor::ops::interpolate`](crate::ops::interpolate) has the
    /// formulas.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// use kiln_tensor::ops::interpolate::{InterpolateMode, InterpolateSize};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::from_slice(&Device::open_default()?, [1, 1, 1, 2], &[0.0f32, 4.0])?;
    /// let double = InterpolateSize::ScaleFactor([1.0, 2.0]);
    /// let nearest = x.interpolate(double, InterpolateMode::Nearest)?;
    /// assert_eq!(nearest.to_vec::<f32>()?, [0.0, 0.0, 4.0, 4.0]);
    /// let smooth = x.interpolate(double, InterpolateMode::Bilinear { align_corners: false })?;
    /// assert_eq!(smooth.to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is not 4 or there are no pixels, [`Error::Argument`] for an output without pixels or with more
    /// than 4,194,304 along a side, [`Error::DType`]; [`Error::Gpu`].
    pub fn interpolate(&self, size: InterpolateSize, mode: InterpolateMode) -> Result<Tensor> {
        const OP: &str = "interpolate";
        let (problem, output) = geometry(OP, self.shape(), size, mode)?;
        self.check_dtype(OP, "input", &[DType::F32, DType::F16])?;
        let x = self.contiguous()?;
        let largest = x.numel().max(output.numel()) * x.dtype().size();
        let halves = in_halves(&x, largest, |axis, start, length| {
            x.narrow(axis, start, length)?.contiguous()?.interpolate(size, mode)
        })?;
        if let Some(([a, b], axis)) = halves {
            return Tensor::cat(&[&a, &b], axis);
        }
        let out = Tensor::empty(x.device(), output, x.dtype(), OP)?;
        let (from, to) = (x.window(), out.window());
        let plan = kernels::forward(x.dtype().storage(), &problem, [from.offset as usize, to.offset as usize]);
        launch_planned(x.device(), &plan, &[from.binding, to.binding])?;
        Ok(out)
    }
}
