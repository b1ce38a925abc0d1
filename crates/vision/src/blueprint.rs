//! Networks as data: lists of layers from which a network is built, and its parameters and operations are counted without
//! building it.

use kiln_autograd::Var;
use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Error, Flatten, Init, Initializer, Linear, LocalResponseNorm,
    MaxPool2d, Module, ReLU, Result, Sequential, SequentialBuilder, Visitor, op_flops,
};
use kiln_tensor::{Device, Shape};

/// What a network costs, for one image: see [`Model::cost`](crate::Model::cost).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Elements of all parameters.
    pub parameters: u64,
    /// Floating-point operations of a forward pass in evaluation: a multiplication and an addition are two. As
    /// [`summary`](kiln_nn::summary) counts them.
    pub flops: u64,
}

/// The first values of a weight and a bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstValues {
    pub(crate) weight: Initializer,
    pub(crate) bias: Initializer,
}

/// A layer of a network. Pairs are (inputs, outputs).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer {
    Conv(Conv),
    BatchNorm(usize),
    ReLU,
    MaxPool {
        kernel: usize,
        stride: usize,
    },
    ResponseNorm(LocalResponseNorm),
    /// First values of PyTorch where there are none.
    Linear(usize, usize, Option<FirstValues>),
    Dropout(f64),
}

/// A convolution with a square kernel and a bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
    /// Those of PyTorch where there are none.
    pub(crate) first: Option<FirstValues>,
}

impl Conv {
    /// With stride 1, no padding and one group.
    pub(crate) fn new(from: usize, to: usize, kernel: usize) -> Conv {
        Conv { from, to, kernel, stride: 1, padding: 0, groups: 1, first: None }
    }

    pub(crate) fn padded(from: usize, to: usize, kernel: usize, padding: usize) -> Conv {
        Conv { padding, ..Conv::new(from, to, kernel) }
    }
}

/// Parameters, operations, and the shape of the output.
struct Counted {
    parameters: usize,
    flops: u64,
    output: Shape,
}

impl Layer {
    fn add_to(self, layers: SequentialBuilder) -> Result<SequentialBuilder> {
        Ok(match self {
            Layer::Conv(conv) => {
                let layer = Conv2d::builder(conv.from, conv.to, conv.kernel).stride(conv.stride);
                let layer = layer.padding(conv.padding).groups(conv.groups);
                layers.layer(match conv.first {
                    Some(first) => layer.weight_init(first.weight).bias_init(first.bias),
                    None => layer,
                })
            }
            Layer::BatchNorm(channels) => layers.layer(BatchNorm2d::builder(channels)),
            Layer::ReLU => layers.layer(ReLU),
            Layer::MaxPool { kernel, stride } => layers.layer(MaxPool2d::new(kernel).stride(stride)),
            Layer::ResponseNorm(layer) => layers.layer(layer),
            Layer::Linear(from, to, first) => {
                let layer = Linear::builder(from, to);
                layers.layer(match first {
                    Some(first) => layer.weight_init(first.weight).bias_init(first.bias),
                    None => layer,
                })
            }
            Layer::Dropout(p) => layers.layer(Dropout::new(p)?),
        })
    }

    /// On an input of this shape; `None` where that is too small.
    fn count(self, x: Shape) -> Option<Counted> {
        let (parameters, output, op, more) = match self {
            Layer::Conv(conv) => {
                let weight = Shape::from([conv.to, conv.from / conv.groups, conv.kernel, conv.kernel]);
                let output = slid(&x, conv.to, conv.kernel, conv.stride, conv.padding)?;
                (weight.numel() + conv.to, output, "conv2d", vec![weight, Shape::from(conv.to)])
            }
            Layer::BatchNorm(channels) => (2 * channels, x, "batch_norm", Vec::new()),
            Layer::ReLU => (0, x, "relu", Vec::new()),
            Layer::MaxPool { kernel, stride } => {
                (0, slid(&x, *x.get(1)?, kernel, stride, 0)?, "max_pool2d", Vec::new())
            }
            Layer::ResponseNorm(_) => (0, x, "local_response_norm", Vec::new()),
            Layer::Linear(from, to, _) => {
                let weight = Shape::from([to, from]);
                (weight.numel() + to, Shape::from([x[0], to]), "linear", vec![weight, Shape::from(to)])
            }
            // Evaluation does not run it.
            Layer::Dropout(_) => return Some(Counted { parameters: 0, flops: 0, output: x }),
        };
        let inputs: Vec<Shape> = [x].into_iter().chain(more).collect();
        Some(Counted { parameters, flops: op_flops(op, &inputs, &output), output })
    }
}

