//! Max and average pooling of `[batch, channels, height, width]`, and their gradients.

use kiln_shaders::pool::{self as kernels, Pool, extent};

use super::reduce::lanes;
use crate::axis::Size2;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The options of [`Tensor::max_pool2d`], `[vertical, horizontal]`. As PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxPool2dOptions {
    /// The window.
    pub kernel_size: [usize; 2],
    /// From window to window.
    pub stride: [usize; 2],
    /// Border on each side, which never wins; at most half the window.
    pub padding: [usize; 2],
    /// From point to point in a window.
    pub dilation: [usize; 2],
    /// Whether a window that hangs over the edge counts.
    pub ceil_mode: bool,
}

impl MaxPool2dOptions {
    /// Windows side by side: a stride of the window's size, no padding, dilation 1.
    pub fn new(kernel_size: impl Into<Size2>) -> MaxPool2dOptions {
        let Size2(kernel_size) = kernel_size.into();
        MaxPool2dOptions { kernel_size, stride: kernel_size, padding: [0; 2], dilation: [1; 2], ceil_mode: false }
    }

    /// From window to window.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> MaxPool2dOptions {
        self.stride = stride.into().0;
        self
    }

    /// Border on each side.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> MaxPool2dOptions {
        self.padding = padding.into().0;
        self
    }
}

/// The options of [`Tensor::avg_pool2d`], `[vertical, horizontal]`. As PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AvgPool2dOptions {
    /// The window.
    pub kernel_size: [usize; 2],
    /// From window to window.
    pub stride: [usize; 2],
    /// Zeros on each side; at most half the window.
    pub padding: [usize; 2],
    /// Whether a window that hangs over the edge counts.
    pub ceil_mode: bool,
    /// Whether the padding counts in the divisor.
    pub count_include_pad: bool,
}

impl AvgPool2dOptions {
    /// Windows side by side: a stride of the window's size, no padding, which would count.
    pub fn new(kernel_size: impl Into<Size2>) -> AvgPool2dOptions {
        let Size2(kernel_size) = kernel_size.into();
        AvgPool2dOptions {
            kernel_size,
            stride: kernel_size,
            padding: [0; 2],
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// From window to window.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> AvgPool2dOptions {
        self.stride = stride.into().0;
        self
    }

    /// Zeros on each side.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> AvgPool2dOptions {
        self.padding = padding.into().0;
        self
    }

    fn geometry(&self) -> MaxPool2dOptions {
        MaxPool2dOptions {
            kernel_size: self.kernel_size,
            stride: self.stride,
            padding: self.padding,
            dilation: [1; 2],
            ceil_mode: self.ceil_mode,
        }
    }
}

macro_rules! options_from {
    ($($options:ident),*) => {$(
        /// Options by reference, as a layer keeps them.
        impl From<&$options> for $options {
            fn from(options: &$options) -> $options {
                *options
            }
        }

        /// Square windows of this size, side by side.
        impl From<usize> for $options {
            fn from(kernel_size: usize) -> $options {
                $options::new(kernel_size)
            }
        }

        /// Windows of this height and width, side by side.
        impl From<[usize; 2]> for $options {
            fn from(kernel_size: [usize; 2]) -> $options {
                $options::new(kernel_size)
            }
        }

        /// Windows of this height and width, side by side.
        impl From<(usize, usize)> for $options {
            fn from(kernel_size: (usize, usize)) -> $options {
                $options::new(kernel_size)
            }
        }
    )*};
}
options_from!(MaxPool2dOptions, AvgPool2dOptions);

/// What [`max_pool2d`] gives.
#[derive(Debug, Clone)]
pub struct MaxPool2dOutput {
    /// The largest value of each window.
    pub values: Tensor,
    /// Where it was, as `row * width + column` of its plane, `i32`: what the gradient needs.
    pub indices: Tensor,
}

