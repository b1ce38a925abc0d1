//! The fully connected layer.

use kiln_autograd::Var;
use kiln_tensor::Device;

use crate::error::{Error, Result};
use crate::init::{Init, Initializer};
use crate::layers::Build;
use crate::module::{Module, ReluFusion, Visitor};
use crate::parameter::Parameter;

/// `y = x W^T + b`: input `[..., in]`, weight `[out, in]`, bias `[out]`, output `[..., out]`.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// # use kiln_nn::{Build, Init, Linear, Module};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let layer = Linear::new(&device, &Init::seed(42), 20, 30)?;
/// let x = Tape::eval().constant(Tensor::ones(&device, [128, 20], DType::F32)?);
/// assert_eq!(layer.forward(&x)?.dims::<2>()?, [128, 30]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Linear {
    /// A layer with bias and PyTorch's first values.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0, and the device's errors.
    pub fn new(device: &Device, init: &Init, in_features: usize, out_features: usize) -> Result<Linear> {
        Linear::builder(in_features, out_features).build(device, init)
    }

    /// Describes a layer.
    pub fn builder(in_features: usize, out_features: usize) -> LinearBuilder {
        LinearBuilder {
            in_features,
            out_features,
            bias: true,
            weight_init: Initializer::PYTORCH_WEIGHT,
            bias_init: None,
        }
    }

    /// The weight, `[out, in]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }
}

impl Module for Linear {
    fn forward(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(|bias| bias.on(x.tape()));
        Ok(x.linear(&self.weight.on(x.tape()), bias.as_ref())?)
    }

    fn relu_fusion(&self) -> ReluFusion {
        ReluFusion::Behind
    }

    fn forward_with_relu(&self, x: &Var) -> Result<Var> {
        let bias = self.bias.as_ref().map(|bias| bias.on(x.tape()));
        Ok(x.linear_relu(&self.weight.on(x.tape()), bias.as_ref())?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
        if let Some(bias) = &self.bias {
            v.param("bias", bias);
        }
    }
}

/// Describes a [`Linear`] layer.
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct LinearBuilder {
    in_features: usize,
    out_features: usize,
    bias: bool,
    weight_init: Initializer,
    bias_init: Option<Initializer>,
}

impl LinearBuilder {
    /// Whether it adds a bias. True unless called.
    pub fn bias(mut self, bias: bool) -> LinearBuilder {
        self.bias = bias;
        self
    }

    /// The first values of the weight; [`Initializer::PYTORCH_WEIGHT`] unless called.
    pub fn weight_init(mut self, initializer: Initializer) -> LinearBuilder {
        self.weight_init = initializer;
        self
    }

    /// The first values of the bias; [`Initializer::pytorch_bias`] unless called.
    pub fn bias_init(mut self, initializer: Initializer) -> LinearBuilder {
        self.bias_init = Some(initializer);
        self
    }
}

impl Build for LinearBuilder {
    type Module = Linear;

    fn build(self, device: &Device, init: &Init) -> Result<Linear> {
        let shape = [self.out_features, self.in_features];
        if shape.contains(&0) {
            return Err(Error::argument(
                "Linear",
                format!(
                    "in_features = {}, out_features = {}; both must be at least 1",
                    self.in_features, self.out_features
                ),
            ));
        }
        let weight = init.parameter(device, "weight", shape, self.weight_init)?;
        let bias = match (self.bias, self.bias_init) {
            (false, _) => None,
            (true, Some(initializer)) => Some(initializer),
            (true, None) => Some(Initializer::pytorch_bias(shape)?),
        };
        let bias =
            bias.map(|initializer| init.parameter(device, "bias", self.out_features, initializer)).transpose()?;
        Ok(Linear { weight, bias })
    }
}
