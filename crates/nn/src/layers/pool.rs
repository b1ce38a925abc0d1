//! Pooling.

use kiln_autograd::Var;
use kiln_tensor::ops::pool::{AvgPool2dOptions, MaxPool2dOptions};

use crate::error::Result;
use crate::layers::{Size2, parameterless};
use crate::module::{Module, ReluFusion, Visitor};

/// The largest element of each window: `[n, c, h, w]` to `[n, c, (h + 2 padding - dilation (kh - 1) - 1) / stride + 1, ...]`, rounded
/// down, or up in ceil mode. What lies outside of the image never wins.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// # use kiln_nn::{MaxPool2d, Module};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let x = Tape::eval().constant(Tensor::ones(&device, [8, 3, 33, 33], DType::F32)?);
/// assert_eq!(MaxPool2d::new(2).forward(&x)?.dims::<4>()?, [8, 3, 16, 16]);
/// assert_eq!(MaxPool2d::new(3).stride(2).padding(1).forward(&x)?.dims::<4>()?, [8, 3, 17, 17]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d {
    options: MaxPool2dOptions,
}

impl MaxPool2d {
    /// Windows of this size, side by side.
    pub fn new(kernel: impl Into<Size2>) -> MaxPool2d {
        MaxPool2d { options: MaxPool2dOptions::new(kernel.into().0) }
    }

    /// The step of the window; its size unless called.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> MaxPool2d {
        self.options.stride = stride.into().0;
        self
    }

    /// The border on each side, at most half the window; none unless called.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> MaxPool2d {
        self.options.padding = padding.into().0;
        self
    }

    /// The distance of the window's elements; 1 unless called.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> MaxPool2d {
        self.options.dilation = dilation.into().0;
        self
    }

    /// Whether the output's size is rounded up. False unless called.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> MaxPool2d {
        self.options.ceil_mode = ceil_mode;
        self
    }
}

impl Module for MaxPool2d {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.max_pool2d(self.options)?)
    }

    fn relu_fusion(&self) -> ReluFusion {
        ReluFusion::InFront
    }

    fn forward_with_relu(&self, x: &Var) -> Result<Var> {
        Ok(x.max_pool2d_relu(self.options)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(MaxPool2d);

/// The mean of each window: shapes as for [`MaxPool2d`], without dilation.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d {
    options: AvgPool2dOptions,
}

impl AvgPool2d {
    /// Windows of this size, side by side.
    pub fn new(kernel: impl Into<Size2>) -> AvgPool2d {
        AvgPool2d { options: AvgPool2dOptions::new(kernel.into().0) }
    }

    /// The step of the window; its size unless called.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> AvgPool2d {
        self.options.stride = stride.into().0;
        self
    }

    /// The border of zeros on each side, at most half the window; none unless called.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> AvgPool2d {
        self.options.padding = padding.into().0;
        self
    }

    /// Whether the output's size is rounded up. False unless called.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> AvgPool2d {
        self.options.ceil_mode = ceil_mode;
        self
    }

    /// Whether the border's zeros count in the mean. True unless called, as in PyTorch.
    #[must_use]
    pub fn count_include_pad(mut self, count_include_pad: bool) -> AvgPool2d {
        self.options.count_include_pad = count_include_pad;
        self
    }
}

impl Module for AvgPool2d {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.avg_pool2d(self.options)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(AvgPool2d);
