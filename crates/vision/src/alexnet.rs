//! AlexNet: as torchvision has it, as the paper of 2012 has it, and a form for images of 32x32 pixels.

use std::borrow::Borrow;

use kiln_nn::{Init, Initializer, LocalResponseNorm, Result};
use kiln_tensor::Device;

use crate::blueprint::{Blueprint, Conv, Cost, FirstValues, Layer, Network, network};
use crate::model::{check_counts, check_dropout};

/// AlexNet in its one-column form (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"), as torchvision
/// has it and under torchvision's names: weights trained there load unchanged.
///
/// Made for `[n, 3, 224, 224]`, output logits `[n, classes]`. `features`: convolutions 11x11 with stride 4 to 64 channels, 5x5 to 192,
/// 3x3 to 384, 256 and 256, each with ReLU, and maxima of 3x3 with stride 2 behind the first, second and last. `avgpool`: means of
/// windows that bring the features to 6x6, which those of a 224x224 image already are. `classifier`: 9,216 to 4,096 to 4,096 to
/// `classes`, with dropout before the first two. Any image of at least 63x63 pixels fits.
///
/// [`AlexNet::builder_2012`] describes the two-column form of the first paper, [`AlexNet::builder_32`] one for small images.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
/// use kiln_nn::{Init, Module};
/// use kiln_vision::AlexNet;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = AlexNet::builder_32(10).in_channels(1).dropout(0.2).build(&device, &Init::seed(42))?;
/// let x = Tape::eval().constant(Tensor::zeros(&device, [2, 1, 32, 32], DType::F32)?);
/// assert_eq!(model.forward(&x)?.dims::<2>()?, [2, 10]);
///
/// assert_eq!(AlexNet::builder(1000).cost([224, 224])?.parameters, 61_100_840);
/// assert_eq!(AlexNet::builder_2012(1000).cost([224, 224])?.parameters, 60_965_224);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct AlexNet(Network);

network!(AlexNet);

impl AlexNet {
    /// Describes AlexNet for images of 224x224 pixels, 3 channels unless changed.
    pub fn builder(classes: usize) -> AlexNetBuilder {
        AlexNetBuilder { form: Form::OneColumn, classes, in_channels: 3, dropout: 0.5 }
    }

    /// Describes AlexNet as Krizhevsky, Sutskever & Hinton (2012, "ImageNet Classification with Deep Convolutional Neural Networks")
    /// have it: convolutions 11x11 with stride 4 to 96 channels, 5x5 to 256, 3x3 to 384, 384 and 256, of which the second, fourth and
    /// fifth are in two groups (a GPU each, there); local response normalisation behind the ReLU of the first and second; maxima of
    /// 3x3 with stride 2 behind these two and the fifth; 9,216 to 4,096 to 4,096 to `classes`, with dropout behind the hidden layers.
    ///
    /// The paper divides by `(k + alpha sum x^2)^beta` with k = 2, n = 5, alpha = 1e-4, beta = 0.75 and a sum over n channels.
    /// PyTorch and [`LocalResponseNorm`] take the mean over the n channels instead, so that alpha is 5e-4 here: the paper's numbers,
    /// not those of the ports that kept 1e-4.
    ///
    /// The paper states images of 224x224 pixels and 55x55 outputs of the first convolution, which needs a border: 2 pixels here, as
    /// torchvision. Images of 227x227, as others read it, give the same sizes from the first pooling on.
    ///
    /// First values: weights normal with a deviation of 0.01; biases 1 in the second, fourth and fifth convolution and the hidden
    /// linear layers, 0 elsewhere.
    pub fn builder_2012(classes: usize) -> AlexNetBuilder {
        AlexNetBuilder { form: Form::TwoColumns, ..AlexNet::builder(classes) }
    }

    /// Describes the form for images of 32x32 pixels: all convolutions 3x3, maxima of 2x2 in the same places, features of 4x4, and a
    /// classifier of 4,096 to 1,024 to 512 to `classes`.
    pub fn builder_32(classes: usize) -> AlexNetBuilder {
        AlexNetBuilder { form: Form::Small, ..AlexNet::builder(classes) }
    }
}

