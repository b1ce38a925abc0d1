//! AlexNet, and its form for images of 32x32 pixels.

use kiln_autograd::Var;
use kiln_nn::{Conv2d, Dropout, Flatten, Init, Linear, MaxPool2d, Module, ReLU, Result, Sequential, Visitor};
use kiln_tensor::Device;

use crate::model::check_counts;

/// AlexNet in its one-column form (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"), as torchvision
/// has it and under torchvision's names: weights trained there load unchanged.
///
/// Input `[n, 3, 224, 224]`, output logits `[n, classes]`. `features`: convolutions 11x11 with stride 4 to 64 channels, 5x5 to 192, 3x3
/// to 384, 256 and 256, each with ReLU, and maxima of 3x3 with stride 2 behind the first, second and last. `classifier`: 9,216 to
/// 4,096 to 4,096 to `classes`, with dropout before the first two. 61,100,840 parameters for 1,000 classes.
///
/// torchvision averages the features to 6x6 in between. They are 6x6 for images of 224x224 pixels, which are the ones taken here.
///
/// [`AlexNet::builder_32`] describes the form for small images.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::AlexNet;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default().map_err(kiln_tensor::Error::from)?;
/// let model = AlexNet::builder_32(10).in_channels(1).dropout(0.2).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 1, 32, 32], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AlexNet {
    features: Sequential,
    classifier: Sequential,
}

impl AlexNet {
    /// Describes AlexNet for images of 224x224 pixels, 3 channels unless changed.
    pub fn builder(classes: usize) -> AlexNetBuilder {
        AlexNetBuilder { form: Form::Full, classes, in_channels: 3, dropout: 0.5 }
    }

    /// Describes the form for images of 32x32 pixels: all convolutions 3x3, maxima of 2x2 in the same places, and a classifier of
    /// 4,096 to 1,024 to 512 to `classes`. 6,976,842 parameters for 3 channels and 10 classes.
    pub fn builder_32(classes: usize) -> AlexNetBuilder {
        AlexNetBuilder { form: Form::Small, ..AlexNet::builder(classes) }
    }
}

/// Builds [`AlexNet`] for images of 3 channels and 224x224 pixels, with PyTorch's first values.
///
/// # Errors
/// As [`AlexNetBuilder::build`].
pub fn alexnet(device: &Device, init: Init, classes: usize) -> Result<AlexNet> {
    AlexNet::builder(classes).build(device, &init)
}

/// Builds [`AlexNet`] for images of 3 channels and 32x32 pixels, with PyTorch's first values.
///
/// # Errors
/// As [`AlexNetBuilder::build`].
pub fn alexnet_32(device: &Device, init: Init, classes: usize) -> Result<AlexNet> {
    AlexNet::builder_32(classes).build(device, &init)
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Full,
    Small,
}

/// Describes an [`AlexNet`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct AlexNetBuilder {
    form: Form,
    classes: usize,
    in_channels: usize,
    dropout: f64,
}

impl AlexNetBuilder {
    /// The channels of the images; 3 unless called.
    pub fn in_channels(mut self, in_channels: usize) -> AlexNetBuilder {
        self.in_channels = in_channels;
        self
    }

    /// The probability of dropout in the classifier; 0.5 unless called.
    pub fn dropout(mut self, dropout: f64) -> AlexNetBuilder {
        self.dropout = dropout;
        self
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes or channels or for a dropout that is no probability, and the
    /// device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<AlexNet> {
        check_counts("alexnet", &[("classes", self.classes), ("in_channels", self.in_channels)])?;
        let dropout = Dropout::new(self.dropout)?;
        let (first, second, pool, hidden) = match self.form {
            Form::Full => (
                Conv2d::builder(self.in_channels, 64, 11).stride(4).padding(2),
                Conv2d::builder(64, 192, 5).padding(2),
                MaxPool2d::new(3).stride(2),
                [256 * 6 * 6, 4096, 4096],
            ),
            Form::Small => (
                Conv2d::builder(self.in_channels, 64, 3).padding(1),
                Conv2d::builder(64, 192, 3).padding(1),
                MaxPool2d::new(2),
                [256 * 4 * 4, 1024, 512],
            ),
        };
        let features = Sequential::builder().layer(first).layer(ReLU).layer(pool);
        let features = features.layer(second).layer(ReLU).layer(pool);
        let features = [(192, 384), (384, 256), (256, 256)]
            .into_iter()
            .fold(features, |features, (from, to)| features.layer(Conv2d::builder(from, to, 3).padding(1)).layer(ReLU));
        let classifier = Sequential::builder()
            .layer(dropout)
            .layer(Linear::builder(hidden[0], hidden[1]))
            .layer(ReLU)
            .layer(dropout)
            .layer(Linear::builder(hidden[1], hidden[2]))
            .layer(ReLU)
            .layer(Linear::builder(hidden[2], self.classes));
        Ok(AlexNet {
            features: features.layer(pool).build(device, &init.child("features"))?,
            classifier: classifier.build(device, &init.child("classifier"))?,
        })
    }
}

impl Module for AlexNet {
    fn forward(&self, x: &Var) -> Result<Var> {
        let features = self.features.forward_as("features", x)?;
        self.classifier.forward_as("classifier", &Flatten.forward(&features)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("features", &self.features);
        v.child("classifier", &self.classifier);
    }
}
