//! Initialisers, seeded by the parameter's name.

use kiln_tensor::{DType, Device, Random, Shape, Tensor};

use crate::error::{Error, Result};
use crate::parameter::Parameter;

/// The seed of a network's first values, and the place in the network that is being built.
///
/// Each parameter has random numbers of its own: the generator is Philox4x32-10 with this seed, and its stream is the
/// FNV-1a hash (64 bits) of the parameter's full name. So a layer starts with the same values whatever is built before it,
/// after it or besides it.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::{Build, Init, Linear};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let init = Init::seed(42);
/// let classifier = init.child("classifier");
/// let first = Linear::builder(20, 10).build(&device, &classifier.child("0"))?;
/// assert_eq!(classifier.child("0").name_of("weight"), "classifier.0.weight");
///
/// let again = Linear::builder(20, 10).build(&device, &Init::seed(42).child("classifier").child("0"))?;
/// assert_eq!(first.weight().value().to_vec::<f32>()?, again.weight().value().to_vec::<f32>()?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    seed: u64,
    path: String,
}

impl Init {
    /// The start of a network, with this seed.
    pub fn seed(seed: u64) -> Init {
        Init { seed, path: String::new() }
    }

    /// The place of the part `name`: the field that will hold it, or its index in a [`Sequential`](crate::Sequential).
    #[must_use]
    pub fn child(&self, name: &str) -> Init {
        Init { seed: self.seed, path: self.name_of(name) }
    }

    /// The full name of the parameter `name` here.
    pub fn name_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// The random numbers of the parameter `name` here.
    pub fn random(&self, name: &str) -> Random {
        Random { seed: self.seed, stream: fnv1a(self.name_of(name).as_bytes()) }
    }

    /// A new parameter `name` of f32 here, with the initialiser's values.
    ///
    /// # Errors
    /// As [`Initializer::tensor`].
    pub fn parameter(
        &self,
        device: &Device,
        name: &str,
        shape: impl Into<Shape>,
        initializer: Initializer,
    ) -> Result<Parameter> {
        initializer.tensor(device, shape, self.random(name)).map(Parameter::new)
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short, and the same everywhere and for ever, unlike the standard library's hashes.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Which side of a weight keeps its variance in [`Initializer::KaimingUniform`] and [`Initializer::KaimingNormal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fan {
    /// The inputs of one output: the variance of activations is kept.
    In,
    /// The outputs of one input: the variance of gradients is kept.
    Out,
}

/// What follows a layer, which decides the gain that keeps the variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nonlinearity {
    /// Nothing: gain 1.
    Linear,
    /// Sigmoid: gain 1, as in PyTorch.
    Sigmoid,
    /// Hyperbolic tangent: gain 5/3.
    Tanh,
    /// ReLU: gain `sqrt(2)`.
    Relu,
    /// Leaky ReLU of this slope `a` below 0: gain `sqrt(2 / (1 + a^2))`.
    LeakyRelu(f64),
}

impl Nonlinearity {
    /// The factor on the standard deviation, as `torch.nn.init.calculate_gain`.
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => std::f64::consts::SQRT_2,
            Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        }
    }
}

