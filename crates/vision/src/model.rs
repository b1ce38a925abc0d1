//! The models by name.

use std::borrow::Borrow;

use kiln_nn::{Dropout, Error, Init, Module, Result};
use kiln_tensor::Device;

use crate::blueprint::{Blueprint, Cost};
use crate::{AlexNet, AlexNetBuilder, LeNet5, Mlp, Vgg, VggBuilder};

// Of the training images: ImageNet's as torchvision states them, CIFAR-10's, Fashion-MNIST's.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
const CIFAR_MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const CIFAR_STD: [f32; 3] = [0.2470, 0.2435, 0.2616];
const FASHION_MNIST_MEAN: [f32; 1] = [0.2860];
const FASHION_MNIST_STD: [f32; 1] = [0.3530];

/// A model that programs can ask for by name, with what they need to feed it.
///
/// ```
/// use kiln_vision::{Model, ModelOptions};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// let model = Model::find("lenet5").unwrap();
/// assert_eq!(model.input, [1, 28, 28]);
/// assert!(Model::find("lenet").is_none());
///
/// let cost = model.cost(&ModelOptions::new(10), [28, 28])?;
/// println!("{}: {} parameters, {} FLOPs an image", model.name, cost.parameters, cost.flops);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The name. A model that torchvision has is called what torchvision calls it (`vgg11_bn`); a form of it adds behind a hyphen
    /// what sets it apart: `vgg11_bn-32` is for images of 32x32 pixels, `alexnet-2012` the paper's own. Wherever a name is given,
    /// `-` and `_` are the same.
    pub name: &'static str,
    /// A line about it.
    pub about: &'static str,
    /// The shape `[c, h, w]` of the images that it was made for.
    pub input: [usize; 3],
    /// The number of classes of the images that it was made for.
    pub classes: usize,
    /// The mean of each channel that images are normalised with where nothing else is known, of pixels scaled to 0..1.
    pub mean: &'static [f32],
    /// The standard deviation of each channel.
    pub std: &'static [f32],
    /// The parameter whose first axis is the classes: tells how many a weights file was made for.
    pub head: &'static str,
    describe: fn(&ModelOptions) -> Result<Blueprint>,
}

/// What a model is built for. `None` is the model's own setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOptions {
    /// The classes that it tells apart.
    pub classes: usize,
    /// The channels of the images.
    pub in_channels: Option<usize>,
    /// The probability of dropout.
    pub dropout: Option<f64>,
}

impl ModelOptions {
    /// For so many classes, and the model's own settings.
    pub fn new(classes: usize) -> ModelOptions {
        ModelOptions { classes, in_channels: None, dropout: None }
    }

    fn alexnet(&self, mut builder: AlexNetBuilder) -> AlexNetBuilder {
        builder = self.in_channels.map_or(builder, |channels| builder.in_channels(channels));
        self.dropout.map_or(builder, |dropout| builder.dropout(dropout))
    }

    fn vgg(&self, mut builder: VggBuilder) -> VggBuilder {
        builder = self.in_channels.map_or(builder, |channels| builder.in_channels(channels));
        self.dropout.map_or(builder, |dropout| builder.dropout(dropout))
    }
}

/// What models for images like ImageNet's share. Name, line, head and description are each model's own.
const IMAGENET: Model = Model {
    name: "",
    about: "",
    input: [3, 224, 224],
    classes: 1000,
    mean: &IMAGENET_MEAN,
    std: &IMAGENET_STD,
    head: "",
    describe: |options| AlexNet::builder(options.classes).blueprint(),
};
const CIFAR: Model = Model { input: [3, 32, 32], classes: 10, mean: &CIFAR_MEAN, std: &CIFAR_STD, ..IMAGENET };
const FASHION_MNIST: Model =
    Model { input: [1, 28, 28], classes: 10, mean: &FASHION_MNIST_MEAN, std: &FASHION_MNIST_STD, ..IMAGENET };

