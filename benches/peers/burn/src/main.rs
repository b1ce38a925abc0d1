//! The benchmark networks in burn: `peer-burn --net NAME --weights FILE [--batch N] [--steps N] [--backend flex|vulkan]`.

use anyhow::{Context, Result, bail};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use peer_harness::{Args, Layer, MOMENTUM, Peer, Problem, RATE, Weights, run, version_of};

/// Layers in order: each takes the next of its kind.
#[derive(Module, Debug)]
struct Net {
    convs: Vec<Conv2d>,
    pools: Vec<MaxPool2d>,
    linears: Vec<Linear>,
}

fn values<const D: usize>(weights: &mut Weights, name: &str, part: &str, device: &Device) -> Result<Tensor<D>> {
    let (shape, values) = weights.remove(&format!("{name}.{part}")).with_context(|| format!("no {part} of {name}"))?;
    Ok(Tensor::from_data(TensorData::new(values, shape), device))
}

impl Net {
    fn new(problem: &Problem, device: &Device) -> Result<Net> {
        let weights = &mut problem.weights()?;
        let (mut convs, mut pools, mut linears) = (Vec::new(), Vec::new(), Vec::new());
        for layer in &problem.net.layers {
            match layer {
                Layer::Conv { name, inputs, outputs, kernel, stride, padding } => {
                    let config = Conv2dConfig::new([*inputs, *outputs], [*kernel; 2]).with_stride([*stride; 2]);
                    let padding = PaddingConfig2d::Explicit(*padding, *padding, *padding, *padding);
                    let mut conv = config.with_padding(padding).init(device);
                    conv.weight = Param::from_tensor(values(weights, name, "weight", device)?);
                    conv.bias = Some(Param::from_tensor(values(weights, name, "bias", device)?));
                    convs.push(conv);
                }
                Layer::Linear { name, inputs, outputs } => {
                    let mut linear = LinearConfig::new(*inputs, *outputs).init(device);
                    // burn keeps [inputs, outputs]; a copy, so that it is laid out as burn would lay it out.
                    let weight = values::<2>(weights, name, "weight", device)?.transpose();
                    let weight = Tensor::from_data(weight.into_data(), device);
                    linear.weight = Param::from_tensor(weight);
                    linear.bias = Some(Param::from_tensor(values(weights, name, "bias", device)?));
                    linears.push(linear);
                }
                Layer::Pool { kernel, stride } => {
                    pools.push(MaxPool2dConfig::new([*kernel; 2]).with_strides([*stride; 2]).init());
                }
                Layer::Relu => {}
            }
        }
        Ok(Net { convs, pools, linears })
    }

    fn forward(&self, layers: &[Layer], images: Tensor<4>) -> Tensor<2> {
        let (mut convs, mut pools, mut linears) = (self.convs.iter(), self.pools.iter(), self.linears.iter());
        let mut x = State::Images(images);
        for layer in layers {
            x = match (layer, x) {
                (Layer::Conv { .. }, State::Images(x)) => State::Images(convs.next().unwrap().forward(x)),
                (Layer::Pool { .. }, State::Images(x)) => State::Images(pools.next().unwrap().forward(x)),
                (Layer::Relu, State::Images(x)) => State::Images(relu(x)),
                (Layer::Relu, State::Rows(x)) => State::Rows(relu(x)),
                (Layer::Linear { .. }, x) => State::Rows(linears.next().unwrap().forward(x.rows())),
                (layer, State::Rows(_)) => panic!("{layer:?} behind a linear layer"),
            };
        }
        x.rows()
    }
}

enum State {
    Images(Tensor<4>),
    Rows(Tensor<2>),
}

impl State {
    fn rows(self) -> Tensor<2> {
        match self {
            State::Images(x) => x.flatten(1, 3),
            State::Rows(x) => x,
        }
    }
}

struct Training {
    model: Option<Net>,
    optim: ModuleOptimizer,
    loss: CrossEntropyLoss,
    layers: Vec<Layer>,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Training {
    fn new(problem: &Problem, device: &Device) -> Result<Training> {
        let [c, h, w] = problem.net.input;
        // PyTorch's momentum: burn's own default damps the gradient.
        let momentum = MomentumConfig::new().with_momentum(MOMENTUM).with_dampening(0.0);
        Ok(Training {
            model: Some(Net::new(problem, device)?),
            optim: SgdConfig::new().with_momentum(Some(momentum)).init(),
            loss: CrossEntropyLossConfig::new().init(device),
            layers: problem.net.layers.clone(),
            images: Tensor::from_data(TensorData::new(problem.images.clone(), [problem.batch, c, h, w]), device),
            labels: Tensor::from_data(TensorData::new(problem.labels.clone(), [problem.batch]), device),
        })
    }

    fn step(&mut self) -> Result<f32> {
        let model = self.model.take().context("the last step failed")?;
        let loss = self.loss.forward(model.forward(&self.layers, self.images.clone()), self.labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.optim.step(RATE, model, gradients));
        Ok(loss.into_scalar())
    }
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    let (program, device) = match args.get("backend").unwrap_or("flex") {
        "flex" => ("burn flex", Device::flex()),
        #[cfg(feature = "vulkan")]
        "vulkan" => ("burn vulkan", Device::vulkan(Default::default())),
        other => bail!("no backend is named {other}; vulkan needs the feature of this name"),
    };
    let device = device.autodiff();
    let adapter = if program == "burn flex" { "CPU" } else { "the first Vulkan adapter" };
    let peer = Peer { program, version: version_of("burn"), adapter };
    run(&peer, &args, |problem| {
        let mut training = Training::new(problem, &device)?;
        let device = device.clone();
        Ok(move || {
            let loss = training.step()?;
            // The loss does not depend on the update, which has to be done too.
            device.sync()?;
            Ok(loss)
        })
    })
}