/// Builds [`AlexNet`] for images of 3 channels and 224x224 pixels, with PyTorch's first values.
///
/// # Errors
/// As [`AlexNetBuilder::build`].
pub fn alexnet(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<AlexNet> {
    AlexNet::builder(classes).build(device, init.borrow())
}

/// Builds the paper's form of [`AlexNet`], for images of 3 channels and 224x224 pixels: [`AlexNet::builder_2012`].
///
/// # Errors
/// As [`AlexNetBuilder::build`].
pub fn alexnet_2012(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<AlexNet> {
    AlexNet::builder_2012(classes).build(device, init.borrow())
}

/// Builds [`AlexNet`] for images of 3 channels and 32x32 pixels, with PyTorch's first values.
///
/// # Errors
/// As [`AlexNetBuilder::build`].
pub fn alexnet_32(device: &Device, init: impl Borrow<Init>, classes: usize) -> Result<AlexNet> {
    AlexNet::builder_32(classes).build(device, init.borrow())
}

#[derive(Debug, Clone, Copy)]
enum Form {
    OneColumn,
    TwoColumns,
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

    pub(crate) fn blueprint(self) -> Result<Blueprint> {
        check_counts("alexnet", &[("classes", self.classes), ("in_channels", self.in_channels)])?;
        check_dropout(self.dropout)?;
        Ok(match self.form {
            Form::OneColumn => {
                let first = Conv { stride: 4, ..Conv::padded(self.in_channels, 64, 11, 2) };
                let pool = Layer::MaxPool { kernel: 3, stride: 2 };
                self.one_column(first, Conv::padded(64, 192, 5, 2), pool, 6, [4096, 4096])
            }
            Form::Small => {
                let pool = Layer::MaxPool { kernel: 2, stride: 2 };
                let first = Conv::padded(self.in_channels, 64, 3, 1);
                self.one_column(first, Conv::padded(64, 192, 3, 1), pool, 4, [1024, 512])
            }
            Form::TwoColumns => self.two_columns(),
        })
    }

    fn one_column(self, first: Conv, second: Conv, pool: Layer, size: usize, hidden: [usize; 2]) -> Blueprint {
        let mut features = vec![Layer::Conv(first), Layer::ReLU, pool, Layer::Conv(second), Layer::ReLU, pool];
        for (from, to) in [(192, 384), (384, 256), (256, 256)] {
            features.extend([Layer::Conv(Conv::padded(from, to, 3, 1)), Layer::ReLU]);
        }
        features.push(pool);
        let dropout = Layer::Dropout(self.dropout);
        let classifier = vec![
            dropout,
            Layer::Linear(256 * size * size, hidden[0], None),
            Layer::ReLU,
            dropout,
            Layer::Linear(hidden[0], hidden[1], None),
            Layer::ReLU,
            Layer::Linear(hidden[1], self.classes, None),
        ];
        Blueprint { what: "alexnet", in_channels: self.in_channels, features, pooled: Some(size), classifier }
    }

    fn two_columns(self) -> Blueprint {
        let values = |bias| FirstValues { weight: Initializer::Normal { mean: 0.0, std: 0.01 }, bias };
        let (zeros, ones) = (Some(values(Initializer::ZEROS)), Some(values(Initializer::ONES)));
        // The paper's alpha is the factor on a sum, the layer's on a mean.
        let norm = Layer::ResponseNorm(LocalResponseNorm::new(5).alpha(5.0 * 1e-4).beta(0.75).k(2.0));
        let pool = Layer::MaxPool { kernel: 3, stride: 2 };
        let first = Conv { stride: 4, first: zeros, ..Conv::padded(self.in_channels, 96, 11, 2) };
        let grouped = |conv: Conv| Layer::Conv(Conv { groups: 2, first: ones, ..conv });
        let features = vec![
            Layer::Conv(first),
            Layer::ReLU,
            norm,
            pool,
            grouped(Conv::padded(96, 256, 5, 2)),
            Layer::ReLU,
            norm,
            pool,
            Layer::Conv(Conv { first: zeros, ..Conv::padded(256, 384, 3, 1) }),
            Layer::ReLU,
            grouped(Conv::padded(384, 384, 3, 1)),
            Layer::ReLU,
            grouped(Conv::padded(384, 256, 3, 1)),
            Layer::ReLU,
            pool,
        ];
        let dropout = Layer::Dropout(self.dropout);
        let classifier = vec![
            Layer::Linear(256 * 6 * 6, 4096, ones),
            Layer::ReLU,
            dropout,
            Layer::Linear(4096, 4096, ones),
            Layer::ReLU,
            dropout,
            Layer::Linear(4096, self.classes, zeros),
        ];
        Blueprint { what: "alexnet", in_channels: self.in_channels, features, pooled: Some(6), classifier }
    }

    /// Builds it on a device.
    ///
    /// # Errors
    /// [`Error::Argument`](kiln_nn::Error::Argument) without classes or channels or for a dropout that is no probability, and the
    /// device's errors.
    pub fn build(self, device: &Device, init: &Init) -> Result<AlexNet> {
        self.blueprint()?.build(device, init).map(AlexNet)
    }

    /// What it costs for an image of this height and width, without building it.
    ///
    /// # Errors
    /// As [`AlexNetBuilder::build`], and for an image that is too small.
    pub fn cost(self, image: [usize; 2]) -> Result<Cost> {
        self.blueprint()?.cost(image)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kiln_autograd::Tape;
    use kiln_nn::Module;
    use kiln_tensor::Tensor;

    #[test]
    fn the_papers_normalisation_is_its_formula() {
        let device = Device::open_default().unwrap();
        let blueprint = AlexNet::builder_2012(10).blueprint().unwrap();
        let norms = blueprint.features.iter().filter_map(|layer| match layer {
            Layer::ResponseNorm(norm) => Some(norm),
            _ => None,
        });
        let values = [10.0f32, -40.0, 70.0, 100.0, -130.0, 160.0, 20.0];
        let mut count = 0;
        for norm in norms {
            let x = Tensor::from_slice(&device, [1, 7, 1, 1], &values).unwrap();
            let y = norm.forward(&Tape::eval().constant(x)).unwrap().to_vec::<f32>().unwrap();
            for (i, (&x, &y)) in values.iter().zip(&y).enumerate() {
                let window = values[i.saturating_sub(2)..(i + 3).min(7)].iter().map(|&x| f64::from(x).powi(2));
                let expected = f64::from(x) / (2.0 + 1e-4 * window.sum::<f64>()).powf(0.75);
                assert!((f64::from(y) / expected - 1.0).abs() < 1e-5, "channel {i}: {y}, should be {expected}");
            }
            count += 1;
        }
        assert_eq!(count, 2);
    }
}
