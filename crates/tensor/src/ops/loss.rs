//! Losses, fused.

use kiln_shaders::softmax as kernels;

use super::reduce::lanes;
use super::softmax::along;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// What is made of the losses of all elements or rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// They stay as they are.
    None,
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl Reduction {
    pub(crate) fn of(self, losses: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::None => Ok(losses.clone()),
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
        }
    }

    /// The gradient of each single loss of `x`, from that of the result.
    pub(crate) fn share(self, dloss: &Tensor, x: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::None | Reduction::Sum => Ok(dloss.clone()),
            Reduction::Mean => dloss.mul_scalar(1.0 / x.numel() as f64),
        }
    }
}

/// Rows up to which one workgroup makes the mean as well: one launch instead of two or three.
const FUSED_ROWS: usize = 4096;

/// What [`cross_entropy`] gives: the mean loss, and what its gradient needs.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// The mean over all rows, a scalar.
    pub loss: Tensor,
    /// Of each row: its largest logit, and the logarithm of the sum of exponentials relative to that; `f32 [rows, 2]`.
    pub stats: Tensor,
}

fn check(op: &'static str, logits: &Tensor, targets: &Tensor) -> Result<()> {
    logits.check_device(op, targets)?;
    logits.check_dtype(op, "the input", &[DType::F32, DType::F16])?;
    targets.check_dtype(op, "the target", &[DType::I32, DType::U32, DType::U8])?;
    let mut needed = logits.shape().to_vec();
    if needed.len() < 2 || needed[1] == 0 {
        return Err(Error::shape(
            op,
            format!("input has shape {}; needs [batch, classes, ..] with at least one class", logits.shape()),
        ));
    }
    needed.remove(1);
    if targets.shape().dims() != needed {
        return Err(Error::shape(
            op,
            format!(
                "input has shape {}, target {}; needs a target of {needed:?}, one class index per row",
                logits.shape(),
                targets.shape()
            ),
        ));
    }
    Ok(())
}

/// The cross-entropy of logits `[batch, classes, ..]` with class indices `[batch, ..]`, its mean over all rows, with what
/// [`cross_entropy_grad`] needs. See [`Tensor::cross_entropy`].
///
/// # Errors
/// As [`Tensor::cross_entropy`].
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<CrossEntropy> {
    const OP: &str = "cross_entropy";
    check(OP, logits, targets)?;
    let device = logits.device();
    let rows = targets.numel();
    if rows == 0 {
        return Ok(CrossEntropy {
            loss: Tensor::full(device, (), f64::NAN, DType::F32)?,
            stats: Tensor::empty(device, [0, 2], DType::F32, OP)?,
        });
    }
    let (x, targets) = (logits.contiguous()?, targets.contiguous()?);
    if let Some([first, second]) = halves(&x, &targets)? {
        let (a, b) = (cross_entropy(&first.0, &first.1)?, cross_entropy(&second.0, &second.1)?);
        let share = first.1.numel() as f64 / rows as f64;
        return Ok(CrossEntropy {
            loss: a.loss.mul_scalar(share)?.add(&b.loss.mul_scalar(1.0 - share)?)?,
            stats: Tensor::cat(&[&a.stats, &b.stats], 0)?,
        });
    }
    let mean = rows <= FUSED_ROWS;
    let stats = Tensor::empty(device, [rows, 2], DType::F32, OP)?;
    let loss = Tensor::empty(device, if mean { Vec::new() } else { vec![rows] }, DType::F32, OP)?;
    let windows = [x.window(), targets.window(), loss.window(), stats.window()];
    let offsets = windows.map(|window| window.offset as usize);
    let plan = kernels::cross_entropy(x.dtype().storage(), targets.dtype().storage(), mean, along(&x, 1), offsets);
    launch_planned(device, &plan, &windows.map(|window| window.binding))?;
    Ok(CrossEntropy { loss: if mean { loss } else { loss.mean(..)? }, stats })
}

type Part = (Tensor, Tensor);

