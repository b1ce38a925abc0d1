//! `kiln bench memory`.

use std::io::{self, Write};

use anyhow::Result;
use kiln_autograd::Tape;
use kiln_gpu::Device;
use kiln_nn::{Init, Module, Optimizer, Sgd, step_memory};
use kiln_tensor::{DType, Tensor};
use kiln_vision::Model;
use serde::Serialize;

use super::args::MemoryArgs;
use crate::{devices, models};

#[derive(Serialize)]
struct Line<'a> {
    net: &'a str,
    batch: u32,
    /// Of `kiln summary --train`.
    estimated_bytes: u64,
    measured_bytes: u64,
    adapter: &'a str,
    driver: &'a str,
}

pub(super) fn run(args: &MemoryArgs) -> Result<()> {
    let device = devices::open()?;
    let info = device.info();
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{info}\n{:<13} {:>5}  {:>13}  {:>13}  {:>8}", "net", "batch", "estimated", "measured", "apart")?;
    }
    for net in Model::ALL.iter().filter(|net| args.net.is_empty() || args.net.iter().any(|name| name == net.name)) {
        for &batch in &args.batch {
            let shapes = Device::shapes_only(info.clone());
            let (model, mut optim) = build(&shapes, net)?;
            let estimated_bytes = step_memory(&*model, &mut optim, &shapes, input(net, batch))?.peak;
            let measured_bytes = measure(&device, net, batch)?;
            let (adapter, driver) = (info.name.as_str(), info.driver.as_str());
            let line = Line { net: net.name, batch, estimated_bytes, measured_bytes, adapter, driver };
            if args.json {
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            } else {
                writeln!(out, "{}", line.row())?;
            }
            out.flush()?;
        }
    }
    Ok(())
}

fn build(device: &Device, net: &Model) -> Result<(Box<dyn Module>, Sgd)> {
    let model = models::build(net, device, Init::seed(42), net.classes, net.input, None)?;
    let optim = Sgd::new(model.parameters(), 0.01).momentum(0.9);
    Ok((model, optim))
}

fn input(net: &Model, batch: u32) -> [usize; 4] {
    let [c, h, w] = net.input;
    [batch as usize, c, h, w]
}

/// The most that tensors hold while a network is built and makes two steps: the second has the optimizer's state from its start on.
fn measure(device: &Device, net: &Model, batch: u32) -> Result<u64> {
    // What an earlier network has left in the pool would be used again.
    device.trim();
    device.reset_peak();
    let (model, mut optim) = build(device, net)?;
    for _ in 0..2 {
        let tape = Tape::train();
        let images = Tensor::zeros(device, input(net, batch), DType::F32)?;
        let labels = Tensor::zeros(device, [batch as usize], DType::I32)?;
        let loss = model.forward(&tape.constant(images))?.cross_entropy(&labels)?;
        Optimizer::step(&mut optim, &loss.backward()?)?;
        device.sync()?;
    }
    Ok(device.memory().peak)
}

impl Line<'_> {
    fn row(&self) -> String {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let apart = 100.0 * (self.estimated_bytes as f64 / self.measured_bytes as f64 - 1.0);
        format!(
            "{:<13} {:>5}  {:>13}  {:>13}  {apart:>+6.2} %",
            self.net,
            self.batch,
            mib(self.estimated_bytes),
            mib(self.measured_bytes)
        )
    }
}
