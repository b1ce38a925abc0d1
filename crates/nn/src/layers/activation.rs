//! Activations.

use kiln_autograd::Var;
use kiln_tensor::Device;
use kiln_tensor::ops::activation::GeluApproximate;

use crate::error::{Error, Result};
use crate::init::{Init, Initializer};
use crate::layers::{Build, parameterless};
use crate::module::{Module, ReluFusion, Visitor};
use crate::parameter::Parameter;

macro_rules! activation {
    ($($(#[$doc:meta])* $layer:ident: $op:ident, $fusion:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
            pub struct $layer;

            impl Module for $layer {
                fn forward(&self, x: &Var) -> Result<Var> {
                    Ok(x.$op()?)
                }

                fn relu_fusion(&self) -> ReluFusion {
                    ReluFusion::$fusion
                }

                fn visit(&self, _: &mut Visitor<'_>) {}
            }

            parameterless!($layer);
        )*
    };
}

activation! {
    /// `y = max(x, 0)`, for each element (Nair & Hinton 2010).
    ReLU: relu, Itself;
    /// `y = 1 / (1 + e^-x)`, for each element.
    Sigmoid: sigmoid, Apart;
    /// `y = tanh x`, for each element.
    Tanh: tanh, Apart;
    /// `y = x / (1 + e^-x)`, for each element (Elfwing et al. 2017), also called swish.
    SiLU: silu, Apart;
}

/// `y = x` where `x > 0`, else `negative_slope x`, for each element (Maas et al. 2013).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyReLU {
    negative_slope: f64,
}

impl LeakyReLU {
    /// With this slope below 0. It must be finite, which the first forward tells.
    pub fn new(negative_slope: f64) -> LeakyReLU {
        LeakyReLU { negative_slope }
    }
}

impl Default for LeakyReLU {
    /// A slope of 0.01 below 0.
    fn default() -> LeakyReLU {
        LeakyReLU::new(0.01)
    }
}

impl Module for LeakyReLU {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.leaky_relu(self.negative_slope)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(LeakyReLU);

/// `y = x P(x)`, where `P(x)` is the share of standard normal numbers below `x`, for each element (Hendrycks & Gimpel 2016).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GELU {
    approximate: GeluApproximate,
}

impl GELU {
    /// By this formula; the default is the exact one.
    pub fn new(approximate: GeluApproximate) -> GELU {
        GELU { approximate }
    }
}

impl Module for GELU {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.gelu(self.approximate)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(GELU);

/// `y = x` where `x > 0`, else `weight x`, for each element, where the weight is learned (He et al. 2015, "Delving Deep into
/// Rectifiers"): one for all, or one for each channel of `[n, channels, ..]`.
#[derive(Debug, Clone)]
pub struct PReLU {
    weight: Parameter,
}

impl PReLU {
    /// One weight, 0.25 at first.
    ///
    /// # Errors
    /// The device's errors.
    pub fn new(device: &Device, init: &Init) -> Result<PReLU> {
        PReLU::builder().build(device, init)
    }

    /// Describes a layer.
    pub fn builder() -> PReLUBuilder {
        PReLUBuilder { num_parameters: 1, init: 0.25 }
    }

    /// The weight, `[num_parameters]`.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }
}

impl Module for PReLU {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.prelu(&self.weight.on(x.tape()))?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.param("weight", &self.weight);
    }
}

/// Describes a [`PReLU`] layer.
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct PReLUBuilder {
    num_parameters: usize,
    init: f64,
}

impl PReLUBuilder {
    /// How many weights: 1, unless called, or the number of channels.
    pub fn num_parameters(mut self, num_parameters: usize) -> PReLUBuilder {
        self.num_parameters = num_parameters;
        self
    }

    /// The first value of the weights; 0.25 unless called.
    pub fn init(mut self, init: f64) -> PReLUBuilder {
        self.init = init;
        self
    }
}

impl Build for PReLUBuilder {
    type Module = PReLU;

    fn build(self, device: &Device, init: &Init) -> Result<PReLU> {
        if self.num_parameters == 0 {
            return Err(Error::argument("PReLU", "num_parameters = 0; must be at least 1"));
        }
        let weight = init.parameter(device, "weight", self.num_parameters, Initializer::Constant(self.init))?;
        Ok(PReLU { weight })
    }
}
