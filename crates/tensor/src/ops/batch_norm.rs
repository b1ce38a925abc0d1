//! Batch norm (Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
//! Shift", 2015) of `[batch, channels]` or `[batch, channels, ..]`, by channel, and its gradients.

use kiln_shaders::batch_norm::{self as kernels, BatchNormParams, Form, Planes, Target};

use super::reduce::lanes;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::{Window, launch_planned};
use crate::tensor::Tensor;

/// The learned scale and shift of each channel: `f32 [channels]` each.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// The scale.
    pub weight: &'a Tensor,
    /// The shift.
    pub bias: &'a Tensor,
}

/// Running statistics, `f32 [channels]` each, that [`batch_norm_train`] moves in place.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Becomes `(1 - momentum) mean + momentum (mean of the batch)`.
    pub mean: &'a Tensor,
    /// Becomes `(1 - momentum) var + momentum (unbiased variance of the batch)`.
    pub var: &'a Tensor,
    /// The share of the batch.
    pub momentum: f64,
}

/// By what the elements of a channel are normalised: `f32 [channels]` each.
#[derive(Debug, Clone, Copy)]
pub enum Statistics<'a> {
    /// The mean of the batch, and 1 over its deviation, as [`batch_norm_train`] gives them: they depend on the input.
    Batch {
        /// The means.
        mean: &'a Tensor,
        /// `1 / sqrt(variance + eps)`
        inverse_std: &'a Tensor,
    },
    /// A given mean and variance.
    Given {
        /// The means.
        mean: &'a Tensor,
        /// The variances.
        var: &'a Tensor,
    },
}

impl<'a> Statistics<'a> {
    fn tensors(self) -> [&'a Tensor; 2] {
        match self {
            Statistics::Batch { mean, inverse_std } => [mean, inverse_std],
            Statistics::Given { mean, var } => [mean, var],
        }
    }
}

/// The options of batch norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormOptions {
    /// Added to the variance.
    pub eps: f64,
    /// Whether a ReLU follows, in the same launch.
    pub relu: bool,
}

impl Default for BatchNormOptions {
    /// `eps` 1e-5, as PyTorch, and no ReLU.
    fn default() -> BatchNormOptions {
        BatchNormOptions { eps: 1e-5, relu: false }
    }
}

/// What [`batch_norm_train`] gives: the result, and what its gradient needs.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    /// The normalised elements.
    pub y: Tensor,
    /// The mean of each channel.
    pub mean: Tensor,
    /// `1 / sqrt(variance + eps)` of each channel, the variance being that of the batch itself (over `n`).
    pub inverse_std: Tensor,
}

/// What [`batch_norm_grad`] gives.
#[derive(Debug, Clone)]
pub struct BatchNormGradients {
    /// The gradient of the input.
    pub x: Tensor,
    /// The gradient of the weight.
    pub weight: Tensor,
    /// The gradient of the bias.
    pub bias: Tensor,
}

/// Checks the arguments that all have and gives the number of channels.
fn check(op: &'static str, x: &Tensor, affine: Option<Affine<'_>>, vectors: &[(&str, &Tensor)]) -> Result<usize> {
    x.check_dtype(op, "input", &[DType::F32, DType::F16])?;
    if x.rank() < 2 {
        return Err(Error::shape(op, format!("input has shape {}; needs [batch, channels, ..]", x.shape())));
    }
    let channels = x.shape()[1];
    let affine = affine.map(|affine| [("weight", affine.weight), ("bias", affine.bias)]);
    for (name, vector) in affine.iter().flatten().chain(vectors) {
        x.check_device(op, vector)?;
        vector.check_dtype(op, name, &[DType::F32])?;
        if vector.shape().dims() != [channels] {
            return Err(Error::shape(
                op,
                format!("{name} has shape {}; an input of shape {} needs [{channels}]", vector.shape(), x.shape()),
            ));
        }
    }
    Ok(channels)
}

/// Runs of images that can be bound at once: the first, and how many.
fn runs(x: &Tensor) -> Vec<(usize, usize)> {
    let batch = x.shape()[0];
    let image = (x.numel() / batch.max(1) * x.dtype().size()).max(1);
    // A window may start up to 256 bytes before its first element.
    let room = (x.device().info().limits.binding_bytes.min(1 << 31) as usize).saturating_sub(256) / image;
    let each = room.clamp(1, batch.max(1));
    (0..batch).step_by(each).map(|first| (first, each.min(batch - first))).collect()
}