/// The problem for one input shape, checked.
fn geometry(op: &'static str, input: &Shape, options: &MaxPool2dOptions) -> Result<Pool> {
    let MaxPool2dOptions { kernel_size, stride, padding, dilation, ceil_mode } = *options;
    let Ok([n, c, h, w]) = <[usize; 4]>::try_from(input.dims()) else {
        return Err(Error::shape(op, format!("input has shape {input}; needs [batch, channels, height, width]")));
    };
    if kernel_size.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
        return Err(Error::argument(
            op,
            format!("kernel_size {kernel_size:?}, stride {stride:?}, dilation {dilation:?}; each must be at least 1"),
        ));
    }
    if (0..2).any(|axis| padding[axis] > kernel_size[axis] / 2) {
        return Err(Error::argument(
            op,
            format!("padding {padding:?} with kernel_size {kernel_size:?}; needs at most half of the window"),
        ));
    }
    let along = |axis: usize, size: usize| {
        extent(size, kernel_size[axis], stride[axis], padding[axis], dilation[axis], ceil_mode)
    };
    let (Some(oh), Some(ow)) = (along(0, h), along(1, w)) else {
        return Err(Error::shape(
            op,
            format!(
                "a window of {kernel_size:?} with dilation {dilation:?} does not fit an image of {h}x{w} with padding \
                 {padding:?}; pass a larger image or a smaller window"
            ),
        ));
    };
    Shape::from([n, c, oh, ow]).checked_numel(op)?;
    Ok(Pool { planes: n * c, size: [h, w], out_size: [oh, ow], kernel: kernel_size, stride, padding, dilation })
}

fn check_floats(op: &'static str, name: &str, x: &Tensor) -> Result<()> {
    x.check_dtype(op, name, &[DType::F32, DType::F16])
}

/// The tensors' parts for each half of the planes, where one of them is too large to bind. All are contiguous and begin with
/// batch and channels.
fn halves<const N: usize>(tensors: [&Tensor; N], largest: usize) -> Result<Option<[[Tensor; N]; 2]>> {
    let limit = tensors[0].device().info().limits.binding_bytes.min(1 << 31) as usize;
    let Some(axis) = [0, 1].into_iter().find(|&axis| tensors[0].shape()[axis] > 1).filter(|_| largest > limit) else {
        return Ok(None);
    };
    let size = tensors[0].shape()[axis];
    let part = |start: usize, length: usize| -> Result<[Tensor; N]> {
        let parts: Vec<Tensor> =
            tensors.iter().map(|tensor| tensor.narrow(axis, start, length)?.contiguous()).collect::<Result<_>>()?;
        parts.try_into().map_err(|_| Error::argument("pool", "as many parts as tensors"))
    };
    Ok(Some([part(0, size / 2)?, part(size / 2, size - size / 2)?]))
}

/// The axis that [`halves`] cut.
fn cut_axis(x: &Tensor) -> usize {
    usize::from(x.shape()[0] <= 1)
}

/// Max pooling with the places of the maxima. See [`Tensor::max_pool2d`].
///
/// # Errors
/// As [`Tensor::max_pool2d`].
pub fn max_pool2d(x: &Tensor, options: &MaxPool2dOptions) -> Result<MaxPool2dOutput> {
    max_forward("max_pool2d", x, false, options)
}

/// ReLU of max pooling, which is max pooling of ReLU, in one launch: `values` is the larger of each window's maximum and 0.
/// See [`Tensor::max_pool2d`].
///
/// # Errors
/// As [`Tensor::max_pool2d`].
pub fn max_pool2d_relu(x: &Tensor, options: &MaxPool2dOptions) -> Result<MaxPool2dOutput> {
    max_forward("max_pool2d_relu", x, true, options)
}

fn max_forward(op: &'static str, x: &Tensor, relu: bool, options: &MaxPool2dOptions) -> Result<MaxPool2dOutput> {
    let pool = geometry(op, x.shape(), options)?;
    check_floats(op, "input", x)?;
    let x = x.contiguous()?;
    let [n, c] = [x.shape()[0], x.shape()[1]];
    let shape = [n, c, pool.out_size[0], pool.out_size[1]];
    let largest = (x.numel() * x.dtype().size()).max(shape.iter().product::<usize>() * 4);
    if let Some([[x0], [x1]]) = halves([&x], largest)? {
        let (a, b) = (max_forward(op, &x0, relu, options)?, max_forward(op, &x1, relu, options)?);
        let axis = cut_axis(&x);
        return Ok(MaxPool2dOutput {
            values: Tensor::cat(&[&a.values, &b.values], axis)?,
            indices: Tensor::cat(&[&a.indices, &b.indices], axis)?,
        });
    }
    let values = Tensor::empty(x.device(), shape, x.dtype(), op)?;
    let indices = Tensor::empty(x.device(), shape, DType::I32, op)?;
    let windows = [x.window(), values.window(), indices.window()];
    let offsets = windows.map(|window| window.offset as usize);
    let plan = kernels::max(x.dtype().storage(), &pool, relu, lanes(x.device()), offsets);
    launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
    Ok(MaxPool2dOutput { values, indices })
}

