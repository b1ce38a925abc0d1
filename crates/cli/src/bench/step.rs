//! `kiln bench step`.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Context, Result};
use kiln_autograd::Tape;
use kiln_gpu::Device;
use kiln_nn::{Init, Module, Sgd, StateDict};
use kiln_tensor::Tensor;
use kiln_vision::{AlexNet, Mlp, Model, Vgg};
use serde::Serialize;

use super::args::StepArgs;
use super::clock::{Times, milliseconds};
use super::memory::resident_bytes_peak;
use crate::devices;
use crate::note::note;

/// A network that is trained, with the batch it usually gets.
pub(super) struct Trained {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    classes: usize,
    build: fn(&Device, &Init, usize) -> kiln_nn::Result<Box<dyn Module>>,
}

/// Built without dropout: its random numbers are each framework's own, and with them the losses could not be compared.
pub(super) const TRAINED: &[Trained] = &[
    Trained {
        name: "mlp",
        batch: 64,
        classes: 10,
        build: |device, init, classes| Ok(Box::new(Mlp::builder(28 * 28, classes).build(device, init)?)),
    },
    Trained {
        name: "lenet5",
        batch: 64,
        classes: 10,
        build: |device, init, classes| Ok(Box::new(kiln_vision::lenet5(device, init.clone(), classes)?)),
    },
    Trained {
        name: "alexnet-32",
        batch: 16,
        classes: 10,
        build: |device, init, classes| Ok(Box::new(AlexNet::builder_32(classes).dropout(0.0).build(device, init)?)),
    },
    Trained {
        name: "vgg11-32",
        batch: 16,
        classes: 10,
        build: |device, init, classes| Ok(Box::new(Vgg::builder_11_32(classes).dropout(0.0).build(device, init)?)),
    },
    Trained {
        name: "alexnet",
        batch: 8,
        classes: 1000,
        build: |device, init, classes| Ok(Box::new(AlexNet::builder(classes).dropout(0.0).build(device, init)?)),
    },
    Trained {
        name: "vgg16",
        batch: 8,
        classes: 1000,
        build: |device, init, classes| Ok(Box::new(Vgg::builder_16(classes).dropout(0.0).build(device, init)?)),
    },
];

const SEED: u64 = 42;
const RATE: f64 = 0.01;
const MOMENTUM: f64 = 0.9;

/// The steps before those that are timed: the first, and two more that find their kernels and memory. Their losses are printed.
const UNTIMED: u32 = 3;

#[derive(Serialize)]
struct Line<'a> {
    net: &'a str,
    batch: usize,
    program: &'a str,
    version: &'a str,
    adapter: &'a str,
    driver: &'a str,
    first_step_ms: f64,
    median_ms: f64,
    best_ms: f64,
    images_per_s: f64,
    launches_per_step: u64,
    device_bytes_peak: u64,
    resident_bytes_peak: Option<u64>,
    losses: Vec<f32>,
}

pub(super) fn run(args: &StepArgs) -> Result<()> {
    let known = || TRAINED.iter().find(|net| net.name == args.net).zip(Model::find(&args.net));
    let (net, model) = known().with_context(|| format!("no network is named {:?}", args.net))?;
    let device = devices::open()?;
    if let Some(path) = &args.save_weights {
        (net.build)(&device, &Init::seed(SEED), net.classes)?.save(path)?;
        return Ok(());
    }
    let line = measure(&device, net, model.input, args)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        write!(out, "{}\n{}", device.info(), line.table())?;
    }
    Ok(())
}