/// Whether a single image is too large to bind, so that channels have to be cut.
fn wide(x: &Tensor) -> bool {
    x.numel() > 0 && x.shape()[1] > 1 && !x.narrow(0, 0, 1).is_ok_and(|image| image.fits())
}

/// Calls `half` for either half of the channels with a cut of any tensor along an axis.
fn by_halves<T>(
    channels: usize,
    half: impl Fn(&dyn Fn(&Tensor, usize) -> Result<Tensor>) -> Result<T>,
) -> Result<[T; 2]> {
    let first = channels / 2;
    let part = |start: usize, length: usize| half(&move |x: &Tensor, axis| x.narrow(axis, start, length)?.contiguous());
    Ok([part(0, first)?, part(first, channels - first)?])
}

/// A cut of the channels of a pair of vectors.
fn cut_affine(
    affine: Option<Affine<'_>>,
    cut: &dyn Fn(&Tensor, usize) -> Result<Tensor>,
) -> Result<Option<[Tensor; 2]>> {
    affine.map(|affine| Ok([cut(affine.weight, 0)?, cut(affine.bias, 0)?])).transpose()
}

fn borrowed(affine: Option<&[Tensor; 2]>) -> Option<Affine<'_>> {
    affine.map(|[weight, bias]| Affine { weight, bias })
}

/// The images `run` of x as a launch sees them.
fn planes(x: &Tensor, images: usize, others: &[&Tensor]) -> Planes {
    Planes {
        storage: x.dtype().storage(),
        batch: images,
        channels: x.shape()[1],
        plane: x.shape()[2..].iter().product(),
        aligned: others.iter().chain([&x]).all(|tensor| tensor.offset().is_multiple_of(4)),
    }
}

fn items(planes: &Planes, window: &Window<'_>) -> u32 {
    window.offset / planes.width() as u32
}

