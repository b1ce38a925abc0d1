//! A fully connected network.

use std::borrow::Borrow;

use kiln_nn::{Init, Result};
use kiln_tensor::Device;

use crate::blueprint::{Blueprint, Cost, Layer, Network, network};
use crate::model::{check_counts, check_dropout};

/// A fully connected network for images of any shape: the elements of an image, one or more hidden layers with ReLU and dropout, and
/// logits `[n, classes]`. Its names are those of `torchvision.ops.MLP`: `0.weight`, `3.weight`, `6.weight`, ...
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::Mlp;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = Mlp::builder(28 * 28, 10).hidden(&[100]).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 1, 28, 28], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
/// assert_eq!(Mlp::builder(28 * 28, 10).cost()?.parameters, 535_818);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Mlp(Network);

network!(Mlp);

impl Mlp {
    /// Describes a network with hidden layers of 512 and 256 outputs, and no dropout.
    pub fn builder(features: usize, classes: usize) -> MlpBuilder<'static> {
        MlpBuilder { features, hidden: &[512, 256], classes, dropout: 0.0 }
    }
}

/// Builds an [`Mlp`] for images of 1 channel and 28x28 pixels, 784 to 512 to 256 to `classes`.
///
/// # Errors
/// As [`MlpBuilder::build`].
pub fn mlp(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<Mlp> {
    Mlp::builder(28 * 28, classes).build(device, init.borrow())
}

/// Describes an [`Mlp`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct MlpBuilder<'a> {
    features: usize,
    hidden: &'a [usize],
    classes: usize,
    dropout: f64,
}

impl<'a> MlpBuilder<'a> {
    /// The outputs of each hidden layer; 512 and 256 unless called.
    pub fn hidden(self, hidden: &'a [usize]) -> MlpBuilder<'a> {
        MlpBuilder { hidden, ..self }
    }

    /// The probability of dropout behind each hidden layer; 0 unless called.
    pub fn dropout(self, dropout: f64) -> MlpBuilder<'a> {
        MlpBuilder { dropout, ..self }
    }

    pub(crate) fn blueprint(self) -> Result<Blueprint> {
        check_counts("mlp", &[("classes", self.classes), ("features", self.features)])?;
        check_dropout(self.dropout)?;
        let mut layers = Vec::new();
        let mut from = self.features;
        for &to in self.hidden {
            layers.extend([Layer::Linear(from, to, None), Layer::ReLU, Layer::Dropout(self.dropout)]);
            from = to;
        }
        layers.push(Layer::Linear(from, self.classes, None));
        Ok(Blueprint {
            what: "mlp",
            in_channels: self.features,
            features: Vec::new(),
            pooled: None,
            classifier: layers,
        })
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes, for a layer without elements or for a dropout that is no
    /// probability, and the device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<Mlp> {
        self.blueprint()?.build(device, init).map(Mlp)
    }

    /// What it costs for an image, without building it.
    ///
    /// # Errors
    /// As [`MlpBuilder::build`].
    pub fn cost(self) -> Result<Cost> {
        self.blueprint()?.cost([1, 1])
    }
}