fn measure<'a>(device: &'a Device, net: &'a Trained, input: [usize; 3], args: &StepArgs) -> Result<Line<'a>> {
    let batch = args.batch.map_or(net.batch, |batch| batch as usize);
    let [c, h, w] = input;
    let images = Tensor::from_slice(device, [batch, c, h, w], &pixels(batch * c * h * w))?;
    let labels: Vec<i32> = (0..batch).map(|image| (7 * image % net.classes) as i32).collect();
    let labels = Tensor::from_slice(device, [batch], &labels)?;

    let start = Instant::now();
    let model = (net.build)(device, &Init::seed(SEED), net.classes)?;
    let mut optim = Sgd::new(model.parameters(), RATE).momentum(MOMENTUM);
    let mut step = || -> Result<f32> {
        let tape = Tape::train();
        let loss = model.forward(&tape.constant(images.clone()))?.cross_entropy(&labels)?;
        optim.step(&loss.backward()?)?;
        Ok(loss.item::<f32>()?)
    };
    let mut losses = vec![step()?];
    let first_step_ms = milliseconds(start);
    devices::keep_pipelines(device);
    for _ in 1..UNTIMED {
        losses.push(step()?);
    }
    let mut times = Vec::new();
    let mut launches_per_step = 0;
    for _ in 0..args.steps {
        let before = device.launches();
        let start = Instant::now();
        step()?;
        times.push(milliseconds(start));
        launches_per_step = device.launches() - before;
    }
    if args.profile {
        device.start_profile()?;
        for _ in 0..UNTIMED {
            step()?;
        }
        note(format_args!("{UNTIMED} steps:\n{}", device.finish_profile()?.table()));
    }
    let times = Times::of(&mut times);
    Ok(Line {
        net: net.name,
        batch,
        program: "kiln",
        version: env!("CARGO_PKG_VERSION"),
        adapter: &device.info().name,
        driver: &device.info().driver,
        first_step_ms,
        median_ms: times.median_ms,
        best_ms: times.best_ms,
        images_per_s: 1000.0 * batch as f64 / times.median_ms,
        launches_per_step,
        device_bytes_peak: device.memory().peak,
        resident_bytes_peak: resident_bytes_peak(),
        losses,
    })
}

/// Values in [-1, 1) that every framework can make alike: a multiplicative hash of the position.
fn pixels(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

impl Line<'_> {
    fn table(&self) -> String {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let rows = [
            ("network", format!("{}, batch {}", self.net, self.batch)),
            ("first step", format!("{:.1} ms", self.first_step_ms)),
            ("step, median", format!("{:.2} ms", self.median_ms)),
            ("step, best", format!("{:.2} ms", self.best_ms)),
            ("images a second", format!("{:.1}", self.images_per_s)),
            ("launches a step", self.launches_per_step.to_string()),
            ("device memory, peak", mib(self.device_bytes_peak)),
            ("resident memory, peak", self.resident_bytes_peak.map_or_else(|| "not known".to_string(), mib)),
            ("first losses", self.losses.iter().map(|loss| format!("{loss:.5}")).collect::<Vec<_>>().join(" ")),
        ];
        rows.map(|(name, value)| format!("{name:<22} {value}\n")).concat()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kiln_gpu::AdapterInfo;
    use serde_json::Value;

    /// The networks that other frameworks build from `nets.json` are these.
    #[test]
    fn the_peers_train_the_same_networks() {
        let text = include_str!("../../../../benches/peers/nets.json");
        let nets: Value = serde_json::from_str(text).unwrap();
        let device = Device::shapes_only(AdapterInfo::software());
        for net in TRAINED {
            let peer = &nets[net.name];
            assert_eq!((&peer["batch"], &peer["classes"]), (&net.batch.into(), &net.classes.into()), "{}", net.name);
            assert_eq!(peer["input"], serde_json::json!(Model::find(net.name).unwrap().input), "{}", net.name);
            let size = |layer: &Value, key: &str| layer[key].as_u64().unwrap() as usize;
            let mut expected = Vec::new();
            for layer in peer["layers"].as_array().unwrap().iter().filter(|layer| layer["name"].is_string()) {
                let mut weight = vec![size(layer, "outputs"), size(layer, "inputs")];
                if layer["kind"] == "conv" {
                    weight.extend([size(layer, "kernel"); 2]);
                }
                let name = layer["name"].as_str().unwrap();
                expected.push((format!("{name}.weight"), weight));
                expected.push((format!("{name}.bias"), vec![size(layer, "outputs")]));
            }
            let model = (net.build)(&device, &Init::seed(SEED), net.classes).unwrap();
            let shapes: Vec<_> = model.parameters().iter().map(|(n, p)| (n.to_string(), p.shape().to_vec())).collect();
            assert_eq!(shapes, expected, "{}", net.name);
        }
        assert_eq!(nets.as_object().unwrap().len(), TRAINED.len());
    }

    #[test]
    fn pixels_are_spread_over_their_interval() {
        let pixels = pixels(10_000);
        assert_eq!(pixels[..2], [-1.0, 0.236_067_89]);
        assert!(pixels.iter().all(|pixel| (-1.0..1.0).contains(pixel)));
        assert!(pixels.iter().sum::<f32>().abs() < 10.0);
    }
}
