//! The convolutions and matrix products of a network, from a run with its shapes alone.

use std::fmt;

use anyhow::{Context, Result, bail};
use kiln_autograd::{OpTrace, Tape};
use kiln_gpu::{AdapterInfo, Device};
use kiln_nn::Init;
use kiln_tensor::ops::conv::Conv2dOptions;
use kiln_tensor::plan::{self, Choice, Problem};
use kiln_tensor::{DType, Tensor};
use kiln_vision::Model;

use super::step::TRAINED;
use crate::models;

/// A convolution of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conv {
    /// Channels, height and width.
    pub(super) input: [usize; 3],
    /// `[out_channels, channels / groups, kernel height, kernel width]`.
    pub(super) weight: [usize; 4],
    pub(super) options: Conv2dOptions,
}

impl Conv {
    pub(super) fn input(&self, batch: usize) -> [usize; 4] {
        let [c, h, w] = self.input;
        [batch, c, h, w]
    }

    pub(super) fn output(&self, batch: usize) -> [usize; 4] {
        let Conv2dOptions { stride, padding, dilation, .. } = self.options;
        let side = |axis: usize| {
            let reach = dilation[axis] * (self.weight[2 + axis] - 1) + 1;
            (self.input[1 + axis] + 2 * padding[axis] - reach) / stride[axis] + 1
        };
        [batch, self.weight[0], side(0), side(1)]
    }
}

/// `3x3 96-96 112x112 s2 g96`: the kernel, the channels, the input's size, and the stride and groups where they are not 1.
impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([c, h, w], [out, _, r, s]) = (self.input, self.weight);
        write!(f, "{r}x{s} {c}-{out} {h}x{w}")?;
        match self.options.stride {
            [1, 1] => {}
            [y, x] if y == x => write!(f, " s{y}")?,
            [y, x] => write!(f, " s{y}x{x}")?,
        }
        if self.options.groups > 1 {
            write!(f, " g{}", self.options.groups)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Conv(Conv),
    Linear {
        inputs: usize,
        outputs: usize,
    },
    /// The product with a matrix as it lies, `[k, n]`.
    Matmul {
        k: usize,
        n: usize,
    },
}

impl Layer {
    /// Multiply-adds for one image.
    pub(super) fn multiply_adds(&self) -> usize {
        match self {
            Layer::Linear { inputs, outputs } => inputs * outputs,
            Layer::Matmul { k, n } => k * n,
            Layer::Conv(conv) => conv.output(1).iter().product::<usize>() * conv.weight[1..].iter().product::<usize>(),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Conv(conv) => conv.fmt(f),
            Layer::Linear { inputs, outputs } => write!(f, "linear {inputs}-{outputs}"),
            Layer::Matmul { k, n } => write!(f, "matmul {k}-{n}"),
        }
    }
}

/// The images that a model usually gets at once in a measurement.
pub(super) fn usual_batch(model: &Model) -> usize {
    let trained = TRAINED.iter().find(|net| net.name == model.name).map(|net| net.batch);
    trained.unwrap_or(if model.input[1] > 64 { 8 } else { 16 })
}

/// What a model multiplies, from the input on: each layer once, in the order of its first place, and in how many places it is.
pub(super) fn distinct(model: &Model) -> Result<Vec<(Layer, usize)>> {
    let mut found: Vec<(Layer, usize)> = Vec::new();
    for layer in layers(model)? {
        match found.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, times)) => *times += 1,
            None => found.push((layer, 1)),
        }
    }
    Ok(found)
}

/// The tape tells which operations ran, on which shapes; the plans tell a convolution's options.
fn layers(model: &Model) -> Result<Vec<Layer>> {
    // This adapter binds any layer of one image whole.
    let device = Device::shapes_only(AdapterInfo::discrete());
    let built = models::build(model, &device, Init::seed(0), model.classes, model.input, None)?;
    let [c, h, w] = model.input;
    let tape = Tape::eval().traced();
    let images = tape.constant(Tensor::zeros(&device, [1, c, h, w], DType::F32)?);
    let (done, choices) = plan::watch(&device, || built.forward(&images));
    done?;
    tape.take_trace().iter().filter_map(|op| layer(op, &choices).transpose()).collect()
}

