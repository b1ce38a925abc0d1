//! LeNet-5.

use kiln_autograd::Var;
use kiln_nn::{Conv2d, Flatten, Init, Linear, MaxPool2d, Module, ReLU, Result, Sequential, Visitor};
use kiln_tensor::Device;

use crate::model::check_counts;

/// LeNet-5 (LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition") in today's form: ReLU instead of the
/// scaled tangent, maxima instead of trained averages, a linear layer instead of radial basis functions.
///
/// Input `[n, 1, 28, 28]`, output logits `[n, classes]`. `features`: convolution 5x5 to 6 channels with padding 2, ReLU, maximum
/// of 2x2, convolution 5x5 to 16 channels, ReLU, maximum of 2x2. `classifier`: 400 to 120 to 84 to `classes`, with ReLU in
/// between. 61,706 parameters for 10 classes.
#[derive(Debug)]
pub struct LeNet5 {
    features: Sequential,
    classifier: Sequential,
}

/// Builds [`LeNet5`] with PyTorch's first values.
///
/// # Errors
/// [`Error::Argument`](kiln_nn::Error::Argument) without classes, and the device's errors.
pub fn lenet5(device: &Device, init: Init, classes: usize) -> Result<LeNet5> {
    check_counts("lenet5", &[("classes", classes)])?;
    let features = Sequential::builder()
        .layer(Conv2d::builder(1, 6, 5).padding(2))
        .layer(ReLU)
        .layer(MaxPool2d::new(2))
        .layer(Conv2d::builder(6, 16, 5))
        .layer(ReLU)
        .layer(MaxPool2d::new(2));
    let classifier = Sequential::builder()
        .layer(Linear::builder(400, 120))
        .layer(ReLU)
        .layer(Linear::builder(120, 84))
        .layer(ReLU)
        .layer(Linear::builder(84, classes));
    Ok(LeNet5 {
        features: features.build(device, &init.child("features"))?,
        classifier: classifier.build(device, &init.child("classifier"))?,
    })
}

impl Module for LeNet5 {
    fn forward(&self, x: &Var) -> Result<Var> {
        let features = self.features.forward_as("features", x)?;
        self.classifier.forward_as("classifier", &Flatten.forward(&features)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("features", &self.features);
        v.child("classifier", &self.classifier);
    }
}