/// The parameters that follow from the vectors of a launch.
fn settings(eps: f64, mean: &Window<'_>, spread: &Window<'_>, affine: &[Window<'_>]) -> BatchNormParams {
    let offset = |index: usize| affine.get(index).map_or(0, |window| window.offset);
    BatchNormParams {
        mean_offset: mean.offset,
        spread_offset: spread.offset,
        weight_offset: offset(0),
        bias_offset: offset(1),
        epsilon: eps as f32,
        all_parts: 1,
        ..BatchNormParams::default()
    }
}

fn contiguous(affine: Option<Affine<'_>>) -> Result<Vec<Tensor>> {
    affine.into_iter().flat_map(|affine| [affine.weight, affine.bias]).map(Tensor::contiguous).collect()
}

/// The mean of each channel and 1 over its deviation; moves the running statistics.
fn statistics(x: &Tensor, running: Option<Running<'_>>, eps: f64) -> Result<[Tensor; 2]> {
    const OP: &str = "batch_norm_train";
    let (device, channels) = (x.device(), x.shape()[1]);
    let made = [0, 1].map(|_| Tensor::empty(device, [channels], DType::F32, OP));
    let [mean, inverse_std] = made;
    let (mean, inverse_std) = (mean?, inverse_std?);
    let lanes = lanes(device);
    let images: Vec<Tensor> =
        runs(x).into_iter().map(|(first, count)| x.narrow(0, first, count)).collect::<Result<_>>()?;
    let shapes: Vec<Planes> = images.iter().map(|part| planes(part, part.shape()[0], &[])).collect();
    let all_parts: usize = shapes.iter().map(|planes| kernels::parts(planes, lanes)).sum();
    let target = if running.is_some() { Target::Tracked } else { Target::Statistics };
    let mut windows = vec![mean.window(), inverse_std.window()];
    windows.extend(running.iter().flat_map(|running| [running.mean.window(), running.var.window()]));
    let offset = |index: usize| windows.get(index).map_or(0, |window: &Window<'_>| window.offset);
    let settings = BatchNormParams {
        all_parts: all_parts as u32,
        running_mean_offset: offset(2),
        running_var_offset: offset(3),
        momentum: running.map_or(0.0, |running| running.momentum as f32),
        ..settings(eps, &windows[0], &windows[1], &[])
    };
    let results = windows.iter().map(|window| window.binding);
    if all_parts == 1 {
        let from = x.window();
        let settings = BatchNormParams { x_offset: items(&shapes[0], &from), ..settings };
        let plan = kernels::statistics(&shapes[0], target, lanes, settings);
        let bindings: Vec<_> = [from.binding].into_iter().chain(results).collect();
        launch_planned(device, &plan, &bindings)?;
    } else {
        let partial = Tensor::empty(device, [all_parts, channels, 4], DType::F32, OP)?;
        let mut first_part = 0;
        for (part, shape) in images.iter().zip(&shapes) {
            let from = part.window();
            let settings = BatchNormParams { x_offset: items(shape, &from), first_part, ..settings };
            let plan = kernels::statistics(shape, Target::Partial, lanes, settings);
            launch_planned(device, &plan, &[from.binding, partial.window().binding])?;
            first_part += kernels::parts(shape, lanes) as u32;
        }
        let plan = kernels::combine(&shapes[0], target, settings);
        let bindings: Vec<_> = [partial.window().binding].into_iter().chain(results).collect();
        launch_planned(device, &plan, &bindings)?;
    }
    if let Some(running) = running {
        running.mean.bump_version();
        running.var.bump_version();
    }
    Ok([mean, inverse_std])
}

fn normalise(
    op: &'static str,
    x: &Tensor,
    statistics: Statistics<'_>,
    affine: Option<Affine<'_>>,
    options: &BatchNormOptions,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    if wide(&x) {
        let [a, b] = by_halves(x.shape()[1], |cut| {
            let [mean, spread] = statistics.tensors();
            let (mean, spread, affine) = (cut(mean, 0)?, cut(spread, 0)?, cut_affine(affine, cut)?);
            let part = statistics.of(&mean, &spread);
            normalise(op, &cut(&x, 1)?, part, borrowed(affine.as_ref()), options)
        })?;
        return Tensor::cat(&[&a, &b], 1);
    }
    let out = Tensor::empty(x.device(), x.shape(), x.dtype(), op)?;
    if x.numel() == 0 {
        return Ok(out);
    }
    let affine = contiguous(affine)?;
    let form = Form {
        affine: !affine.is_empty(),
        running: matches!(statistics, Statistics::Given { .. }),
        relu: options.relu,
    };
    let [mean, spread] = statistics.tensors();
    let (mean, spread) = (mean.contiguous()?, spread.contiguous()?);
    let vectors: Vec<Window<'_>> = affine.iter().map(Tensor::window).collect();
    let settings = settings(options.eps, &mean.window(), &spread.window(), &vectors);
    for (first, count) in runs(&x) {
        let (x, out) = (x.narrow(0, first, count)?, out.narrow(0, first, count)?);
        let shape = planes(&x, count, &[&out]);
        let (from, to) = (x.window(), out.window());
        let settings = BatchNormParams { x_offset: items(&shape, &from), out_offset: items(&shape, &to), ..settings };
        let plan = kernels::normalise(&shape, form, lanes(x.device()), settings);
        let mut bindings = vec![from.binding, to.binding, mean.window().binding, spread.window().binding];
        bindings.extend(vectors.iter().map(|window| window.binding));
        launch_planned(x.device(), &plan, &bindings)?;
    }
    Ok(out)
}

impl<'a> Statistics<'a> {
    /// The same kind with other tensors.
    fn of(self, mean: &'a Tensor, spread: &'a Tensor) -> Statistics<'a> {
        match self {
            Statistics::Batch { .. } => Statistics::Batch { mean, inverse_std: spread },
            Statistics::Given { .. } => Statistics::Given { mean, var: spread },
        }
    }
}

/// Batch norm by the statistics of the batch itself, for training: for each channel
/// `y = (x - mean) / sqrt(var + eps) weight + bias`, with the variance over `n` elements. The running statistics are moved
/// in place, with the variance over `n - 1`. Two launches, or three where the channels are few.
///
/// # Errors
/// [`Error::Shape`] where the input has no channels or only one element in each, or a vector is not one of the channels;
/// [`Error::DType`] for an input that is no float or vectors that are not `f32`, [`Error::Argument`] for an `eps` below 0, a
/// `momentum` out of 0..=1, running statistics that are views, or tensors of two devices; [`Error::Gpu`].
pub fn batch_norm_train(
    x: &Tensor,
    affine: Option<Affine<'_>>,
    running: Option<Running<'_>>,
    options: &BatchNormOptions,
) -> Result<BatchNorm> {
    const OP: &str = "batch_norm_train";
    let tracked: Vec<_> =
        running.iter().flat_map(|running| [("running_mean", running.mean), ("running_var", running.var)]).collect();
    let channels = check(OP, x, affine, &tracked)?;
    check_eps(OP, options)?;
    if let Some((name, _)) = tracked.iter().find(|(_, vector)| !vector.is_contiguous()) {
        return Err(Error::argument(
            OP,
            format!("{name} is a view, and is to be written in place; needs a tensor of its own"),
        ));
    }
    if let Some(running) = running.filter(|running| !(0.0..=1.0).contains(&running.momentum)) {
        return Err(Error::argument(OP, format!("momentum {}; needs a number from 0 to 1", running.momentum)));
    }
    if x.numel() <= channels {
        return Err(Error::shape(
            OP,
            format!(
                "input has shape {}; needs more than one element in each channel: pass a larger batch, or normalise by \
                 running statistics",
                x.shape()
            ),
        ));
    }
    let x = x.contiguous()?;
    if wide(&x) {
        let [a, b] = by_halves(channels, |cut| {
            let affine = cut_affine(affine, cut)?;
            let part = batch_norm_train(&cut(&x, 1)?, borrowed(affine.as_ref()), None, options)?;
            Ok(part)
        })?;
        let joined = |a: &Tensor, b: &Tensor, axis| Tensor::cat(&[a, b], axis);
        let (mean, inverse_std) = (joined(&a.mean, &b.mean, 0)?, joined(&a.inverse_std, &b.inverse_std, 0)?);
        if let Some(running) = running {
            // The variance over n - 1, from the inverse deviation.
            let count = (x.numel() / channels) as f64;
            let var =
                inverse_std.square()?.reciprocal()?.add_scalar(-options.eps)?.mul_scalar(count / (count - 1.0))?;
            for (kept, new) in [(running.mean, &mean), (running.var, &var)] {
                let moved = kept.mul_scalar(1.0 - running.momentum)?.add(&new.mul_scalar(running.momentum)?)?;
                super::pointwise::pointwise_into(&kiln_shaders::pointwise::COPY, &[&moved], kept, [0.0; 2], false)?;
                kept.bump_version();
            }
        }
        return Ok(BatchNorm { y: joined(&a.y, &b.y, 1)?, mean, inverse_std });
    }
    let [mean, inverse_std] = statistics(&x, running, options.eps)?;
    let found = Statistics::Batch { mean: &mean, inverse_std: &inverse_std };
    let y = normalise(OP, &x, found, affine, options)?;
    Ok(BatchNorm { y, mean, inverse_std })
}

fn check_eps(op: &'static str, options: &BatchNormOptions) -> Result<()> {
    if options.eps >= 0.0 && options.eps.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("eps {}; needs a finite number of at least 0", options.eps)))
}

