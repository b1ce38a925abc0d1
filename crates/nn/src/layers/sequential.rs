//! Layers one after the other.

use std::fmt;

use kiln_autograd::Var;
use kiln_tensor::Device;

use crate::error::Result;
use crate::init::Init;
use crate::layers::Build;
use crate::module::{Module, ReluFusion, Visitor};

/// Modules of which each gets the output of the one before. They are named `0`, `1`, ..., as in PyTorch.
///
/// ```
/// # use kiln_tensor::Device;
/// # use kiln_nn::{Conv2d, Init, MaxPool2d, Module, ReLU, Sequential};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let features = Sequential::builder()
///     .layer(Conv2d::builder(1, 6, 5).padding(2))
///     .layer(ReLU)
///     .layer(MaxPool2d::new(2))
///     .layer(Conv2d::builder(6, 16, 5))
///     .build(&device, &Init::seed(42).child("features"))?;
/// let names: Vec<String> = features.parameters().names().map(String::from).collect();
/// assert_eq!(names, ["0.weight", "0.bias", "3.weight", "3.bias"]);
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Module>>,
    names: Vec<String>,
}

impl Sequential {
    /// Describes layers one after the other.
    pub fn builder() -> SequentialBuilder {
        SequentialBuilder::default()
    }

    /// These modules, in this order.
    pub fn of(layers: Vec<Box<dyn Module>>) -> Sequential {
        let names = (0..layers.len()).map(|index| index.to_string()).collect();
        Sequential { layers, names }
    }

    /// One layer, under its name, with the ReLU next to it or without.
    fn layer(&self, at: usize, with_relu: bool, x: &Var) -> Result<Var> {
        let (layer, name) = (&self.layers[at], &self.names[at]);
        if !with_relu {
            return layer.forward_as(name, x);
        }
        let _scope = x.tensor().device().scope(name);
        let _layer = x.tape().layer(name);
        layer.forward_with_relu(x).map_err(|error| error.in_layer(name))
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none: the output is then the input.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl Module for Sequential {
    fn forward(&self, x: &Var) -> Result<Var> {
        let mut x = x.clone();
        let mut at = 0;
        while at < self.len() {
            let fusion = |index: usize| self.layers.get(index).map_or(ReluFusion::Apart, |layer| layer.relu_fusion());
            (x, at) = match [fusion(at), fusion(at + 1), fusion(at + 2)] {
                // Between a convolution and a pooling it goes with the pooling, whose gradient then is the ReLU's as well.
                [ReluFusion::Itself, ReluFusion::InFront, _] => (self.layer(at + 1, true, &x)?, at + 2),
                [ReluFusion::Behind, ReluFusion::Itself, after] if after != ReluFusion::InFront => {
                    (self.layer(at, true, &x)?, at + 2)
                }
                _ => (self.layer(at, false, &x)?, at + 1),
            };
        }
        Ok(x)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        for (layer, name) in self.layers.iter().zip(&self.names) {
            v.child(name, layer);
        }
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequential(layers: {}, parameters: {})", self.len(), self.num_parameters())
    }
}

type Deferred = Box<dyn FnOnce(&Device, &Init) -> Result<Box<dyn Module>>>;

/// Describes a [`Sequential`]. Each layer is built under its own index, so that its name and its first values agree.
#[derive(Default)]
#[must_use = "a description is nothing until it is built"]
pub struct SequentialBuilder {
    layers: Vec<Deferred>,
}

impl SequentialBuilder {
    /// Adds a layer at the end.
    pub fn layer(mut self, layer: impl Build + 'static) -> SequentialBuilder {
        self.layers.push(Box::new(move |device, init| Ok(Box::new(layer.build(device, init)?))));
        self
    }

    /// Builds all layers, on a device, at this place of the network.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) with the error of the first layer that cannot be built.
    pub fn build(self, device: &Device, init: &Init) -> Result<Sequential> {
        let layers = self.layers.into_iter().enumerate();
        let layers = layers.map(|(index, build)| {
            let name = index.to_string();
            build(device, &init.child(&name)).map_err(|error| error.in_layer(&name))
        });
        Ok(Sequential::of(layers.collect::<Result<_>>()?))
    }
}

impl Build for SequentialBuilder {
    type Module = Sequential;

    fn build(self, device: &Device, init: &Init) -> Result<Sequential> {
        SequentialBuilder::build(self, device, init)
    }
}

impl fmt::Debug for SequentialBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequentialBuilder(layers: {})", self.layers.len())
    }
}
