//! Softmax, its logarithm, and their gradients.

use kiln_shaders::softmax as kernels;

use super::reduce::lanes;
use crate::axis::Axis;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// The tensor's axis `dim`, seen as `[outer, n, inner]`.
pub(crate) fn along(x: &Tensor, dim: usize) -> kernels::Axis {
    kernels::Axis {
        outer: x.shape()[..dim].iter().product(),
        n: x.shape()[dim],
        inner: x.shape()[dim + 1..].iter().product(),
    }
}

/// The axis along which a tensor that is too large to bind is cut: any but `dim`.
fn longest_but(x: &Tensor, dim: usize) -> Option<usize> {
    (0..x.rank()).filter(|&axis| axis != dim && x.shape()[axis] > 1).max_by_key(|&axis| x.strides()[axis])
}

fn in_halves(x: &Tensor, cut: usize, half: impl Fn(usize, usize) -> Result<Tensor>) -> Result<Tensor> {
    let size = x.shape()[cut];
    Tensor::cat(&[&half(0, size / 2)?, &half(size / 2, size - size / 2)?], cut)
}

fn forward(op: &'static str, log: bool, x: &Tensor, dim: usize) -> Result<Tensor> {
    x.check_dtype(op, "the tensor", &[DType::F32, DType::F16])?;
    let x = x.contiguous()?;
    if let Some(cut) = longest_but(&x, dim).filter(|_| !x.fits()) {
        return in_halves(&x, cut, |start, length| forward(op, log, &x.narrow(cut, start, length)?, dim));
    }
    let out = Tensor::empty(x.device(), x.shape(), x.dtype(), op)?;
    if x.numel() > 0 {
        let (from, to) = (x.window(), out.window());
        let plan = kernels::forward(
            x.dtype().storage(),
            log,
            along(&x, dim),
            lanes(x.device()),
            from.offset as usize,
            to.offset as usize,
        );
        launch_planned(x.device(), &plan, &[from.binding, to.binding])?;
    }
    Ok(out)
}

fn gradient(op: &'static str, log: bool, y: &Tensor, dy: &Tensor, dim: usize) -> Result<Tensor> {
    let dim = y.axis(op, dim)?;
    y.check_device(op, dy)?;
    y.check_dtype(op, "y", &[DType::F32, DType::F16])?;
    if y.shape() != dy.shape() || y.dtype() != dy.dtype() {
        return Err(Error::shape(
            op,
            format!("y is {} of {}, dy {} of {}; needs a dy like y", y.shape(), y.dtype(), dy.shape(), dy.dtype()),
        ));
    }
    let (y, dy) = (y.contiguous()?, dy.contiguous()?);
    if let Some(cut) = longest_but(&y, dim).filter(|_| !y.fits()) {
        return in_halves(&y, cut, |start, length| {
            gradient(op, log, &y.narrow(cut, start, length)?, &dy.narrow(cut, start, length)?, dim)
        });
    }
    let out = Tensor::empty(y.device(), y.shape(), y.dtype(), op)?;
    if y.numel() > 0 {
        let windows = [y.window(), dy.window(), out.window()];
        let offsets = windows.map(|window| window.offset as usize);
        let plan = kernels::gradient(y.dtype().storage(), log, along(&y, dim), lanes(y.device()), offsets);
        launch_planned(y.device(), &plan, &windows.map(|window| window.binding))?;
    }
    Ok(out)
}

impl Tensor {
    /// Softmax along an axis: `exp(x_i - m) / sum_j exp(x_j - m)` with `m = max_j x_j`. Floats only.
    ///
    /// # Errors
    /// [`Error::Argument`] for a missing axis, [`Error::DType`]; [`Error::Gpu`].
    pub fn softmax(&self, dim: impl Into<Axis>) -> Result<Tensor> {
        forward("softmax", false, self, self.axis("softmax", dim)?)
    }

    /// The logarithm of softmax: `x_i - m - log(sum_j exp(x_j - m))` with `m = max_j x_j`. Floats only.
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    pub fn log_softmax(&self, dim: impl Into<Axis>) -> Result<Tensor> {
        forward("log_softmax", true, self, self.axis("log_softmax", dim)?)
    }
}

/// The gradient of [`Tensor::softmax`]: `dx_i = y_i (dy_i - sum_j dy_j y_j)`, from its result `y`.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not like `y`; as [`Tensor::softmax`].
pub fn softmax_grad(y: &Tensor, dy: &Tensor, dim: usize) -> Result<Tensor> {
    gradient("softmax_grad", false, y, dy, dim)
}

/// The gradient of [`Tensor::log_softmax`]: `dx_i = dy_i - exp(y_i) sum_j dy_j`, from its result `y`.
///
/// # Errors
/// As [`softmax_grad`].
pub fn log_softmax_grad(y: &Tensor, dy: &Tensor, dim: usize) -> Result<Tensor> {
    gradient("log_softmax_grad", true, y, dy, dim)
}