/// `[n, c, h, w]` under a window that slides; `None` where the window is larger than the image with its border.
fn slid(x: &Shape, channels: usize, kernel: usize, stride: usize, padding: usize) -> Option<Shape> {
    let [n, _, h, w] = <[usize; 4]>::try_from(x.dims()).ok()?;
    let along = |size: usize| Some((size + 2 * padding).checked_sub(kernel)? / stride + 1);
    Some(Shape::from([n, channels, along(h)?, along(w)?]))
}

/// A network: `features`, an adaptive average pool that brings them to one size, and `classifier`.
#[derive(Debug, Clone)]
pub(crate) struct Blueprint {
    pub(crate) what: &'static str,
    /// Channels of the images; without features, the elements of an image.
    pub(crate) in_channels: usize,
    /// None where the layers are named `0`, `1`, ... without a part before.
    pub(crate) features: Vec<Layer>,
    /// The size that the classifier needs. `None`: it needs what the features give.
    pub(crate) pooled: Option<usize>,
    pub(crate) classifier: Vec<Layer>,
}

impl Blueprint {
    pub(crate) fn build(self, device: &Device, init: &Init) -> Result<Network> {
        let part = |layers: Vec<Layer>, init: &Init| {
            layers.into_iter().try_fold(Sequential::builder(), |made, layer| layer.add_to(made))?.build(device, init)
        };
        if self.features.is_empty() {
            return Ok(Network { features: None, avgpool: None, classifier: part(self.classifier, init)? });
        }
        Ok(Network {
            features: Some(part(self.features, &init.child("features"))?),
            avgpool: self.pooled.map(AdaptiveAvgPool2d::new),
            classifier: part(self.classifier, &init.child("classifier"))?,
        })
    }

    /// For one image of this height and width.
    pub(crate) fn cost(&self, [h, w]: [usize; 2]) -> Result<Cost> {
        let mut cost = Cost { parameters: 0, flops: 0 };
        let mut x = Shape::from([1, self.in_channels, h, w]);
        let does_not_fit = || Error::Argument {
            what: self.what,
            message: format!("images of {h}x{w} pixels do not fit; pass the model's own size, or a larger one"),
        };
        for layer in &self.features {
            x = cost.add(layer.count(x).ok_or_else(does_not_fit)?);
        }
        if let (Some(size), Ok([n, c, ..])) = (self.pooled, <[usize; 4]>::try_from(x.dims())) {
            let output = Shape::from([n, c, size, size]);
            let flops = if x == output { 0 } else { op_flops("adaptive_avg_pool2d", &[x], &output) };
            x = cost.add(Counted { parameters: 0, flops, output });
        }
        let elements = if self.features.is_empty() { self.in_channels } else { x.numel() };
        x = Shape::from([1, elements]);
        for layer in &self.classifier {
            if matches!(layer, Layer::Linear(from, ..) if *from != x[1]) {
                return Err(does_not_fit());
            }
            x = cost.add(layer.count(x).ok_or_else(does_not_fit)?);
        }
        Ok(cost)
    }
}

impl Cost {
    fn add(&mut self, counted: Counted) -> Shape {
        self.parameters += counted.parameters as u64;
        self.flops += counted.flops;
        counted.output
    }
}

/// What a [`Blueprint`] describes, on a device.
#[derive(Debug)]
pub(crate) struct Network {
    features: Option<Sequential>,
    avgpool: Option<AdaptiveAvgPool2d>,
    classifier: Sequential,
}

impl Module for Network {
    fn forward(&self, x: &Var) -> Result<Var> {
        let Some(features) = &self.features else {
            return self.classifier.forward(&Flatten.forward(x)?);
        };
        let mut x = features.forward_as("features", x)?;
        if let Some(avgpool) = &self.avgpool {
            x = avgpool.forward_as("avgpool", &x)?;
        }
        self.classifier.forward_as("classifier", &Flatten.forward(&x)?)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        match &self.features {
            Some(features) => {
                v.child("features", features);
                v.child("classifier", &self.classifier);
            }
            None => self.classifier.visit(v),
        }
    }
}

/// A public network that is a [`Network`].
macro_rules! network {
    ($name:ident) => {
        impl kiln_nn::Module for $name {
            fn forward(&self, x: &kiln_autograd::Var) -> kiln_nn::Result<kiln_autograd::Var> {
                self.0.forward(x)
            }

            fn visit(&self, v: &mut kiln_nn::Visitor<'_>) {
                self.0.visit(v);
            }
        }
    };
}
pub(crate) use network;