/// Logits that are too large to bind, with their targets, cut along the batch.
fn halves(x: &Tensor, targets: &Tensor) -> Result<Option<[Part; 2]>> {
    let n = x.shape()[0];
    if x.fits() || n < 2 {
        return Ok(None);
    }
    let part = |start, length| -> Result<Part> { Ok((x.narrow(0, start, length)?, targets.narrow(0, start, length)?)) };
    Ok(Some([part(0, n / 2)?, part(n / 2, n - n / 2)?]))
}

/// The gradient of [`cross_entropy`] to the logits: `(softmax(x) - onehot(target)) dloss / rows`.
///
/// # Errors
/// [`Error::Shape`] where `stats` is not the forward pass's or `dloss` is not one number; as [`Tensor::cross_entropy`].
pub fn cross_entropy_grad(logits: &Tensor, targets: &Tensor, stats: &Tensor, dloss: &Tensor) -> Result<Tensor> {
    const OP: &str = "cross_entropy_grad";
    check(OP, logits, targets)?;
    let needed = [targets.numel(), 2];
    if stats.shape().dims() != needed || dloss.numel() != 1 {
        return Err(Error::shape(
            OP,
            format!(
                "stats has shape {}, dloss {}; needs those of the forward pass: {needed:?} and one number",
                stats.shape(),
                dloss.shape()
            ),
        ));
    }
    let dloss = dloss.to_dtype(DType::F32)?;
    scaled_grad(&logits.contiguous()?, &targets.contiguous()?, &stats.contiguous()?, &dloss)
}

fn scaled_grad(x: &Tensor, targets: &Tensor, stats: &Tensor, dloss: &Tensor) -> Result<Tensor> {
    if let Some([(x0, t0), (x1, t1)]) = halves(x, targets)? {
        let (n0, n1) = (x0.shape()[0], x1.shape()[0]);
        // Each half divides by its own rows.
        let half = |x: &Tensor, t: &Tensor, start: usize, n: usize| {
            let share = n as f64 / (n0 + n1) as f64;
            let rows = targets.numel() / (n0 + n1);
            scaled_grad(x, t, &stats.narrow(0, start * rows, n * rows)?, &dloss.mul_scalar(share)?)
        };
        return Tensor::cat(&[&half(&x0, &t0, 0, n0)?, &half(&x1, &t1, n0, n1)?], 0);
    }
    let out = Tensor::empty(x.device(), x.shape(), x.dtype(), "cross_entropy_grad")?;
    if x.numel() > 0 {
        let windows = [x.window(), targets.window(), stats.window(), dloss.window(), out.window()];
        let offsets = windows.map(|window| window.offset as usize);
        let (lanes, types) = (lanes(x.device()), [x, targets].map(|tensor| tensor.dtype().storage()));
        let plan = kernels::cross_entropy_gradient(types[0], types[1], true, along(x, 1), lanes, offsets);
        launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
    }
    Ok(out)
}

impl Tensor {
    /// The mean cross-entropy of logits and class indices: `mean over rows of log(sum_j exp(x_j)) - x_target`.
    ///
    /// Logits are `[batch, classes, ..]`, targets `[batch, ..]` as `i32`, `u32` or `u8`. One launch up to 4,096 rows. A target that is
    /// no class makes the loss NaN; no rows at all give NaN, as in PyTorch.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let logits = Tensor::from_slice(&device, [2, 3], &[0.0f32, 0.0, 0.0, 9.0, -9.0, -9.0])?;
    /// let targets = Tensor::from_slice(&device, [2], &[1i32, 0])?;
    /// assert!((logits.cross_entropy(&targets)?.item::<f32>()? - 3f32.ln() / 2.0).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::DType`] for targets that are no integers or logits that are no
    /// floats; [`Error::Gpu`].
    pub fn cross_entropy(&self, targets: &Tensor) -> Result<Tensor> {
        Ok(cross_entropy(self, targets)?.loss)
    }
}
