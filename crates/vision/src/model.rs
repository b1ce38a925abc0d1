//! The models by name.

use kiln_nn::{Error, Init, Module, Result};
use kiln_tensor::Device;

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
/// use kiln_vision::Model;
/// let model = Model::find("lenet5").unwrap();
/// assert_eq!(model.input, [1, 28, 28]);
/// assert!(Model::find("lenet").is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The name, in lower case.
    pub name: &'static str,
    /// A line about it.
    pub about: &'static str,
    /// The shape `[c, h, w]` of the images that it takes.
    pub input: [usize; 3],
    /// The mean of each channel that images are normalised with where nothing else is known, of pixels scaled to 0..1.
    pub mean: &'static [f32],
    /// The standard deviation of each channel.
    pub std: &'static [f32],
    /// The parameter whose first axis is the classes: tells how many a weights file was made for.
    pub head: &'static str,
    build: fn(&Device, Init, usize) -> Result<Box<dyn Module>>,
}

impl Model {
    /// All models, in alphabetical order.
    pub const ALL: &'static [Model] = &[
        Model {
            name: "alexnet",
            about: "AlexNet (Krizhevsky 2014) for images of 224x224 pixels, 61,100,840 parameters",
            input: [3, 224, 224],
            mean: &IMAGENET_MEAN,
            std: &IMAGENET_STD,
            head: "classifier.6.bias",
            build: |device, init, classes| Ok(Box::new(crate::alexnet(device, init, classes)?)),
        },
        Model {
            name: "alexnet-32",
            about: "AlexNet for images of 32x32 pixels, 6,976,842 parameters",
            input: [3, 32, 32],
            mean: &CIFAR_MEAN,
            std: &CIFAR_STD,
            head: "classifier.6.bias",
            build: |device, init, classes| Ok(Box::new(crate::alexnet_32(device, init, classes)?)),
        },
        Model {
            name: "lenet5",
            about: "LeNet-5 (LeCun et al. 1998) for grey images of 28x28 pixels, 61,706 parameters",
            input: [1, 28, 28],
            mean: &FASHION_MNIST_MEAN,
            std: &FASHION_MNIST_STD,
            head: "classifier.4.bias",
            build: |device, init, classes| Ok(Box::new(crate::lenet5(device, init, classes)?)),
        },
        Model {
            name: "mlp",
            about: "Three fully connected layers for grey images of 28x28 pixels, 535,818 parameters",
            input: [1, 28, 28],
            mean: &FASHION_MNIST_MEAN,
            std: &FASHION_MNIST_STD,
            head: "6.bias",
            build: |device, init, classes| Ok(Box::new(crate::mlp(device, init, classes)?)),
        },
        Model {
            name: "vgg11-32",
            about: "VGG-11 (Simonyan & Zisserman 2015) for images of 32x32 pixels, 9,488,266 parameters",
            input: [3, 32, 32],
            mean: &CIFAR_MEAN,
            std: &CIFAR_STD,
            head: "classifier.3.bias",
            build: |device, init, classes| Ok(Box::new(crate::vgg11_32(device, init, classes)?)),
        },
        Model {
            name: "vgg16",
            about: "VGG-16 (Simonyan & Zisserman 2015) for images of 224x224 pixels, 138,357,544 parameters",
            input: [3, 224, 224],
            mean: &IMAGENET_MEAN,
            std: &IMAGENET_STD,
            head: "classifier.6.bias",
            build: |device, init, classes| Ok(Box::new(crate::vgg16(device, init, classes)?)),
        },
    ];

    /// The model of this name.
    pub fn find(name: &str) -> Option<&'static Model> {
        Model::ALL.iter().find(|model| model.name == name)
    }

    /// Builds it for this number of classes.
    ///
    /// # Errors
    /// Those of its own function, as [`lenet5`](crate::lenet5).
    pub fn build(&self, device: &Device, init: Init, classes: usize) -> Result<Box<dyn Module>> {
        (self.build)(device, init, classes)
    }
}

/// Refuses counts of 0, by their names.
pub(crate) fn check_counts(what: &'static str, counts: &[(&str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(Error::Argument { what, message: format!("{name} = 0; pass at least 1") }),
        None => Ok(()),
    }
}
