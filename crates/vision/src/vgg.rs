//! VGG with 11, 13, 16 and 19 layers, with and without batch norm, and forms for images of 32x32 pixels.

use std::borrow::Borrow;

use kiln_nn::{Fan, Init, Initializer, Nonlinearity, Result};
use kiln_tensor::Device;

use crate::blueprint::{Blueprint, Conv, Cost, FirstValues, Layer, Network, network};
use crate::model::{check_counts, check_dropout};

/// VGG (Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition"), as torchvision has it and
/// under torchvision's names: weights trained there load unchanged.
///
/// Output logits `[n, classes]`. `features`: convolutions 3x3 with padding 1 and ReLU, in five stages of 64, 128, 256, 512 and 512
/// channels, with a maximum of 2x2 behind each; with [`VggBuilder::batch_norm`], batch norm behind each convolution (Ioffe & Szegedy
/// 2015). `avgpool`: means of windows that bring the features to 7x7, which those of a 224x224 image already are. `classifier`: two
/// hidden linear layers with ReLU and dropout, and one of `classes` outputs. The first values are torchvision's: Kaiming's normal
/// ones by the outputs for convolutions, a deviation of 0.01 for linear layers, biases of 0.
///
/// | | convolutions a stage | made for | features | classifier |
/// |---|---|---|---|---|
/// | [`Vgg::builder_11`] | 1, 1, 2, 2, 2 | `[n, 3, 224, 224]` | 7x7 | 25,088 to 4,096 to 4,096 |
/// | [`Vgg::builder_13`] | 2, 2, 2, 2, 2 | `[n, 3, 224, 224]` | 7x7 | 25,088 to 4,096 to 4,096 |
/// | [`Vgg::builder_16`] | 2, 2, 3, 3, 3 | `[n, 3, 224, 224]` | 7x7 | 25,088 to 4,096 to 4,096 |
/// | [`Vgg::builder_19`] | 2, 2, 4, 4, 4 | `[n, 3, 224, 224]` | 7x7 | 25,088 to 4,096 to 4,096 |
/// | [`Vgg::builder_11_32`] | 1, 1, 2, 2, 2 | `[n, 3, 32, 32]` | 1x1 | 512 to 512 |
/// | [`Vgg::builder_16_32`] | 2, 2, 3, 3, 3 | `[n, 3, 32, 32]` | 1x1 | 512 to 512 |
///
/// Any image of at least 32x32 pixels fits.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::Vgg;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = Vgg::builder_11_32(10).batch_norm(true).dropout(0.2).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 3, 32, 48], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
///
/// let cost = Vgg::builder_16(1000).cost([224, 224])?;
/// assert_eq!(cost.parameters, 138_357_544);
/// assert_eq!(cost.flops / 100_000_000, 309); // 30.9 GFLOP for an image
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Vgg(Network);

network!(Vgg);

/// Channels of the five stages.
const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// Convolutions of each stage: configurations A, B, D and E of the paper.
const STAGES_11: [usize; 5] = [1, 1, 2, 2, 2];
const STAGES_13: [usize; 5] = [2, 2, 2, 2, 2];
const STAGES_16: [usize; 5] = [2, 2, 3, 3, 3];
const STAGES_19: [usize; 5] = [2, 2, 4, 4, 4];

impl Vgg {
    fn full(what: &'static str, stages: [usize; 5], classes: usize) -> VggBuilder {
        let hidden = &[4096, 4096];
        VggBuilder { what, stages, batch_norm: false, pooled: 7, hidden, classes, in_channels: 3, dropout: 0.5 }
    }

    /// As the full form with these stages; a pixel is left of the features, and one hidden layer of 512 behind them.
    fn small(what: &'static str, stages: [usize; 5], classes: usize) -> VggBuilder {
        VggBuilder { pooled: 1, hidden: &[512], ..Vgg::full(what, stages, classes) }
    }

    /// Describes VGG-11 for images of 224x224 pixels, 3 channels and without batch norm unless changed.
    pub fn builder_11(classes: usize) -> VggBuilder {
        Vgg::full("vgg11", STAGES_11, classes)
    }

    /// Describes VGG-13, as [`Vgg::builder_11`].
    pub fn builder_13(classes: usize) -> VggBuilder {
        Vgg::full("vgg13", STAGES_13, classes)
    }

    /// Describes VGG-16, as [`Vgg::builder_11`].
    pub fn builder_16(classes: usize) -> VggBuilder {
        Vgg::full("vgg16", STAGES_16, classes)
    }

    /// Describes VGG-19, as [`Vgg::builder_11`].
    pub fn builder_19(classes: usize) -> VggBuilder {
        Vgg::full("vgg19", STAGES_19, classes)
    }

