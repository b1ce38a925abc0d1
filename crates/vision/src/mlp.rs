//! A fully connected network.

use kiln_autograd::Var;
use kiln_nn::{Dropout, Flatten, Init, Linear, Module, ReLU, Result, Sequential, Visitor};
use kiln_tensor::Device;

use crate::model::check_counts;

/// A fully connected network for images of any shape: the elements of an image, one or more hidden layers with ReLU and dropout, and
/// logits `[n, classes]`. Its names are those of `torchvision.ops.MLP`: `0.weight`, `3.weight`, `6.weight`, ...
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::Mlp;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default().map_err(kiln_tensor::Error::from)?;
/// let model = Mlp::builder(28 * 28, 10).hidden(&[100]).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 1, 28, 28], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Mlp {
    layers: Sequential,
}

impl Mlp {
    /// Describes a network with hidden layers of 512 and 256 outputs, and no dropout.
    pub fn builder(features: usize, classes: usize) -> MlpBuilder<'static> {
        MlpBuilder { features, hidden: &[512, 256], classes, dropout: 0.0 }
    }
}

/// Builds an [`Mlp`] for images of 1 channel and 28x28 pixels, 784 to 512 to 256 to `classes`: 535,818 parameters for 10 classes.
///
/// # Errors
/// As [`MlpBuilder::build`].
pub fn mlp(device: &Device, init: Init, classes: usize) -> Result<Mlp> {
    Mlp::builder(28 * 28, classes).build(device, &init)
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

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes, for a layer without elements or for a dropout that is no
    /// probability, and the device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<Mlp> {
        check_counts("mlp", &[("classes", self.classes), ("features", self.features)])?;
        let dropout = Dropout::new(self.dropout)?;
        let mut layers = Sequential::builder();
        let mut from = self.features;
        for &to in self.hidden {
            layers = layers.layer(Linear::builder(from, to)).layer(ReLU).layer(dropout);
            from = to;
        }
        Ok(Mlp { layers: layers.layer(Linear::builder(from, self.classes)).build(device, init)? })
    }
}

impl Module for Mlp {
    fn forward(&self, x: &Var) -> Result<Var> {
        self.layers.forward(&Flatten.forward(x)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        self.layers.visit(v);
    }
}