/// The gradient of [`max_pool2d`] to its input of this shape: each `dy` goes to the place of its maximum.
///
/// # Errors
/// [`Error::Shape`] where `dy` or `indices` are not like the forward pass's result; as [`Tensor::max_pool2d`].
pub fn max_pool2d_grad(
    dy: &Tensor,
    indices: &Tensor,
    input_shape: impl Into<Shape>,
    options: &MaxPool2dOptions,
) -> Result<Tensor> {
    max_backward("max_pool2d_grad", [dy, indices], None, input_shape.into(), options)
}

/// The gradient of [`max_pool2d_relu`] to its input of this shape, in one launch: each `dy` whose result `y` is above 0 goes to
/// the place of its maximum.
///
/// # Errors
/// [`Error::Shape`] where `dy`, `indices` or `y` are not like the forward pass's result, [`Error::DType`] where `y` has another
/// type than `dy`; as [`Tensor::max_pool2d`].
pub fn max_pool2d_relu_grad(
    dy: &Tensor,
    indices: &Tensor,
    y: &Tensor,
    input_shape: impl Into<Shape>,
    options: &MaxPool2dOptions,
) -> Result<Tensor> {
    const OP: &str = "max_pool2d_relu_grad";
    y.check_dtype(OP, "y", &[dy.dtype()])?;
    dy.check_device(OP, y)?;
    if y.shape() != dy.shape() {
        return Err(Error::shape(OP, format!("dy has shape {}, y {}; needs one shape", dy.shape(), y.shape())));
    }
    max_backward(OP, [dy, indices], Some(y), input_shape.into(), options)
}

fn max_backward(
    op: &'static str,
    [dy, indices]: [&Tensor; 2],
    y: Option<&Tensor>,
    shape: Shape,
    options: &MaxPool2dOptions,
) -> Result<Tensor> {
    let pool = geometry(op, &shape, options)?;
    check_floats(op, "dy", dy)?;
    indices.check_dtype(op, "indices", &[DType::I32])?;
    dy.check_device(op, indices)?;
    let needed = [shape[0], shape[1], pool.out_size[0], pool.out_size[1]];
    if dy.shape().dims() != needed || indices.shape().dims() != needed {
        return Err(Error::shape(
            op,
            format!(
                "dy has shape {}, indices {}; an input of {shape} needs both of {needed:?}",
                dy.shape(),
                indices.shape()
            ),
        ));
    }
    let (dy, indices) = (dy.contiguous()?, indices.contiguous()?);
    let y = y.map(Tensor::contiguous).transpose()?;
    let largest = (shape.numel() * dy.dtype().size()).max(dy.numel() * 4);
    // Without ReLU, dy stands in for the y that nothing reads.
    if let Some(parts) = halves([&dy, &indices, y.as_ref().unwrap_or(&dy)], largest)? {
        let axis = cut_axis(&dy);
        let half = |[dy, indices, part]: &[Tensor; 3]| {
            let part = y.as_ref().map(|_| part);
            max_backward(op, [dy, indices], part, shape.with_dim(axis, dy.shape()[axis]), options)
        };
        return Tensor::cat(&[&half(&parts[0])?, &half(&parts[1])?], axis);
    }
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), op)?;
    let windows = [dy.window(), indices.window(), out.window(), y.as_ref().unwrap_or(&dy).window()];
    let offsets = windows.map(|window| window.offset as usize);
    let plan = kernels::max_gradient(dy.dtype().storage(), &pool, y.is_some(), lanes(dy.device()), offsets);
    let bound = if y.is_some() { 4 } else { 3 };
    launch_planned(dy.device(), &plan, &windows.map(|window| window.binding)[..bound])?;
    Ok(out)
}