    /// Describes VGG-11 for images of 32x32 pixels: a pixel is left of the features, and one hidden layer of 512 behind them.
    pub fn builder_11_32(classes: usize) -> VggBuilder {
        Vgg::small("vgg11_32", STAGES_11, classes)
    }

    /// Describes VGG-16 for images of 32x32 pixels, as [`Vgg::builder_11_32`].
    pub fn builder_16_32(classes: usize) -> VggBuilder {
        Vgg::small("vgg16_32", STAGES_16, classes)
    }
}

macro_rules! builds {
    ($($(#[$doc:meta])* $name:ident: $builder:ident, $batch_norm:literal;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// As [`VggBuilder::build`].
            pub fn $name(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<Vgg> {
                Vgg::$builder(classes).batch_norm($batch_norm).build(device, init.borrow())
            }
        )*
    };
}

builds! {
    /// Builds VGG-11 for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg11: builder_11, false;
    /// Builds VGG-11 with batch norm for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg11_bn: builder_11, true;
    /// Builds VGG-13 for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg13: builder_13, false;
    /// Builds VGG-13 with batch norm for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg13_bn: builder_13, true;
    /// Builds VGG-16 for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg16: builder_16, false;
    /// Builds VGG-16 with batch norm for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg16_bn: builder_16, true;
    /// Builds VGG-19 for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg19: builder_19, false;
    /// Builds VGG-19 with batch norm for images of 3 channels and 224x224 pixels: [`Vgg`].
    vgg19_bn: builder_19, true;
    /// Builds VGG-11 for images of 3 channels and 32x32 pixels: [`Vgg`].
    vgg11_32: builder_11_32, false;
    /// Builds VGG-11 with batch norm for images of 3 channels and 32x32 pixels: [`Vgg`].
    vgg11_bn_32: builder_11_32, true;
    /// Builds VGG-16 for images of 3 channels and 32x32 pixels: [`Vgg`].
    vgg16_32: builder_16_32, false;
    /// Builds VGG-16 with batch norm for images of 3 channels and 32x32 pixels: [`Vgg`].
    vgg16_bn_32: builder_16_32, true;
}

/// Describes a [`Vgg`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct VggBuilder {
    what: &'static str,
    /// Convolutions of each stage.
    stages: [usize; 5],
    batch_norm: bool,
    /// The size of the features that the classifier takes.
    pooled: usize,
    /// The outputs of each hidden linear layer.
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

    /// Whether batch norm follows each convolution. False unless called.
    pub fn batch_norm(mut self, batch_norm: bool) -> VggBuilder {
        self.batch_norm = batch_norm;
        self
    }

    pub(crate) fn blueprint(self) -> Result<Blueprint> {
        check_counts(self.what, &[("classes", self.classes), ("in_channels", self.in_channels)])?;
        check_dropout(self.dropout)?;
        let by_outputs = Initializer::KaimingNormal { fan: Fan::Out, nonlinearity: Nonlinearity::Relu };
        let first = Some(FirstValues { weight: by_outputs, bias: Initializer::ZEROS });
        let mut features = Vec::new();
        let mut from = self.in_channels;
        for (to, convolutions) in CHANNELS.into_iter().zip(self.stages) {
            for _ in 0..convolutions {
                features.push(Layer::Conv(Conv { first, ..Conv::padded(from, to, 3, 1) }));
                if self.batch_norm {
                    features.push(Layer::BatchNorm(to));
                }
                features.push(Layer::ReLU);
                from = to;
            }
            features.push(Layer::MaxPool { kernel: 2, stride: 2 });
        }

        let normal = Initializer::Normal { mean: 0.0, std: 0.01 };
        let first = Some(FirstValues { weight: normal, bias: Initializer::ZEROS });
        let mut classifier = Vec::new();
        let mut from = from * self.pooled * self.pooled;
        for &to in self.hidden {
            classifier.extend([Layer::Linear(from, to, first), Layer::ReLU, Layer::Dropout(self.dropout)]);
            from = to;
        }
        classifier.push(Layer::Linear(from, self.classes, first));
        let (what, in_channels, pooled) = (self.what, self.in_channels, Some(self.pooled));
        Ok(Blueprint { what, in_channels, features, pooled, classifier })
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes or channels or for a dropout that is no probability, and the
    /// device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<Vgg> {
        self.blueprint()?.build(device, init).map(Vgg)
    }

    /// What it costs for an image of this height and width, without building it.
    ///
    /// # Errors
    /// As [`VggBuilder::build`], and for an image that is too small.
    pub fn cost(self, image: [usize; 2]) -> Result<Cost> {
        self.blueprint()?.cost(image)
    }
}
