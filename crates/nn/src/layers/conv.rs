//! Convolution.

use kiln_autograd::Var;
use kiln_tensor::Device;
use kiln_tensor::ops::conv::Conv2dOptions;

use crate::error::{Error, Result};
use crate::init::{Init, Initializer};
use crate::layers::{Build, Size2};
use crate::module::{Module, ReluFusion, Visitor};
use crate::parameter::Parameter;

/// Two-dimensional convolution: input `[n, in, h, w]`, weight `[out, in / groups, kh, kw]`, bias `[out]`, output
/// `[n, out, (h + 2 padding - dilation (kh - 1) - 1) / stride + 1, ...]`, rounded down.
///
/// `y[n, o, i, j] = b[o] + sum over c, u, v of x[n, c, i stride + u dilation - padding, ...] W[o, c, u, v]`, where `c` runs
/// over the input channels of the group of `o`, and `x` is 0 outside of the image.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// # use kiln_nn::{Build, Conv2d, Init, Module};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let layer = Conv2d::builder(3, 16, 3).stride(2).padding(1).bias(false).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::ones(&device, [8, 3, 32, 32], DType::F32)?);
/// assert_eq!(layer.forward(&x)?.dims::<4>()?, [8, 16, 16, 16]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Parameter,
    bias: Option<Parameter>,
    options: Conv2dOptions,
}

impl Conv2d {
    /// A layer with bias, stride 1, no padding and PyTorch's first values.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0, and the device's errors.
    pub fn new(
        device: &Device,
        init: &Init,
        in_channels: usize,
        out_channels: usize,
        kernel: impl Into<Size2>,
    ) -> Result<Conv2d> {
        Conv2d::builder(in_channels, out_channels, kernel).build(device, init)
    }

    /// Describes a layer.
    pub fn builder(in_channels: usize, out_channels: usize, kernel: impl Into<Size2>) -> Conv2dBuilder {
        Conv2dBuilder {
            in_channels,
            out_channels,
            kernel: kernel.into().0,
            options: Conv2dOptions::default(),
            bias: true,
            weight_init: Initializer::PYTORCH_WEIGHT,
            bias_init: None,
        }
    }

    /// The weight, `[out, in / groups, kh, kw]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }

    /// Stride, padding, dilation and groups.
    pub fn options(&self) -> &Conv2dOptions {
        &self.options
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(|bias| bias.on(x.tape()));
        Ok(x.conv2d(&self.weight.on(x.tape()), bias.as_ref(), self.options)?)
    }

    fn relu_fusion(&self) -> ReluFusion {
        ReluFusion::Behind
    }

    fn forward_with_relu(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(|bias| bias.on(x.tape()));
        Ok(x.conv2d_relu(&self.weight.on(x.tape()), bias.as_ref(), self.options)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        if let Some(bias) = &self.bias {
            v.param("bias", bias);
        }
    }
}

/// Describes a [`Conv2d`] layer.
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct Conv2dBuilder {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    options: Conv2dOptions,
    bias: bool,
    weight_init: Initializer,
    bias_init: Option<Initializer>,
}

impl Conv2dBuilder {
    /// The step of the kernel; 1 unless called.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Conv2dBuilder {
        self.options.stride = stride.into().0;
        self
    }

    /// The border of zeros on each side; none unless called.
    pub fn padding(mut self, padding: impl Into<Size2>) -> Conv2dBuilder {
        self.options.padding = padding.into().0;
        self
    }

    /// The distance of the kernel's elements; 1 unless called.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Conv2dBuilder {
        self.options.dilation = dilation.into().0;
        self
    }

    /// Splits the channels into groups that do not see each other; 1 unless called.
    pub fn groups(mut self, groups: usize) -> Conv2dBuilder {
        self.options.groups = groups;
        self
    }

    /// Whether it adds a bias. True unless called.
    pub fn bias(mut self, bias: bool) -> Conv2dBuilder {
        self.bias = bias;
        self
    }

    /// The first values of the weight; [`Initializer::PYTORCH_WEIGHT`] unless called.
    pub fn weight_init(mut self, initializer: Initializer) -> Conv2dBuilder {
        self.weight_init = initializer;
        self
    }

    /// The first values of the bias; [`Initializer::pytorch_bias`] unless called.
    pub fn bias_init(mut self, initializer: Initializer) -> Conv2dBuilder {
        self.bias_init = Some(initializer);
        self
    }

    fn check(&self) -> Result<()> {
        let Conv2dOptions { stride, dilation, groups, .. } = self.options;
        let sizes = [self.in_channels, self.out_channels, self.kernel[0], self.kernel[1]];
        if sizes.contains(&0) || stride.contains(&0) || dilation.contains(&0) || groups == 0 {
            return Err(Error::argument(
                "Conv2d",
                format!(
                    "in_channels = {}, out_channels = {}, kernel = {:?}, stride = {stride:?}, dilation = {dilation:?}, groups = \
                     {groups}; each must be at least 1",
                    self.in_channels, self.out_channels, self.kernel
                ),
            ));
        }
        if !self.in_channels.is_multiple_of(groups) || !self.out_channels.is_multiple_of(groups) {
            return Err(Error::argument(
                "Conv2d",
                format!(
                    "groups = {groups} divides not both in_channels = {} and out_channels = {}; pass channels that are \
                     multiples of groups",
                    self.in_channels, self.out_channels
                ),
            ));
        }
        Ok(())
    }
}

impl Build for Conv2dBuilder {
    type Module = Conv2d;

    fn build(self, device: &Device, init: &Init) -> Result<Conv2d> {
        self.check()?;
        let shape = [self.out_channels, self.in_channels / self.options.groups, self.kernel[0], self.kernel[1]];
        let weight = init.parameter(device, "weight", shape, self.weight_init)?;
        let bias = match (self.bias, self.bias_init) {
            (false, _) => None,
            (true, Some(initializer)) => Some(initializer),
            (true, None) => Some(Initializer::pytorch_bias(shape)?),
        };
        let bias =
            bias.map(|initializer| init.parameter(device, "bias", self.out_channels, initializer)).transpose()?;
        Ok(Conv2d { weight, bias, options: self.options })
    }
}