/// The gradient of [`Tensor::avg_pool2d`] to its input of this shape: each `dy`, over its window's divisor, goes to every pixel of
/// the window.
///
/// # Errors
/// [`Error::Shape`] where `dy` is not like the forward pass's result; as [`Tensor::avg_pool2d`].
pub fn avg_pool2d_grad(dy: &Tensor, input_shape: impl Into<Shape>, options: &AvgPool2dOptions) -> Result<Tensor> {
    const OP: &str = "avg_pool2d_grad";
    let shape = input_shape.into();
    let pool = geometry(OP, &shape, &options.geometry())?;
    check_floats(OP, "dy", dy)?;
    let needed = [shape[0], shape[1], pool.out_size[0], pool.out_size[1]];
    if dy.shape().dims() != needed {
        return Err(Error::shape(OP, format!("dy has shape {}; an input of {shape} needs {needed:?}", dy.shape())));
    }
    let dy = dy.contiguous()?;
    let largest = shape.numel().max(dy.numel()) * dy.dtype().size();
    if let Some([[d0], [d1]]) = halves([&dy], largest)? {
        let axis = cut_axis(&dy);
        let half = |dy: &Tensor| avg_pool2d_grad(dy, shape.with_dim(axis, dy.shape()[axis]), options);
        return Tensor::cat(&[&half(&d0)?, &half(&d1)?], axis);
    }
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), OP)?;
    let windows = [dy.window(), out.window()];
    let offsets = windows.map(|window| window.offset as usize);
    let lanes = lanes(dy.device());
    let plan = kernels::average_gradient(dy.dtype().storage(), &pool, options.count_include_pad, lanes, offsets);
    launch_planned(dy.device(), &plan, &windows.map(|window| window.binding))?;
    Ok(out)
}

impl Tensor {
    /// The largest value of each window. `[n, c, h, w]` becomes `[n, c, h', w']` with
    /// `h' = floor((h + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1`, rounded up with `ceil_mode`, but no window
    /// starts beyond the image. Floats only; NaN wins.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::pool::MaxPool2dOptions};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::ones(&Device::open_default()?, [8, 3, 32, 32], DType::F32)?;
    /// assert_eq!(x.max_pool2d(2)?.dims::<4>()?, [8, 3, 16, 16]);
    /// assert_eq!(x.max_pool2d(MaxPool2dOptions::new(3).stride(2).padding(1))?.dims::<4>()?, [8, 3, 16, 16]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is not 4 or the window does not fit, [`Error::Argument`] for a size of 0 or a padding above
    /// half the window, [`Error::DType`]; [`Error::Gpu`].
    pub fn max_pool2d(&self, options: impl Into<MaxPool2dOptions>) -> Result<Tensor> {
        Ok(max_pool2d(self, &options.into())?.values)
    }

    /// The mean of each window; shapes as [`Tensor::max_pool2d`]. The divisor is the number of pixels, with the padding's unless
    /// `count_include_pad` is off. Floats only.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`].
    pub fn avg_pool2d(&self, options: impl Into<AvgPool2dOptions>) -> Result<Tensor> {
        const OP: &str = "avg_pool2d";
        let options = options.into();
        let pool = geometry(OP, self.shape(), &options.geometry())?;
        check_floats(OP, "input", self)?;
        let x = self.contiguous()?;
        let shape = [x.shape()[0], x.shape()[1], pool.out_size[0], pool.out_size[1]];
        let largest = x.numel().max(shape.iter().product()) * x.dtype().size();
        if let Some([[x0], [x1]]) = halves([&x], largest)? {
            return Tensor::cat(&[&x0.avg_pool2d(options)?, &x1.avg_pool2d(options)?], cut_axis(&x));
        }
        let out = Tensor::empty(x.device(), shape, x.dtype(), OP)?;
        let windows = [x.window(), out.window()];
        let offsets = windows.map(|window| window.offset as usize);
        let lanes = lanes(x.device());
        let plan = kernels::average(x.dtype().storage(), &pool, options.count_include_pad, lanes, offsets);
        launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
        Ok(out)
    }
}
