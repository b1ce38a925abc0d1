//! Cross-entropy with class weights, ignored targets and label smoothing, against class indices or probabilities.

use kiln_shaders::class_loss::{self as kernels, ClassLossParams, Targets};

use super::loss::Reduction;
use super::reduce::lanes;
use super::softmax::along;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// The options of [`Tensor::cross_entropy_with`]. As PyTorch's.
#[derive(Debug, Clone)]
pub struct CrossEntropyOptions {
    /// A weight for each class, `f32 [classes]`.
    pub weight: Option<Tensor>,
    /// The class index that does not count. For targets of bytes, one of 0 to 255.
    pub ignore_index: i64,
    /// What is made of the losses.
    pub reduction: Reduction,
    /// The share of each target that is dealt out evenly to all classes (Szegedy et al., "Rethinking the Inception
    /// architecture", 2016).
    pub label_smoothing: f64,
}

impl Default for CrossEntropyOptions {
    /// No weights, -100 ignored, the mean, no smoothing.
    fn default() -> CrossEntropyOptions {
        CrossEntropyOptions { weight: None, ignore_index: -100, reduction: Reduction::Mean, label_smoothing: 0.0 }
    }
}

/// What [`class_loss`] gives.
#[derive(Debug, Clone)]
pub struct ClassLoss {
    /// The loss, a scalar, or of the targets' rows without a reduction.
    pub loss: Tensor,
    /// Of each row: its largest logit, the logarithm of the sum of exponentials relative to that, and the sum of its
    /// coefficients; `f32 [3, rows]`.
    pub stats: Tensor,
    /// The sum of all losses and what a mean divides it by; `f32 [2]`. Without a reduction, `stats`.
    pub sums: Tensor,
}

/// The problem of some arguments, checked.
fn check(op: &'static str, x: &Tensor, targets: &Tensor, options: &CrossEntropyOptions) -> Result<Targets> {
    x.check_device(op, targets)?;
    x.check_dtype(op, "the input", &[DType::F32, DType::F16])?;
    if x.rank() < 2 || x.shape()[1] == 0 {
        return Err(Error::shape(
            op,
            format!("input has shape {}; needs [batch, classes, ..] with at least one class", x.shape()),
        ));
    }
    let probabilities = targets.dtype().is_float();
    if probabilities {
        targets.check_dtype(op, "the target", &[x.dtype()])?;
    }
    let mut needed = x.shape().to_vec();
    if !probabilities {
        needed.remove(1);
    }
    if targets.shape().dims() != needed {
        let what = if probabilities { "a probability for each class" } else { "one class index per row" };
        return Err(Error::shape(
            op,
            format!("input has shape {}, target {}; needs a target of {needed:?}, {what}", x.shape(), targets.shape()),
        ));
    }
    if let Some(weight) = &options.weight {
        x.check_device(op, weight)?;
        weight.check_dtype(op, "weight", &[DType::F32])?;
        if weight.shape().dims() != [x.shape()[1]] {
            return Err(Error::shape(
                op,
                format!(
                    "weight has shape {}; an input of shape {} needs [{}]",
                    weight.shape(),
                    x.shape(),
                    x.shape()[1]
                ),
            ));
        }
    }
    if !(0.0..=1.0).contains(&options.label_smoothing) {
        let message = format!("label_smoothing {}; needs a number from 0 to 1", options.label_smoothing);
        return Err(Error::argument(op, message));
    }
    Ok(Targets { x: x.dtype().storage(), targets: targets.dtype().storage(), weighted: options.weight.is_some() })
}

/// Runs of the batch that can be bound at once: the first, and how many.
fn runs(x: &Tensor) -> Vec<(usize, usize)> {
    let batch = x.shape()[0];
    let one = (x.numel() / batch.max(1) * x.dtype().size()).max(1);
    let room = (x.device().info().limits.binding_bytes.min(1 << 31) as usize).saturating_sub(256) / one;
    let each = room.clamp(1, batch.max(1));
    (0..batch).step_by(each).map(|first| (first, each.min(batch - first))).collect()
}

fn settings(x: &Tensor, options: &CrossEntropyOptions) -> ClassLossParams {
    ClassLossParams {
        all_rows: (x.numel() / x.shape()[1]) as u32,
        ignored: (options.ignore_index as i32).cast_unsigned(),
        mean: u32::from(options.reduction == Reduction::Mean),
        smoothing: options.label_smoothing as f32,
        ..ClassLossParams::default()
    }
}

