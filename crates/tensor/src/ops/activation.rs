//! Activations beyond ReLU, elementwise, of floats.

use kiln_shaders::pointwise as kernels;

use super::pointwise::{broadcasting, unary, with_scalars};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Which formula [`Tensor::gelu`] uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GeluApproximate {
    /// The normal distribution itself.
    #[default]
    None,
    /// By the hyperbolic tangent.
    Tanh,
}

fn check_slope(op: &'static str, slope: f64) -> Result<()> {
    if slope.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("negative_slope {slope}; needs a finite number")))
}

impl Tensor {
    /// `x` where `x > 0`, else `negative_slope x` (Maas et al., "Rectifier nonlinearities improve neural network acoustic
    /// models", 2013).
    ///
    /// # Errors
    /// [`Error::Argument`] for a slope that is not finite, [`Error::DType`] for integers; [`Error::Gpu`].
    pub fn leaky_relu(&self, negative_slope: f64) -> Result<Tensor> {
        check_slope("leaky_relu", negative_slope)?;
        unary(&kernels::LEAKY_RELU, "leaky_relu", self, [negative_slope, 0.0])
    }

    /// `x` where `x > 0`, else `weight x` (He et al., "Delving deep into rectifiers", 2015). `weight` has one element, or
    /// one for each channel of `[batch, channels, ..]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the weight has another number of elements; as [`Tensor::add`].
    pub fn prelu(&self, weight: &Tensor) -> Result<Tensor> {
        let weight = along_channels("prelu", self, weight)?;
        broadcasting(&kernels::PRELU, "prelu", &[self, &weight], self.dtype())
    }

    /// `x sigmoid(x)` (Elfwing et al., "Sigmoid-weighted linear units", 2017), also called swish.
    ///
    /// # Errors
    /// [`Error::DType`] for integers; [`Error::Gpu`].
    pub fn silu(&self) -> Result<Tensor> {
        unary(&kernels::SILU, "silu", self, [0.0; 2])
    }

    /// `x` times the share of standard normal numbers below `x` (Hendrycks and Gimpel, "Gaussian error linear units",
    /// 2016), or its approximation `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    ///
    /// # Errors
    /// [`Error::DType`] for integers; [`Error::Gpu`].
    pub fn gelu(&self, approximate: GeluApproximate) -> Result<Tensor> {
        let op = match approximate {
            GeluApproximate::None => &kernels::GELU,
            GeluApproximate::Tanh => &kernels::GELU_TANH,
        };
        unary(op, "gelu", self, [0.0; 2])
    }
}

/// The weight of [`Tensor::prelu`] so that it broadcasts to `x`.
fn along_channels(op: &'static str, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.check_dtype(op, "the tensor", &[DType::F32, DType::F16])?;
    if weight.numel() == 1 {
        return weight.reshape(());
    }
    let channels = x.shape().get(1).copied();
    if weight.rank() != 1 || channels != Some(weight.numel()) {
        return Err(Error::shape(
            op,
            format!(
                "weight has shape {}, input {}; needs one element, or one for each channel of [batch, channels, ..]",
                weight.shape(),
                x.shape()
            ),
        ));
    }
    let mut shape = vec![1; x.rank() - 1];
    shape[0] = weight.numel();
    weight.reshape(shape)
}

/// `dy` where `x > 0`, else `negative_slope dy`: the gradient of [`Tensor::leaky_relu`].
///
/// # Errors
/// As [`Tensor::add`].
pub fn leaky_relu_grad(x: &Tensor, dy: &Tensor, negative_slope: f64) -> Result<Tensor> {
    with_scalars(&kernels::LEAKY_RELU_GRAD, "leaky_relu_grad", &[x, dy], [negative_slope, 0.0])
}

/// The gradients of [`Tensor::prelu`]: `dy` where `x > 0`, else `weight dy`; and for the weight, `x dy` where `x <= 0`, else
/// 0, summed for each element of it.
///
/// # Errors
/// As [`Tensor::prelu`].
pub fn prelu_grad(x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    const OP: &str = "prelu_grad";
    let broad = along_channels(OP, x, weight)?;
    let dx = broadcasting(&kernels::PRELU_GRAD, OP, &[x, &broad, dy], x.dtype())?;
    let terms = broadcasting(&kernels::PRELU_GRAD_WEIGHT, OP, &[x, dy], x.dtype())?;
    let per_channel = weight.numel() > 1;
    let axes: Vec<usize> = (0..terms.rank()).filter(|&axis| axis != 1 || !per_channel).collect();
    Ok([dx, if terms.rank() == 0 { terms } else { terms.sum(&axes)? }.reshape(weight.shape())?])
}

/// `dy s (1 + x (1 - s))` with `s = sigmoid(x)`: the gradient of [`Tensor::silu`].
///
/// # Errors
/// As [`Tensor::add`].
pub fn silu_grad(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    broadcasting(&kernels::SILU_GRAD, "silu_grad", &[x, dy], x.dtype())
}

/// The gradient of [`Tensor::gelu`]: `dy (P(x) + x p(x))` with the normal share `P` and density `p`, or the slope of the
/// approximation.
///
/// # Errors
/// As [`Tensor::add`].
pub fn gelu_grad(x: &Tensor, dy: &Tensor, approximate: GeluApproximate) -> Result<Tensor> {
    let op = match approximate {
        GeluApproximate::None => &kernels::GELU_GRAD,
        GeluApproximate::Tanh => &kernels::GELU_TANH_GRAD,
    };
    broadcasting(op, "gelu_grad", &[x, dy], x.dtype())
}
