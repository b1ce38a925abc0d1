//! Local response normalisation (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
//! networks", 2012) of `[batch, channels, ..]`, and its gradient.

use kiln_shaders::local_response_norm::{self as kernels, Response};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// The options of [`Tensor::local_response_norm`]. As PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResponseNormOptions {
    /// Channels of a window.
    pub size: usize,
    /// The factor on the mean of squares.
    pub alpha: f64,
    /// The exponent.
    pub beta: f64,
    /// Added to the mean.
    pub k: f64,
}

impl LocalResponseNormOptions {
    /// Windows of `size` channels with PyTorch's numbers: alpha 1e-4, beta 0.75, k 1.
    pub fn new(size: usize) -> LocalResponseNormOptions {
        LocalResponseNormOptions { size, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl From<&LocalResponseNormOptions> for LocalResponseNormOptions {
    fn from(options: &LocalResponseNormOptions) -> LocalResponseNormOptions {
        *options
    }
}

/// Windows of this many channels.
impl From<usize> for LocalResponseNormOptions {
    fn from(size: usize) -> LocalResponseNormOptions {
        LocalResponseNormOptions::new(size)
    }
}

/// What [`local_response_norm`] gives.
#[derive(Debug, Clone)]
pub struct LocalResponseNorm {
    /// The normalised elements.
    pub y: Tensor,
    /// `k + alpha / size sum x^2` of each element, `f32`: what the gradient needs besides.
    pub scale: Tensor,
}

fn check(op: &'static str, x: &Tensor, options: &LocalResponseNormOptions) -> Result<()> {
    x.check_dtype(op, "input", &[DType::F32, DType::F16])?;
    if x.rank() < 2 {
        return Err(Error::shape(op, format!("input has shape {}; needs [batch, channels, ..]", x.shape())));
    }
    let LocalResponseNormOptions { size, alpha, beta, k } = *options;
    if size == 0 || !(alpha >= 0.0 && alpha.is_finite() && beta.is_finite() && k > 0.0 && k.is_finite()) {
        return Err(Error::argument(
            op,
            format!(
                "size {size}, alpha {alpha}, beta {beta}, k {k}; needs size at least 1, alpha at least 0, k above 0"
            ),
        ));
    }
    Ok(())
}

/// The axis along which tensors that are too large to bind are cut: any but the channels. The scale is the largest.
fn cut(x: &Tensor) -> Option<usize> {
    let limit = x.device().info().limits.binding_bytes.min(1 << 31) as usize;
    let axes = (0..x.rank()).filter(|&axis| axis != 1 && x.shape()[axis] > 1);
    axes.max_by_key(|&axis| x.strides()[axis]).filter(|_| 4 * x.numel() + 256 > limit)
}

/// Calls `half` for either half of an axis, with a cut of any tensor like x.
fn by_halves<T>(
    size: usize,
    axis: usize,
    half: impl Fn(&dyn Fn(&Tensor) -> Result<Tensor>) -> Result<T>,
) -> Result<[T; 2]> {
    let part = |start: usize, length: usize| half(&move |x: &Tensor| x.narrow(axis, start, length)?.contiguous());
    Ok([part(0, size / 2)?, part(size / 2, size - size / 2)?])
}

fn problem(x: &Tensor, others: &[&Tensor], options: &LocalResponseNormOptions) -> Response {
    let LocalResponseNormOptions { size, alpha, beta, k } = *options;
    Response {
        storage: x.dtype().storage(),
        batch: x.shape()[0],
        channels: x.shape()[1],
        plane: x.shape()[2..].iter().product(),
        aligned: others.iter().chain([&x]).all(|tensor| tensor.offset().is_multiple_of(4)),
        size,
        alpha,
        beta,
        k,
    }
}

/// Local response normalisation with what its gradient needs: see [`Tensor::local_response_norm`].
///
/// # Errors
/// As [`Tensor::local_response_norm`].
pub fn local_response_norm(x: &Tensor, options: &LocalResponseNormOptions) -> Result<LocalResponseNorm> {
    const OP: &str = "local_response_norm";
    check(OP, x, options)?;
    let x = x.contiguous()?;
    if let Some(axis) = cut(&x) {
        let [a, b] = by_halves(x.shape()[axis], axis, |cut| local_response_norm(&cut(&x)?, options))?;
        return Ok(LocalResponseNorm {
            y: Tensor::cat(&[&a.y, &b.y], axis)?,
            scale: Tensor::cat(&[&a.scale, &b.scale], axis)?,
        });
    }
    let y = Tensor::empty(x.device(), x.shape(), x.dtype(), OP)?;
    let scale = Tensor::empty(x.device(), x.shape(), DType::F32, OP)?;
    if x.numel() > 0 {
        let problem = problem(&x, &[], options);
        let windows = [x.window(), y.window(), scale.window()];
        let plan = kernels::forward(&problem, windows.map(|window| window.offset as usize / problem.width()));
        launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
    }
    Ok(LocalResponseNorm { y, scale })
}

/// The gradient of [`local_response_norm`] to `x`, from what it gave:
/// `dx = dy scale^-beta - 2 alpha / size beta x sum(dy y / scale)`, over the channels in whose windows an element lies.
///
/// # Errors
/// [`Error::Shape`] where a tensor is not like `x`; as [`Tensor::local_response_norm`].
pub fn local_response_norm_grad(
    x: &Tensor,
    found: &LocalResponseNorm,
    dy: &Tensor,
    options: &LocalResponseNormOptions,
) -> Result<Tensor> {
    const OP: &str = "local_response_norm_grad";
    check(OP, x, options)?;
    found.scale.check_dtype(OP, "the scale", &[DType::F32])?;
    for (name, tensor) in [("y", &found.y), ("the scale", &found.scale), ("dy", dy)] {
        x.check_device(OP, tensor)?;
        if tensor.shape() != x.shape() || (name != "the scale" && tensor.dtype() != x.dtype()) {
            return Err(Error::shape(
                OP,
                format!(
                    "x is {} of {}, {name} {} of {}; needs one like x",
                    x.shape(),
                    x.dtype(),
                    tensor.shape(),
                    tensor.dtype()
                ),
            ));
        }
    }
    let (x, y, scale, dy) = (x.contiguous()?, found.y.contiguous()?, found.scale.contiguous()?, dy.contiguous()?);
    if let Some(axis) = cut(&x) {
        let [a, b] = by_halves(x.shape()[axis], axis, |cut| {
            local_response_norm_grad(
                &cut(&x)?,
                &LocalResponseNorm { y: cut(&y)?, scale: cut(&scale)? },
                &cut(&dy)?,
                options,
            )
        })?;
        return Tensor::cat(&[&a, &b], axis);
    }
    let out = Tensor::empty(x.device(), x.shape(), x.dtype(), OP)?;
    if x.numel() > 0 {
        let problem = problem(&x, &[&y, &scale, &dy], options);
        let windows = [x.window(), y.window(), scale.window(), dy.window(), out.window()];
        let plan = kernels::gradient(&problem, windows.map(|window| window.offset as usize / problem.width()));
        launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
    }
    Ok(out)
}

impl Tensor {
    /// Each element over a power of the squares around it, in a window of channels:
    /// `y_c = x_c / (k + alpha / size sum x_j^2)^beta`, with `j` from `c - size / 2` on, `size` channels. What lies beyond the
    /// first and last channel counts as 0.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are no channels, [`Error::Argument`] for a setting out of its range, [`Error::DType`] for
    /// integers; [`Error::Gpu`].
    pub fn local_response_norm(&self, options: impl Into<LocalResponseNormOptions>) -> Result<Tensor> {
        Ok(local_response_norm(self, &options.into())?.y)
    }
}
