//! Transposed convolution.

use kiln_autograd::Var;
use kiln_tensor::Device;
use kiln_tensor::ops::conv_transpose::ConvTranspose2dOptions;

use crate::error::{Error, Result};
use crate::init::{Init, Initializer};
use crate::layers::{Build, Size2};
use crate::module::{Module, Visitor};
use crate::parameter::Parameter;

/// Two-dimensional transposed convolution, which makes larger images of smaller ones: input `[n, in, h, w]`, weight
/// `[in, out / groups, kh, kw]`, bias `[out]`, output
/// `[n, out, (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1, ...]`.
///
/// Every input pixel adds the kernel, times its value, to a window of the output; windows are `stride` apart
/// ([`Tensor::conv_transpose2d`](kiln_tensor::Tensor::conv_transpose2d)).
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// # use kiln_nn::{Build, ConvTranspose2d, Init, Module};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let layer = ConvTranspose2d::builder(16, 8, 3).stride(2).padding(1).output_padding(1).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::ones(&device, [2, 16, 7, 7], DType::F32)?);
/// assert_eq!(layer.forward(&x)?.dims::<4>()?, [2, 8, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    weight: Parameter,
    bias: Option<Parameter>,
    options: ConvTranspose2dOptions,
}

impl ConvTranspose2d {
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
    ) -> Result<ConvTranspose2d> {
        ConvTranspose2d::builder(in_channels, out_channels, kernel).build(device, init)
    }

    /// Describes a layer.
    pub fn builder(in_channels: usize, out_channels: usize, kernel: impl Into<Size2>) -> ConvTranspose2dBuilder {
        ConvTranspose2dBuilder {
            in_channels,
            out_channels,
            kernel: kernel.into().0,
            options: ConvTranspose2dOptions::default(),
            bias: true,
            weight_init: Initializer::PYTORCH_WEIGHT,
            bias_init: None,
        }
    }

    /// The weight, `[in, out / groups, kh, kw]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }

    /// Stride, paddings, groups and dilation.
    pub fn options(&self) -> &ConvTranspose2dOptions {
        &self.options
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(|bias| bias.on(x.tape()));
        Ok(x.conv_transpose2d(&self.weight.on(x.tape()), bias.as_ref(), self.options)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        if let Some(bias) = &self.bias {
            v.param("bias", bias);
        }
    }
}

/// Describes a [`ConvTranspose2d`] layer.
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct ConvTranspose2dBuilder {
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    options: ConvTranspose2dOptions,
    bias: bool,
    weight_init: Initializer,
    bias_init: Option<Initializer>,
}

impl ConvTranspose2dBuilder {
    /// The step from window to window in the output; 1 unless called.
    pub fn stride(mut self, stride: impl Into<Size2>) -> ConvTranspose2dBuilder {
        self.options.stride = stride.into().0;
        self
    }

    /// What is cut from the output on each side; nothing unless called.
    pub fn padding(mut self, padding: impl Into<Size2>) -> ConvTranspose2dBuilder {
        self.options.padding = padding.into().0;
        self
    }

    /// What the output has more at the bottom and on the right, less than the stride; nothing unless called.
    pub fn output_padding(mut self, output_padding: impl Into<Size2>) -> ConvTranspose2dBuilder {
        self.options.output_padding = output_padding.into().0;
        self
    }

    /// Splits the channels into groups that do not see each other; 1 unless called.
    pub fn groups(mut self, groups: usize) -> ConvTranspose2dBuilder {
        self.options.groups = groups;
        self
    }

    /// Whether it adds a bias. True unless called.
    pub fn bias(mut self, bias: bool) -> ConvTranspose2dBuilder {
        self.bias = bias;
        self
    }

    /// The distance of the kernel's elements; 1 unless called.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> ConvTranspose2dBuilder {
        self.options.dilation = dilation.into().0;
        self
    }

    /// The first values of the weight; [`Initializer::PYTORCH_WEIGHT`] unless called.
    pub fn weight_init(mut self, initializer: Initializer) -> ConvTranspose2dBuilder {
        self.weight_init = initializer;
        self
    }

    /// The first values of the bias; [`Initializer::pytorch_bias`] unless called.
    pub fn bias_init(mut self, initializer: Initializer) -> ConvTranspose2dBuilder {
        self.bias_init = Some(initializer);
        self
    }

    fn check(&self) -> Result<()> {
        let ConvTranspose2dOptions { stride, output_padding, groups, dilation, .. } = self.options;
        let sizes = [self.in_channels, self.out_channels, self.kernel[0], self.kernel[1]];
        if sizes.contains(&0) || stride.contains(&0) || dilation.contains(&0) || groups == 0 {
            return Err(Error::argument(
                "ConvTranspose2d",
                format!(
                    "in_channels = {}, out_channels = {}, kernel = {:?}, stride = {stride:?}, dilation = {dilation:?}, groups = \
                     {groups}; each must be at least 1",
                    self.in_channels, self.out_channels, self.kernel
                ),
            ));
        }
        if !self.in_channels.is_multiple_of(groups) || !self.out_channels.is_multiple_of(groups) {
            return Err(Error::argument(
                "ConvTranspose2d",
                format!(
                    "groups = {groups} divides not both in_channels = {} and out_channels = {}; pass channels that are \
                     multiples of groups",
                    self.in_channels, self.out_channels
                ),
            ));
        }
        if (0..2).any(|axis| output_padding[axis] >= stride[axis]) {
            return Err(Error::argument(
                "ConvTranspose2d",
                format!("output_padding = {output_padding:?} with stride = {stride:?}; needs less than the stride"),
            ));
        }
        Ok(())
    }
}

impl Build for ConvTranspose2dBuilder {
    type Module = ConvTranspose2d;

    fn build(self, device: &Device, init: &Init) -> Result<ConvTranspose2d> {
        self.check()?;
        let shape = [self.in_channels, self.out_channels / self.options.groups, self.kernel[0], self.kernel[1]];
        let weight = init.parameter(device, "weight", shape, self.weight_init)?;
        let bias = match (self.bias, self.bias_init) {
            (false, _) => None,
            (true, Some(initializer)) => Some(initializer),
            (true, None) => Some(Initializer::pytorch_bias(shape)?),
        };
        let bias =
            bias.map(|initializer| init.parameter(device, "bias", self.out_channels, initializer)).transpose()?;
        Ok(ConvTranspose2d { weight, bias, options: self.options })
    }
}
