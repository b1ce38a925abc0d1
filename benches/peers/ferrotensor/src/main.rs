//! The fully connected benchmark network in ferrotensor, on the GPU that it finds:
//! `peer-ferrotensor --net mlp --weights FILE [--batch N] [--steps N]`.

use anyhow::{Context, Result, bail};
use ferrotensor::prelude::*;
use peer_harness::{Args, Layer, MOMENTUM, Peer, Problem, RATE, run, version_of};

fn build(problem: &Problem, device: &Device) -> Result<nn::Sequential> {
    let mut weights = problem.weights()?;
    let mut model = nn::Sequential::new(device);
    for layer in &problem.net.layers {
        model = match layer {
            Layer::Relu => model.add(nn::ReLU),
            Layer::Linear { name, inputs, outputs } => {
                let mut values = |part: &str| {
                    weights.remove(&format!("{name}.{part}")).with_context(|| format!("no {part} of {name}"))
                };
                // It keeps [inputs, outputs].
                let rows = values("weight")?.1;
                let columns: Vec<f32> =
                    (0..inputs * outputs).map(|i| rows[i % outputs * inputs + i / outputs]).collect();
                let weight = Tensor::from_data(&columns, &[*inputs, *outputs], device).requires_grad_();
                let bias = Tensor::from_data(&values("bias")?.1, &[*outputs], device).requires_grad_();
                model.add(nn::Linear::from_weights(weight, Some(bias)))
            }
            other => bail!("ferrotensor has no layer for {other:?}"),
        };
    }
    Ok(model)
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    let device = Device::gpu().context("ferrotensor finds no GPU adapter")?;
    let adapter = device.name();
    let peer = Peer { program: "ferrotensor", version: version_of("ferrotensor"), adapter: &adapter };
    run(&peer, &args, |problem| {
        let model = build(problem, &device)?;
        let mut optim = optim::SGD::with_momentum(model.parameters(), RATE as f32, MOMENTUM as f32);
        let features = problem.net.input.iter().product();
        let images = Tensor::from_data(&problem.images, &[problem.batch, features], &device);
        let labels = problem.labels.clone();
        let last = model.parameters().pop().context("no parameters")?;
        Ok(move || {
            optim.zero_grad();
            let loss = F::cross_entropy(&model.forward(&images), &labels);
            loss.backward();
            optim.step();
            let value = loss.item();
            // The loss does not depend on the update, which has to be done too: the last bias is ten numbers.
            last.to_vec();
            Ok(value)
        })
    })
}
