//! Losses of each element by itself, reduced: squared, absolute and smooth errors, and binary cross-entropy.

use kiln_shaders::pointwise::{self as kernels, PointwiseOp};

use super::loss::Reduction;
use super::pointwise::{broadcasting, with_scalars};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How the error `d = x - target` of an element becomes its loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distance {
    /// `d^2`
    Squared,
    /// `|d|`
    Absolute,
    /// `d^2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2` (Girshick, "Fast R-CNN", 2015).
    Smooth {
        /// Where the parabola ends; with 0, [`Distance::Absolute`].
        beta: f64,
    },
    /// `d^2 / 2` where `|d| <= delta`, else `delta (|d| - delta / 2)` (Huber, 1964).
    Huber {
        /// Where the parabola ends.
        delta: f64,
    },
}

impl Distance {
    /// The kernels of loss and gradient, and their scalars.
    fn kernels(self) -> ([&'static PointwiseOp; 2], [f64; 2]) {
        match self {
            Distance::Squared => ([&kernels::SQUARED_ERROR, &kernels::SQUARED_ERROR_GRAD], [0.0; 2]),
            Distance::Absolute => ([&kernels::ABSOLUTE_ERROR, &kernels::ABSOLUTE_ERROR_GRAD], [0.0; 2]),
            Distance::Smooth { beta } => ([&kernels::SMOOTH_ERROR, &kernels::SMOOTH_ERROR_GRAD], [beta, 0.0]),
            Distance::Huber { delta } => ([&kernels::HUBER_ERROR, &kernels::HUBER_ERROR_GRAD], [delta, 0.0]),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Distance::Squared => "mse_loss",
            Distance::Absolute => "l1_loss",
            Distance::Smooth { .. } => "smooth_l1_loss",
            Distance::Huber { .. } => "huber_loss",
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Distance::Smooth { beta } if !(beta >= 0.0 && beta.is_finite()) => {
                Err(Error::argument(self.name(), format!("beta {beta}; needs a finite number of at least 0")))
            }
            Distance::Huber { delta } if !(delta > 0.0 && delta.is_finite()) => {
                Err(Error::argument(self.name(), format!("delta {delta}; needs a finite number above 0")))
            }
            _ => Ok(()),
        }
    }
}

fn same_shape(op: &'static str, x: &Tensor, target: &Tensor) -> Result<()> {
    if x.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!("input has shape {}, target {}; needs one shape: expand one of them", x.shape(), target.shape()),
    ))
}

/// The loss of `x` against `target` by a distance: see [`Tensor::mse_loss`].
///
/// # Errors
/// As [`Tensor::mse_loss`].
pub fn distance_loss(x: &Tensor, target: &Tensor, distance: Distance, reduction: Reduction) -> Result<Tensor> {
    let op = distance.name();
    distance.check()?;
    same_shape(op, x, target)?;
    let ([loss, _], scalars) = distance.kernels();
    reduction.of(&with_scalars(loss, op, &[x, target], scalars)?)
}

/// The gradient of [`distance_loss`] to `x`; that to the target is its negative. `dloss` has the loss's shape.
///
/// # Errors
/// As [`Tensor::mse_loss`].
pub fn distance_loss_grad(
    x: &Tensor,
    target: &Tensor,
    dloss: &Tensor,
    distance: Distance,
    reduction: Reduction,
) -> Result<Tensor> {
    distance.check()?;
    same_shape("distance_loss_grad", x, target)?;
    let ([_, slope], scalars) = distance.kernels();
    with_scalars(slope, "distance_loss_grad", &[x, target, &reduction.share(dloss, x)?], scalars)
}

/// The loss of [`Tensor::binary_cross_entropy_with_logits`].
fn logistic(x: &Tensor, target: &Tensor, pos_weight: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "binary_cross_entropy_with_logits";
    same_shape(OP, x, target)?;
    match pos_weight {
        None => broadcasting(&kernels::LOGISTIC_LOSS, OP, &[x, target], x.dtype()),
        Some(weight) => broadcasting(&kernels::WEIGHTED_LOGISTIC_LOSS, OP, &[x, target, weight], x.dtype()),
    }
}