/// The contraction of an operation, if it is one.
fn layer(op: &OpTrace, choices: &[Choice]) -> Result<Option<Layer>> {
    let shape = |index: usize| op.inputs.get(index).map_or(&[][..], |form| form.shape.dims());
    let layer = match (op.op.strip_suffix("_relu").unwrap_or(op.op), shape(0), shape(1)) {
        ("conv2d", &[_, c, h, w], &[k, group, r, s]) => {
            let (ran, kernel, output) = ([1, c, h, w], [k, group, r, s], op.output.shape.dims());
            let conv = choices.iter().find_map(|choice| match choice.problem {
                Problem::Conv2d { input, weight, options, .. } if (input, weight) == (ran, kernel) => {
                    let conv = Conv { input: [c, h, w], weight, options };
                    (conv.output(1) == output).then_some(conv)
                }
                _ => None,
            });
            Layer::Conv(conv.with_context(|| format!("{}: no plan of this convolution was seen", op.layer))?)
        }
        ("linear", &[.., inputs], &[outputs, _]) => Layer::Linear { inputs, outputs },
        ("matmul", &[.., k], &[.., n]) => Layer::Matmul { k, n },
        ("conv_transpose2d", ..) => bail!("{}: transposed convolutions are not measured", op.layer),
        _ => return Ok(None),
    };
    Ok(Some(layer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(name: &str) -> Vec<(Layer, usize)> {
        distinct(Model::find(name).unwrap()).unwrap()
    }

    /// Multiply-adds of one image and the number of layers, as torchvision and fvcore count them.
    #[test]
    fn the_layers_add_up_to_the_known_totals() {
        for (name, count, multiply_adds) in
            [("alexnet", 8, 714_188_480), ("vgg11", 11, 7_609_090_048), ("vgg16", 16, 15_470_264_320)]
        {
            let layers = found(name);
            assert_eq!(layers.iter().map(|(_, times)| times).sum::<usize>(), count, "{name}");
            assert_eq!(layers.iter().map(|(layer, times)| times * layer.multiply_adds()).sum::<usize>(), multiply_adds);
        }
    }

    #[test]
    fn layers_that_repeat_are_found_once_with_their_options() {
        let vgg = found("vgg16");
        assert_eq!((vgg.len(), vgg[8].0.to_string().as_str(), vgg[8].1), (12, "3x3 512-512 14x14", 3));
        let alexnet = found("alexnet-2012");
        assert_eq!(alexnet[0].0.to_string(), "11x11 3-96 224x224 s4");
        assert_eq!(alexnet[1].0.to_string(), "5x5 96-256 27x27 g2");
        let Layer::Conv(first) = alexnet[0].0 else { unreachable!("a convolution") };
        assert_eq!(first.options.padding, [2, 2]);
    }

    #[test]
    fn every_listed_model_is_traced() {
        for model in Model::ALL {
            assert!(matches!(distinct(model).unwrap().last(), Some((Layer::Linear { .. }, 1))), "{}", model.name);
        }
    }

    #[test]
    fn the_layers_are_those_that_the_peers_train() {
        let text = include_str!("../../../../benches/peers/nets.json");
        let trained: serde_json::Value = serde_json::from_str(text).unwrap();
        for (name, trained) in trained.as_object().unwrap() {
            let model = Model::find(name).unwrap();
            assert_eq!(trained["batch"], usual_batch(model), "{name}");
            let given = trained["layers"].as_array().unwrap().iter().filter(|layer| layer["name"].is_string());
            let expected: Vec<[&serde_json::Value; 5]> = given
                .map(|layer| ["inputs", "outputs", "kernel", "stride", "padding"].map(|key| &layer[key]))
                .collect();
            let sizes: Vec<serde_json::Value> = layers(model)
                .unwrap()
                .into_iter()
                .map(|layer| match layer {
                    Layer::Linear { inputs, outputs } | Layer::Matmul { k: inputs, n: outputs } => {
                        serde_json::json!([inputs, outputs, null, null, null])
                    }
                    Layer::Conv(Conv { input: [c, ..], weight: [k, .., r, _], options }) => {
                        serde_json::json!([c, k, r, options.stride[0], options.padding[0]])
                    }
                })
                .collect();
            assert_eq!(serde_json::json!(sizes), serde_json::json!(expected), "{name}");
        }
    }
}