/// The gradients of batch norm, where `dy` is that of its result: in two launches, or three where the channels are few.
///
/// With `h = (x - mean) / deviation` and `n` elements in a channel, `dbias = sum dy`, `dweight = sum dy h`, and
/// `dx = weight / deviation (dy - (dbias + h dweight) / n)` by the batch's own statistics, `weight / deviation dy` by given
/// ones. `dy` counts as 0 where the ReLU of the options gave 0.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not like `x`; as [`batch_norm_train`].
pub fn batch_norm_grad(
    x: &Tensor,
    dy: &Tensor,
    statistics: Statistics<'_>,
    affine: Option<Affine<'_>>,
    options: &BatchNormOptions,
) -> Result<BatchNormGradients> {
    const OP: &str = "batch_norm_grad";
    let [mean, spread] = statistics.tensors();
    let channels = check(OP, x, affine, &[("the mean", mean), ("the deviation", spread)])?;
    check_eps(OP, options)?;
    x.check_device(OP, dy)?;
    if x.shape() != dy.shape() || x.dtype() != dy.dtype() {
        return Err(Error::shape(
            OP,
            format!("x is {} of {}, dy {} of {}; needs a dy like x", x.shape(), x.dtype(), dy.shape(), dy.dtype()),
        ));
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    if x.numel() == 0 {
        let zeros = || Tensor::zeros(x.device(), [channels], DType::F32);
        return Ok(BatchNormGradients { x: dy, weight: zeros()?, bias: zeros()? });
    }
    if wide(&x) {
        let [a, b] = by_halves(channels, |cut| {
            let (mean, spread, affine) = (cut(mean, 0)?, cut(spread, 0)?, cut_affine(affine, cut)?);
            let part = statistics.of(&mean, &spread);
            batch_norm_grad(&cut(&x, 1)?, &cut(&dy, 1)?, part, borrowed(affine.as_ref()), options)
        })?;
        return Ok(BatchNormGradients {
            x: Tensor::cat(&[&a.x, &b.x], 1)?,
            weight: Tensor::cat(&[&a.weight, &b.weight], 0)?,
            bias: Tensor::cat(&[&a.bias, &b.bias], 0)?,
        });
    }
    let device = x.device();
    let lanes = lanes(device);
    let affine = contiguous(affine)?;
    let form = Form {
        affine: !affine.is_empty(),
        running: matches!(statistics, Statistics::Given { .. }),
        relu: options.relu,
    };
    let (mean, spread) = (mean.contiguous()?, spread.contiguous()?);
    let vectors: Vec<Window<'_>> = affine.iter().map(Tensor::window).collect();
    let cuts: Vec<(Tensor, Tensor)> = runs(&x)
        .into_iter()
        .map(|(first, count)| Ok((x.narrow(0, first, count)?, dy.narrow(0, first, count)?)))
        .collect::<Result<_>>()?;
    let shapes: Vec<Planes> = cuts.iter().map(|(x, dy)| planes(x, x.shape()[0], &[dy])).collect();
    let all_parts: usize = shapes.iter().map(|planes| kernels::parts(planes, lanes)).sum();
    let settings = BatchNormParams {
        all_parts: all_parts as u32,
        count: (x.numel() / channels) as f32,
        ..settings(options.eps, &mean.window(), &spread.window(), &vectors)
    };
    let of_channels = [mean.window().binding, spread.window().binding];
    let of_affine: Vec<_> = vectors.iter().map(|window| window.binding).collect();

    let partial = Tensor::empty(device, [2, all_parts, channels], DType::F32, OP)?;
    let mut first_part = 0;
    for ((x, dy), shape) in cuts.iter().zip(&shapes) {
        let (from, given) = (x.window(), dy.window());
        let settings =
            BatchNormParams { x_offset: items(shape, &from), dy_offset: items(shape, &given), first_part, ..settings };
        let plan = kernels::gradient_sums(shape, form, lanes, settings);
        let tensors = [from.binding, given.binding, partial.window().binding];
        launch_planned(device, &plan, &[&tensors[..], &of_channels, &of_affine].concat())?;
        first_part += kernels::parts(shape, lanes) as u32;
    }
    let sums = if all_parts > 1 { partial.sum(1)? } else { partial.squeeze(1)? };

    let out = Tensor::empty(device, x.shape(), x.dtype(), OP)?;
    let mut first = 0;
    for (x, dy) in &cuts {
        let out = out.narrow(0, first, x.shape()[0])?;
        let shape = planes(x, x.shape()[0], &[dy, &out]);
        let (from, given, to) = (x.window(), dy.window(), out.window());
        let settings = BatchNormParams {
            x_offset: items(&shape, &from),
            dy_offset: items(&shape, &given),
            out_offset: items(&shape, &to),
            ..settings
        };
        let plan = kernels::gradient(&shape, form, lanes, settings);
        let tensors = [from.binding, given.binding, sums.window().binding];
        let bindings = [&tensors[..], &of_channels, &[to.binding], &of_affine].concat();
        launch_planned(device, &plan, &bindings)?;
        first += x.shape()[0];
    }
    Ok(BatchNormGradients {
        x: out,
        bias: sums.narrow(0, 0, 1)?.squeeze(0)?,
        weight: sums.narrow(0, 1, 1)?.squeeze(0)?,
    })
}

impl Tensor {
    /// Batch norm by given statistics, for evaluation: `(x - mean) / sqrt(var + eps) weight + bias` by channel, of
    /// `[batch, channels, ..]`. One launch.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::batch_norm::BatchNormOptions};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::from_slice(&device, [1, 2], &[3.0f32, 5.0])?;
    /// let (mean, var) = (Tensor::ones(&device, [2], DType::F32)?, Tensor::full(&device, [2], 4.0, DType::F32)?);
    /// let y = x.batch_norm(&mean, &var, None, &BatchNormOptions { eps: 0.0, relu: false })?;
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`batch_norm_train`], but a channel may have any number of elements.
    pub fn batch_norm(
        &self,
        mean: &Tensor,
        var: &Tensor,
        affine: Option<Affine<'_>>,
        options: &BatchNormOptions,
    ) -> Result<Tensor> {
        const OP: &str = "batch_norm";
        check(OP, self, affine, &[("the mean", mean), ("the variance", var)])?;
        check_eps(OP, options)?;
        normalise(OP, self, Statistics::Given { mean, var }, affine, options)
    }
}
