//! LeNet-5.

use std::borrow::Borrow;

use kiln_nn::{Init, Result};
use kiln_tensor::Device;

use crate::blueprint::{Blueprint, Conv, Cost, Layer, Network, network};
use crate::model::check_counts;

/// LeNet-5 (LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition") in today's form: ReLU instead of the
/// scaled tangent, maxima instead of trained averages, a linear layer instead of radial basis functions.
///
/// Input `[n, 1, 28, 28]`, output logits `[n, classes]`. `features`: convolution 5x5 to 6 channels with padding 2, ReLU, maximum
/// of 2x2, convolution 5x5 to 16 channels, ReLU, maximum of 2x2. `classifier`: 400 to 120 to 84 to `classes`, with ReLU in
/// between.
///
/// ```
/// # fn main() -> Result<(), kiln_nn::Error> {
/// use kiln_vision::LeNet5;
/// assert_eq!(LeNet5::builder(10).cost([28, 28])?.parameters, 61_706);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LeNet5(Network);

network!(LeNet5);

impl LeNet5 {
    /// Describes it, for images of 1 channel unless changed.
    pub fn builder(classes: usize) -> LeNet5Builder {
        LeNet5Builder { classes, in_channels: 1 }
    }
}

/// Builds [`LeNet5`] with PyTorch's first values.
///
/// # Errors
/// As [`LeNet5Builder::build`].
pub fn lenet5(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<LeNet5> {
    LeNet5::builder(classes).build(device, init.borrow())
}

/// Describes a [`LeNet5`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a description is nothing until it is built"]
pub struct LeNet5Builder {
    classes: usize,
    in_channels: usize,
}

impl LeNet5Builder {
    /// The channels of the images; 1 unless called.
    pub fn in_channels(mut self, in_channels: usize) -> LeNet5Builder {
        self.in_channels = in_channels;
        self
    }

    pub(crate) fn blueprint(self) -> Result<Blueprint> {
        check_counts("lenet5", &[("classes", self.classes), ("in_channels", self.in_channels)])?;
        let pool = Layer::MaxPool { kernel: 2, stride: 2 };
        let features = vec![
            Layer::Conv(Conv::padded(self.in_channels, 6, 5, 2)),
            Layer::ReLU,
            pool,
            Layer::Conv(Conv::new(6, 16, 5)),
            Layer::ReLU,
            pool,
        ];
        let classifier = vec![
            Layer::Linear(400, 120, None),
            Layer::ReLU,
            Layer::Linear(120, 84, None),
            Layer::ReLU,
            Layer::Linear(84, self.classes, None),
        ];
        Ok(Blueprint { what: "lenet5", in_channels: self.in_channels, features, pooled: None, classifier })
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes or channels, and the device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<LeNet5> {
        self.blueprint()?.build(device, init).map(LeNet5)
    }

    /// What it costs for an image of this height and width, without building it.
    ///
    /// # Errors
    /// As [`LeNet5Builder::build`], and for an image whose features are not 5x5.
    pub fn cost(self, image: [usize; 2]) -> Result<Cost> {
        self.blueprint()?.cost(image)
    }
}