/// How a parameter starts.
///
/// A weight of shape `[out, in, ...]` has `fan_in = in k` and `fan_out = out k`, where `k` is the product of the axes behind
/// the second: a convolution's kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    /// Uniform in `(-b, b)` with `b = gain sqrt(3 / fan)` (He et al. 2015, "Delving Deep into Rectifiers").
    KaimingUniform {
        /// Which fan.
        fan: Fan,
        /// What follows the layer.
        nonlinearity: Nonlinearity,
    },
    /// Normal with mean 0 and standard deviation `gain / sqrt(fan)` (He et al. 2015).
    KaimingNormal {
        /// Which fan.
        fan: Fan,
        /// What follows the layer.
        nonlinearity: Nonlinearity,
    },
    /// Uniform in `(-b, b)` with `b = gain sqrt(6 / (fan_in + fan_out))` (Glorot & Bengio 2010, "Understanding the difficulty of
    /// training deep feedforward neural networks").
    XavierUniform {
        /// A factor, from [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Normal with mean 0 and standard deviation `gain sqrt(2 / (fan_in + fan_out))` (Glorot & Bengio 2010).
    XavierNormal {
        /// A factor, from [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Uniform between two numbers.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// The same number everywhere.
    Constant(f64),
}

impl Initializer {
    /// What PyTorch gives the weight of a linear layer or a convolution: Kaiming's uniform one with the slope `sqrt(5)`, which
    /// is uniform in `(-b, b)` with `b = 1 / sqrt(fan_in)`.
    pub const PYTORCH_WEIGHT: Initializer = Initializer::KaimingUniform {
        fan: Fan::In,
        nonlinearity: Nonlinearity::LeakyRelu(2.236_067_977_499_79), // sqrt(5)
    };

    /// Zeros.
    pub const ZEROS: Initializer = Initializer::Constant(0.0);

    /// Ones.
    pub const ONES: Initializer = Initializer::Constant(1.0);

    /// What PyTorch gives the bias of a layer with such a weight: uniform in `(-b, b)` with `b = 1 / sqrt(fan_in)`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a weight without two axes or with an empty one.
    pub fn pytorch_bias(weight: impl Into<Shape>) -> Result<Initializer> {
        let (fan_in, _) = fans(&weight.into())?;
        let bound = 1.0 / fan_in.sqrt();
        Ok(Initializer::Uniform { low: -bound, high: bound })
    }

    /// A tensor of f32 with such values.
    ///
    /// # Errors
    /// [`Error::Argument`] where the fans are asked of a shape that has none, or a bound is not finite; the tensor's errors.
    pub fn tensor(self, device: &Device, shape: impl Into<Shape>, random: Random) -> Result<Tensor> {
        let shape = shape.into();
        let (low, high, normal) = match self {
            Initializer::KaimingUniform { fan, nonlinearity } => {
                let bound = nonlinearity.gain() * (3.0 / fan.of(&shape)?).sqrt();
                (-bound, bound, false)
            }
            Initializer::KaimingNormal { fan, nonlinearity } => {
                (0.0, nonlinearity.gain() / fan.of(&shape)?.sqrt(), true)
            }
            Initializer::XavierUniform { gain } => {
                let (fan_in, fan_out) = fans(&shape)?;
                let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
                (-bound, bound, false)
            }
            Initializer::XavierNormal { gain } => {
                let (fan_in, fan_out) = fans(&shape)?;
                (0.0, gain * (2.0 / (fan_in + fan_out)).sqrt(), true)
            }
            Initializer::Uniform { low, high } => (low, high, false),
            Initializer::Normal { mean, std } => (mean, std, true),
            Initializer::Constant(value) => return Ok(Tensor::full(device, shape, value, DType::F32)?),
        };
        if !low.is_finite() || !high.is_finite() {
            return Err(Error::argument("Initializer", format!("{self:?} is not finite; pass finite numbers")));
        }
        Ok(if normal {
            Tensor::normal(device, shape, low, high, random)?
        } else {
            Tensor::uniform(device, shape, low, high, random)?
        })
    }
}

impl Fan {
    fn of(self, shape: &Shape) -> Result<f64> {
        let (fan_in, fan_out) = fans(shape)?;
        Ok(match self {
            Fan::In => fan_in,
            Fan::Out => fan_out,
        })
    }
}

/// Inputs of one output, and outputs of one input.
fn fans(shape: &Shape) -> Result<(f64, f64)> {
    match shape.dims() {
        [outputs, inputs, kernel @ ..] if shape.numel() > 0 => {
            let kernel = kernel.iter().product::<usize>();
            Ok(((inputs * kernel) as f64, (outputs * kernel) as f64))
        }
        _ => Err(Error::argument(
            "Initializer",
            format!(
                "shape {shape} has no fans; needs [out, in, ...] without an axis of 0: use Uniform, Normal or Constant"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_streams_by_fnv1a() {
        // The published test vectors of the hash.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let init = Init::seed(7).child("features").child("0");
        assert_eq!(init.random("weight"), Random { seed: 7, stream: fnv1a(b"features.0.weight") });
    }
}