impl Model {
    /// All models, in alphabetical order.
    pub const ALL: &'static [Model] = &[
        Model {
            name: "alexnet",
            about: "AlexNet (Krizhevsky 2014), as torchvision has it",
            head: "classifier.6.bias",
            describe: |options| options.alexnet(AlexNet::builder(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "alexnet-2012",
            about: "AlexNet as its paper has it (Krizhevsky et al. 2012): two groups, response normalisation",
            head: "classifier.6.bias",
            describe: |options| options.alexnet(AlexNet::builder_2012(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "alexnet-32",
            about: "AlexNet for images of 32x32 pixels",
            head: "classifier.6.bias",
            describe: |options| options.alexnet(AlexNet::builder_32(options.classes)).blueprint(),
            ..CIFAR
        },
        Model {
            name: "lenet5",
            about: "LeNet-5 (LeCun et al. 1998) for grey images of 28x28 pixels",
            head: "classifier.4.bias",
            describe: |options| {
                no_dropout("lenet5", options)?;
                LeNet5::builder(options.classes).in_channels(options.in_channels.unwrap_or(1)).blueprint()
            },
            ..FASHION_MNIST
        },
        Model {
            name: "mlp",
            about: "Three fully connected layers for grey images of 28x28 pixels",
            head: "6.bias",
            describe: |options| {
                let features = 28 * 28 * options.in_channels.unwrap_or(1);
                Mlp::builder(features, options.classes).dropout(options.dropout.unwrap_or(0.0)).blueprint()
            },
            ..FASHION_MNIST
        },
        Model {
            name: "vgg11",
            about: "VGG-11 (Simonyan & Zisserman 2015)",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_11(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg11-32",
            about: "VGG-11 for images of 32x32 pixels",
            head: "classifier.3.bias",
            describe: |options| options.vgg(Vgg::builder_11_32(options.classes)).blueprint(),
            ..CIFAR
        },
        Model {
            name: "vgg11_bn",
            about: "VGG-11 (Simonyan & Zisserman 2015) with batch norm",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_11(options.classes)).batch_norm(true).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg11_bn-32",
            about: "VGG-11 with batch norm for images of 32x32 pixels",
            head: "classifier.3.bias",
            describe: |options| options.vgg(Vgg::builder_11_32(options.classes)).batch_norm(true).blueprint(),
            ..CIFAR
        },
        Model {
            name: "vgg13",
            about: "VGG-13 (Simonyan & Zisserman 2015)",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_13(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg13_bn",
            about: "VGG-13 (Simonyan & Zisserman 2015) with batch norm",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_13(options.classes)).batch_norm(true).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg16",
            about: "VGG-16 (Simonyan & Zisserman 2015)",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_16(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg16-32",
            about: "VGG-16 for images of 32x32 pixels",
            head: "classifier.3.bias",
            describe: |options| options.vgg(Vgg::builder_16_32(options.classes)).blueprint(),
            ..CIFAR
        },
        Model {
            name: "vgg16_bn",
            about: "VGG-16 (Simonyan & Zisserman 2015) with batch norm",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_16(options.classes)).batch_norm(true).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg16_bn-32",
            about: "VGG-16 with batch norm for images of 32x32 pixels",
            head: "classifier.3.bias",
            describe: |options| options.vgg(Vgg::builder_16_32(options.classes)).batch_norm(true).blueprint(),
            ..CIFAR
        },
        Model {
            name: "vgg19",
            about: "VGG-19 (Simonyan & Zisserman 2015)",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_19(options.classes)).blueprint(),
            ..IMAGENET
        },
        Model {
            name: "vgg19_bn",
            about: "VGG-19 (Simonyan & Zisserman 2015) with batch norm",
            head: "classifier.6.bias",
            describe: |options| options.vgg(Vgg::builder_19(options.classes)).batch_norm(true).blueprint(),
            ..IMAGENET
        },
    ];

    /// The model of this name, with `-` and `_` the same.
    pub fn find(name: &str) -> Option<&'static Model> {
        Model::ALL.iter().find(|model| same_name(model.name, name))
    }

    /// Builds it for this number of classes, otherwise with its own settings.
    ///
    /// # Errors
    /// As [`Model::build_with`].
    pub fn build(&self, device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<Box<dyn Module>> {
        self.build_with(device, init, &ModelOptions::new(classes))
    }

    /// Builds it.
    ///
    /// # Errors
    /// [`Error::Argument`] for options that fit no network or that the model does not have, and the device's errors.
    pub fn build_with(
        &self,
        device: &Device,
        init: impl Borrow<Init>,
        options: &ModelOptions,
    ) -> Result<Box<dyn Module>> {
        Ok(Box::new((self.describe)(options)?.build(device, init.borrow())?))
    }

    /// Its parameters, and the operations for an image of this height and width, without building it.
    ///
    /// # Errors
    /// [`Error::Argument`] as for [`Model::build_with`], and for an image that does not fit.
    pub fn cost(&self, options: &ModelOptions, image: [usize; 2]) -> Result<Cost> {
        (self.describe)(options)?.cost(image)
    }
}

/// Whether both are names of one model: `-` and `_` are the same.
///
/// ```
/// use kiln_vision::{Model, same_name};
/// assert!(same_name("vgg11_bn-32", "vgg11-bn-32"));
/// assert_eq!(Model::find("vgg11-bn").map(|model| model.name), Some("vgg11_bn"));
/// ```
pub fn same_name(a: &str, b: &str) -> bool {
    let letters = |name: &str| name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte }).collect::<Vec<u8>>();
    letters(a) == letters(b)
}

/// Refuses counts of 0, by their names.
pub(crate) fn check_counts(what: &'static str, counts: &[(&str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(Error::Argument { what, message: format!("{name} = 0; pass at least 1") }),
        None => Ok(()),
    }
}

/// Refuses a dropout that is no probability.
pub(crate) fn check_dropout(dropout: f64) -> Result<()> {
    Dropout::new(dropout).map(|_| ())
}

/// Refuses dropout for a model that has none.
fn no_dropout(what: &'static str, options: &ModelOptions) -> Result<()> {
    match options.dropout {
        Some(p) => {
            Err(Error::Argument { what, message: format!("dropout = {p}; this model has no dropout: leave it out") })
        }
        None => Ok(()),
    }
}