/// Cross-entropy with what its gradient needs: see [`Tensor::cross_entropy_with`].
///
/// # Errors
/// As [`Tensor::cross_entropy_with`].
pub fn class_loss(x: &Tensor, targets: &Tensor, options: &CrossEntropyOptions) -> Result<ClassLoss> {
    const OP: &str = "cross_entropy_with";
    let kind = check(OP, x, targets, options)?;
    let device = x.device();
    let rows = x.numel() / x.shape()[1];
    let (x, targets) = (x.contiguous()?, targets.contiguous()?);
    let losses = Tensor::empty(device, [2, rows], DType::F32, OP)?;
    let stats = Tensor::empty(device, [3, rows], DType::F32, OP)?;
    let weight = options.weight.as_ref().map(Tensor::contiguous).transpose()?;
    let weight = weight.as_ref().map(Tensor::window);
    let settings = settings(&x, options);
    for (first, count) in if rows > 0 { runs(&x) } else { Vec::new() } {
        let (part, target) = (x.narrow(0, first, count)?, targets.narrow(0, first, count)?);
        let windows = [part.window(), target.window(), losses.window(), stats.window()];
        let settings = ClassLossParams {
            first_row: (first * (rows / x.shape()[0])) as u32,
            x_offset: windows[0].offset,
            target_offset: windows[1].offset,
            weight_offset: weight.map_or(0, |weight| weight.offset),
            ..settings
        };
        let plan = kernels::forward(kind, along(&part, 1), lanes(device), settings);
        let mut bindings: Vec<_> = windows.map(|window| window.binding).into();
        bindings.extend(weight.iter().map(|weight| weight.binding));
        launch_planned(device, &plan, &bindings)?;
    }
    if options.reduction == Reduction::None {
        let mut shape = *x.shape();
        for axis in 1..shape.rank().saturating_sub(1) {
            shape = shape.with_dim(axis, x.shape()[axis + 1]);
        }
        let shape = &shape.dims()[..x.rank() - 1];
        let loss = losses.narrow(0, 0, 1)?.reshape(shape)?;
        return Ok(ClassLoss { loss, sums: stats.clone(), stats });
    }
    let sums = losses.sum(1)?;
    let [total, divisor] = [0, 1].map(|at| sums.narrow(0, at, 1)?.reshape(()));
    let loss = match options.reduction {
        Reduction::Mean => total?.div(&divisor?)?,
        _ => total?,
    };
    Ok(ClassLoss { loss, stats, sums })
}

/// The gradient of [`class_loss`] to the logits, from what it gave; `dloss` has the loss's shape.
///
/// # Errors
/// [`Error::Shape`] where `found` or `dloss` is not of these arguments; as [`Tensor::cross_entropy_with`].
pub fn class_loss_grad(
    x: &Tensor,
    targets: &Tensor,
    found: &ClassLoss,
    dloss: &Tensor,
    options: &CrossEntropyOptions,
) -> Result<Tensor> {
    const OP: &str = "class_loss_grad";
    let kind = check(OP, x, targets, options)?;
    let rows = x.numel() / x.shape()[1];
    if found.stats.shape().dims() != [3, rows] || dloss.shape() != found.loss.shape() {
        return Err(Error::shape(
            OP,
            format!(
                "stats have shape {}, dloss {}; needs those of the forward pass: [3, {rows}] and {}",
                found.stats.shape(),
                dloss.shape(),
                found.loss.shape()
            ),
        ));
    }
    let device = x.device();
    let (x, targets) = (x.contiguous()?, targets.contiguous()?);
    let dloss = dloss.to_dtype(DType::F32)?.contiguous()?;
    let (stats, sums) = (found.stats.contiguous()?, found.sums.contiguous()?);
    let weight = options.weight.as_ref().map(Tensor::contiguous).transpose()?;
    let weight = weight.as_ref().map(Tensor::window);
    let settings = settings(&x, options);
    let out = Tensor::empty(device, x.shape(), x.dtype(), OP)?;
    for (first, count) in if x.numel() > 0 { runs(&x) } else { Vec::new() } {
        let cut = |tensor: &Tensor| tensor.narrow(0, first, count);
        let (part, target, to) = (cut(&x)?, cut(&targets)?, cut(&out)?);
        let windows = [part.window(), target.window(), stats.window(), dloss.window(), to.window(), sums.window()];
        let settings = ClassLossParams {
            first_row: (first * (rows / x.shape()[0])) as u32,
            x_offset: windows[0].offset,
            target_offset: windows[1].offset,
            dloss_offset: windows[3].offset,
            out_offset: windows[4].offset,
            sums_offset: windows[5].offset,
            weight_offset: weight.map_or(0, |weight| weight.offset),
            ..settings
        };
        let plan = kernels::gradient(kind, options.reduction == Reduction::None, along(&part, 1), settings);
        let mut bindings: Vec<_> = windows.map(|window| window.binding).into();
        bindings.extend(weight.iter().map(|weight| weight.binding));
        launch_planned(device, &plan, &bindings)?;
    }
    Ok(out)
}

impl Tensor {
    /// The cross-entropy of logits `[batch, classes, ..]` with options. Targets are class indices `[batch, ..]` as `i32`,
    /// `u32` or `u8`, or probabilities of the input's shape and type.
    ///
    /// With `p = softmax(x)`, smoothing `s` and weights `w`, the loss of a row is
    /// `-(1 - s) w_t ln p_t - s / classes sum_k w_k ln p_k`, or `-sum_k w_k ((1 - s) t_k + s / classes) ln p_k` for
    /// probabilities `t`. The mean divides by the sum of the targets' weights, rows that are ignored apart; for
    /// probabilities, by the number of rows. A target that is no class makes the loss NaN.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::class_loss::CrossEntropyOptions};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let logits = Tensor::zeros(&device, [2, 4], DType::F32)?;
    /// let targets = Tensor::from_slice(&device, [2], &[3i32, -100])?;
    /// let options = CrossEntropyOptions { label_smoothing: 0.1, ..CrossEntropyOptions::default() };
    /// // The second row is ignored.
    /// assert!((logits.cross_entropy_with(&targets, &options)?.item::<f32>()? - 4f32.ln()).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::DType`] for logits that are no floats or probabilities of
    /// another type, [`Error::Argument`] for a smoothing out of 0..=1 or tensors of two devices; [`Error::Gpu`].
    pub fn cross_entropy_with(&self, targets: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        Ok(class_loss(self, targets, options)?.loss)
    }
}