/// Weights of [`Tensor::binary_cross_entropy_with_logits`], each of a shape that broadcasts to the input's.
#[derive(Debug, Clone, Default)]
pub struct BceOptions {
    /// A factor on each loss.
    pub weight: Option<Tensor>,
    /// A factor on the part that a target of 1 gives, against unequal classes.
    pub pos_weight: Option<Tensor>,
    /// What is made of the losses.
    pub reduction: Reduction,
}

/// The gradient of [`Tensor::binary_cross_entropy_with_logits`] to the logits:
/// `dloss weight ((1 + (pos_weight - 1) target) sigmoid(x) - pos_weight target)`.
///
/// # Errors
/// As [`Tensor::binary_cross_entropy_with_logits`].
pub fn bce_with_logits_grad(x: &Tensor, target: &Tensor, dloss: &Tensor, options: &BceOptions) -> Result<Tensor> {
    const OP: &str = "bce_with_logits_grad";
    same_shape(OP, x, target)?;
    let mut given = options.reduction.share(dloss, x)?;
    if let Some(weight) = &options.weight {
        given = given.mul(weight)?;
    }
    match &options.pos_weight {
        None => broadcasting(&kernels::LOGISTIC_LOSS_GRAD, OP, &[x, target, &given], x.dtype()),
        Some(weight) => {
            broadcasting(&kernels::WEIGHTED_LOGISTIC_LOSS_GRAD, OP, &[x, target, weight], x.dtype())?.mul(&given)
        }
    }
}

impl Tensor {
    /// The squared error `(x - target)^2` of each element, reduced.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{Tensor, ops::loss::Reduction};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::from_slice(&device, [2], &[1.0f32, 4.0])?;
    /// let target = Tensor::from_slice(&device, [2], &[0.0f32, 2.0])?;
    /// assert_eq!(x.mse_loss(&target, Reduction::Mean)?.item::<f32>()?, 2.5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ, [`Error::DType`] where the types do or are no floats, [`Error::Argument`]
    /// for tensors of two devices or a setting out of its range; [`Error::Gpu`].
    pub fn mse_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        distance_loss(self, target, Distance::Squared, reduction)
    }

    /// The absolute error `|x - target|` of each element, reduced.
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`].
    pub fn l1_loss(&self, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
        distance_loss(self, target, Distance::Absolute, reduction)
    }

    /// The error of each element, squared below `beta` and absolute above, reduced: [`Distance::Smooth`].
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`].
    pub fn smooth_l1_loss(&self, target: &Tensor, reduction: Reduction, beta: f64) -> Result<Tensor> {
        distance_loss(self, target, Distance::Smooth { beta }, reduction)
    }

    /// The error of each element, squared up to `delta` and absolute above, reduced: [`Distance::Huber`].
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`].
    pub fn huber_loss(&self, target: &Tensor, reduction: Reduction, delta: f64) -> Result<Tensor> {
        distance_loss(self, target, Distance::Huber { delta }, reduction)
    }

    /// The binary cross-entropy of logits `x` and probabilities `target`:
    /// `-weight (pos_weight target ln sigmoid(x) + (1 - target) ln(1 - sigmoid(x)))`, reduced. Nothing overflows or cancels
    /// for large `x`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::DType`] where the types differ or are no floats,
    /// [`Error::Argument`] for tensors of two devices; [`Error::Gpu`].
    pub fn binary_cross_entropy_with_logits(&self, target: &Tensor, options: &BceOptions) -> Result<Tensor> {
        let mut loss = logistic(self, target, options.pos_weight.as_ref())?;
        if let Some(weight) = &options.weight {
            loss = loss.mul(weight)?;
        }
        options.reduction.of(&loss)
    }
}
