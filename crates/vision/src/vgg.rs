//! VGG: VGG-16, and VGG-11 for images of 32x32 pixels.

use kiln_autograd::Var;
use kiln_nn::{
    Conv2d, Dropout, Fan, Flatten, Init, Initializer, Linear, MaxPool2d, Module, Nonlinearity, ReLU, Result,
    Sequential, Visitor,
};
use kiln_tensor::Device;

use crate::model::check_counts;

/// VGG (Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition"), as torchvision has it and
/// under torchvision's names: weights trained there load unchanged.
///
/// Output logits `[n, classes]`. `features`: convolutions 3x3 with padding 1 and ReLU, in five stages of 64, 128, 256, 512 and 512
/// channels, with a maximum of 2x2 behind each. `classifier`: two hidden linear layers with ReLU and dropout, and one of `classes`
/// outputs. The first values are torchvision's: Kaiming's normal ones by the outputs for convolutions, a deviation of 0.01 for linear
/// layers, biases of 0.
///
/// | | convolutions a stage | input | classifier | parameters |
/// |---|---|---|---|---|
/// | [`Vgg::builder_16`] | 2, 2, 3, 3, 3 | `[n, 3, 224, 224]` | 25,088 to 4,096 to 4,096 | 138,357,544 for 1,000 classes |
/// | [`Vgg::builder_11_32`] | 1, 1, 2, 2, 2 | `[n, 3, 32, 32]` | 512 to 512 | 9,488,266 for 10 classes |
///
/// torchvision averages the features to 7x7 in between. They are 7x7 for images of 224x224 pixels, which are the ones taken here.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::Vgg;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default().map_err(kiln_tensor::Error::from)?;
/// let model = Vgg::builder_11_32(10).dropout(0.2).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 3, 32, 32], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Vgg {
    features: Sequential,
    classifier: Sequential,
}

/// Channels of the five stages.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

impl Vgg {
    /// Describes VGG-16 for images of 224x224 pixels, 3 channels unless changed.
    pub fn builder_16(classes: usize) -> VggBuilder {
        VggBuilder {
            what: "vgg16",
            stages: [2, 2, 3, 3, 3],
            hidden: &[512 * 7 * 7, 4096, 4096],
            classes,
            in_channels: 3,
            dropout: 0.5,
        }
    }

    /// Describes VGG-11 for images of 32x32 pixels: a pixel is left of the features, and one hidden layer of 512 behind them.
    pub fn builder_11_32(classes: usize) -> VggBuilder {
        VggBuilder { what: "vgg11_32", stages: [1, 1, 2, 2, 2], hidden: &[512, 512], ..Vgg::builder_16(classes) }
    }
}

/// Builds VGG-16 for images of 3 channels and 224x224 pixels: [`Vgg`].
///
/// # Errors
/// As [`VggBuilder::build`].
pub fn vgg16(device: &Device, init: Init, classes: usize) -> Result<Vgg> {
    Vgg::builder_16(classes).build(device, &init)
}

/// Builds VGG-11 for images of 3 channels and 32x32 pixels: [`Vgg`].
///
/// # Errors
/// As [`VggBuilder::build`].
pub fn vgg11_32(device: &Device, init: Init, classes: usize) -> Result<Vgg> {
    Vgg::builder_11_32(classes).build(device, &init)
}

/// Describes a [`Vgg`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct VggBuilder {
    what: &'static str,
    /// Convolutions of each stage.
    stages: [usize; 5],
    /// Features, and the outputs of each hidden linear layer.
    hidden: &'static [usize],
    classes: usize,
    in_channels: usize,
    dropout: f64,
}

impl VggBuilder {
    /// The channels of the images; 3 unless called.
    pub fn in_channels(mut self, in_channels: usize) -> VggBuilder {
        self.in_channels = in_channels;
        self
    }

    /// The probability of dropout in the classifier; 0.5 unless called.
    pub fn dropout(mut self, dropout: f64) -> VggBuilder {
        self.dropout = dropout;
        self
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes or channels or for a dropout that is no probability, and the
    /// device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<Vgg> {
        check_counts(self.what, &[("classes", self.classes), ("in_channels", self.in_channels)])?;
        let dropout = Dropout::new(self.dropout)?;
        let by_outputs = Initializer::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
        let mut features = Sequential::builder();
        let mut from = self.in_channels;
        for (to, convolutions) in CHANNELS.into_iter().zip(self.stages) {
            for _ in 0..convolutions {
                let conv = Conv2d::builder(from, to, 3).padding(1);
                features = features.layer(conv.weight_init(by_outputs).bias_init(Initializer::ZEROS)).layer(ReLU);
                from = to;
            }
            features = features.layer(MaxPool2d::new(2));
        }

        let linear = |from, to| {
            let weight = Initializer::Normal { mean: 0.0, std: 0.01 };
            Linear::builder(from, to).weight_init(weight).bias_init(Initializer::ZEROS)
        };
        let mut classifier = Sequential::builder();
        for sizes in self.hidden.windows(2) {
            classifier = classifier.layer(linear(sizes[0], sizes[1])).layer(ReLU).layer(dropout);
        }
        let last = self.hidden[self.hidden.len() - 1];
        Ok(Vgg {
            features: features.build(device, &init.child("features"))?,
            classifier: classifier.layer(linear(last, self.classes)).build(device, &init.child("classifier"))?,
        })
    }
}

impl Module for Vgg {
    fn forward(&self, x: &Var) -> Result<Var> {
        let features = self.features.forward_as("features", x)?;
        self.classifier.forward_as("classifier", &Flatten.forward(&features)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("features", &self.features);
        v.child("classifier", &self.classifier);
    }
}
