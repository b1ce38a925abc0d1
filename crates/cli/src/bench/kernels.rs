//! `kiln bench gemm` and `kiln bench conv`, and the lines that they and `kiln bench layers` print.

use std::io::{self, Write};

use anyhow::Result;
use kiln_autograd::Tape;
use kiln_gpu::{AdapterClass, Device};
use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_input_grad, conv2d_weight_grad};
use kiln_tensor::{Random, Tensor, plan};
use serde::Serialize;

use super::args::KernelArgs;
use super::ceiling::Ceiling;
use super::clock::{self, Times};
use super::contractions::{Conv, Layer};
use crate::devices;

/// Which of a layer's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Pass {
    #[serde(rename = "forward")]
    Forward,
    #[serde(rename = "data gradient")]
    DataGradient,
    #[serde(rename = "weight gradient")]
    WeightGradient,
    /// As in training: forward on a tape, then both gradients.
    #[serde(rename = "forward and gradients")]
    All,
}

impl Pass {
    pub(super) fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::DataGradient => "data gradient",
            Pass::WeightGradient => "weight gradient",
            Pass::All => "forward and gradients",
        }
    }

    /// How many products of the layer's size it is.
    fn products(self) -> f64 {
        if self == Pass::All { 3.0 } else { 1.0 }
    }
}

/// One measurement.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    pub(super) problem: &'a str,
    pub(super) pass: Pass,
    /// What computes it; of several products each once.
    plan: String,
    pub(super) median_ms: f64,
    pub(super) best_ms: f64,
    pub(super) gflops: f64,
    /// Of the ceiling.
    pub(super) share: f64,
    ceiling_gflops: f64,
    copy_gb_per_s: f64,
    adapter: &'a str,
    driver: &'a str,
}

/// A device with its measured ceiling.
pub(super) struct Bench {
    pub(super) device: Device,
    ceiling: Ceiling,
}

impl Bench {
    /// Opens the device and measures its ceiling.
    pub(super) fn open() -> Result<Bench> {
        let device = devices::open()?;
        let ceiling = Ceiling::measure(&device)?;
        Ok(Bench { device, ceiling })
    }

    /// What stands above a table.
    pub(super) fn heading(&self) -> String {
        format!(
            "{}\nceiling: {:.1} GFLOP/s multiply-add, {:.1} GB/s copied\n",
            self.device.info(),
            self.ceiling.gflops,
            self.ceiling.copy_gb_per_s
        )
    }

    pub(super) fn line<'a>(&'a self, problem: &'a str, pass: Pass, flops: f64, measured: Measured) -> Line<'a> {
        let Measured { times, plan } = measured;
        let gflops = flops / times.best_ms / 1e6;
        Line {
            problem,
            pass,
            plan,
            median_ms: times.median_ms,
            best_ms: times.best_ms,
            gflops,
            share: gflops / self.ceiling.gflops,
            ceiling_gflops: self.ceiling.gflops,
            copy_gb_per_s: self.ceiling.copy_gb_per_s,
            adapter: &self.device.info().name,
            driver: &self.device.info().driver,
        }
    }

    /// Times one pass of a layer.
    pub(super) fn time(&self, layer: &Layer, batch: usize, pass: Pass) -> Result<Measured> {
        let work = work(&self.device, layer, batch, pass)?;
        let (done, choices) = plan::watch(&self.device, &work);
        done?;
        let mut names: Vec<String> = choices.iter().map(ToString::to_string).collect();
        names.dedup();
        Ok(Measured { times: clock::time(&self.device, work)?, plan: names.join(", ") })
    }
}

/// A pass' times, and what was chosen to compute it.
pub(super) struct Measured {
    times: Times,
    plan: String,
}

/// Work that queues one pass of a layer, on random operands.
pub(super) fn work(device: &Device, layer: &Layer, batch: usize, pass: Pass) -> Result<Box<dyn Fn() -> Result<()>>> {
    let random = |shape: &[usize], stream| Tensor::uniform(device, shape, -1.0, 1.0, Random { seed: 42, stream });
    match *layer {
        Layer::Linear { inputs, outputs } => {
            let (x, weight) = (random(&[batch, inputs], 0)?, random(&[outputs, inputs], 1)?);
            let dy = random(&[batch, outputs], 2)?;
            Ok(Box::new(move || {
                if matches!(pass, Pass::Forward | Pass::All) {
                    x.linear(&weight, None)?;
                }
                // As the rules of `linear` have them.
                if matches!(pass, Pass::DataGradient | Pass::All) {
                    dy.matmul(&weight)?;
                }
                if matches!(pass, Pass::WeightGradient | Pass::All) {
                    dy.t()?.matmul(&x)?;
                }
                Ok(())
            }))
        }
        Layer::Matmul { k, n } => {
            let (a, b, dc) = (random(&[batch, k], 0)?, random(&[k, n], 1)?, random(&[batch, n], 2)?);
            Ok(Box::new(move || {
                if matches!(pass, Pass::Forward | Pass::All) {
                    a.matmul(&b)?;
                }
                if matches!(pass, Pass::DataGradient | Pass::All) {
                    dc.matmul(&b.t()?)?;
                }
                if matches!(pass, Pass::WeightGradient | Pass::All) {
                    a.t()?.matmul(&dc)?;
                }
                Ok(())
            }))
        }
        Layer::Conv(conv) => {
            let options = conv.options;
            let (x, weight) = (random(&conv.input(batch), 0)?, random(&conv.weight, 1)?);
            let dy = random(&conv.output(batch), 2)?;
            Ok(Box::new(move || {
                match pass {
                    Pass::Forward => drop(x.conv2d(&weight, None, options)?),
                    Pass::DataGradient => drop(conv2d_input_grad(&dy, &weight, x.shape(), &options)?),
                    Pass::WeightGradient => drop(conv2d_weight_grad(&x, &dy, weight.shape(), &options)?),
                    Pass::All => {
                        let tape = Tape::train();
                        let y = tape.leaf(x.clone()).conv2d(&tape.leaf(weight.clone()), None, options)?;
                        drop(y.backward_with(&dy)?);
                    }
                }
                Ok(())
            }))
        }
    }
}

/// The head of a table of lines.
pub(super) const COLUMNS: &str = "problem                        pass                  plan                    median ms     best ms   GFLOP/s   share";

impl Line<'_> {
    /// The line under [`COLUMNS`].
    pub(super) fn row(&self) -> String {
        format!(
            "{:<30} {:<21} {:<21} {:>11.3} {:>11.3} {:>9.1} {:>5.1} %",
            self.problem,
            self.pass.name(),
            self.plan,
            self.median_ms,
            self.best_ms,
            self.gflops,
            100.0 * self.share
        )
    }
}

/// A named problem of one of the two benchmarks.
struct Problem {
    name: String,
    layer: Layer,
    batch: usize,
}

pub(super) fn gemm(args: &KernelArgs) -> Result<()> {
    measure(args, &[Pass::Forward], |class| {
        let sizes: &[usize] = match class {
            AdapterClass::Software => &[256, 512, 1024, 2048],
            AdapterClass::Gpu => &[128, 256, 512, 1024, 2048, 4096],
        };
        // rows, outputs, inputs: fully connected layers of AlexNet and VGG-16 in small and in usual batches.
        let layers = [8, 64].into_iter().flat_map(|batch| {
            [(9216, 4096), (25_088, 4096), (4096, 4096), (4096, 1000)].map(|(inputs, outputs)| (batch, outputs, inputs))
        });
        let square = |&n: &usize| Problem { name: format!("{n}x{n}x{n}"), layer: Layer::Matmul { k: n, n }, batch: n };
        let linear = |(batch, outputs, inputs)| Problem {
            name: format!("{batch}x{outputs}x{inputs}"),
            layer: Layer::Linear { inputs, outputs },
            batch,
        };
        sizes.iter().map(square).chain(layers.map(linear)).collect()
    })
}

pub(super) fn conv(args: &KernelArgs) -> Result<()> {
    let passes = [Pass::Forward, Pass::DataGradient, Pass::WeightGradient, Pass::All];
    measure(args, &passes, |_| {
        let conv = |batch, kernel, inputs, outputs, size, stride, padding, groups| {
            let options =
                Conv2dOptions { stride: [stride; 2], padding: [padding; 2], groups, ..Conv2dOptions::default() };
            let weight = [outputs, inputs / groups, kernel, kernel];
            let conv = Conv { input: [inputs, size, size], weight, options };
            Problem { name: format!("{conv} n{batch}"), layer: Layer::Conv(conv), batch }
        };
        vec![
            conv(8, 3, 64, 64, 56, 1, 1, 1),
            conv(8, 3, 128, 128, 28, 1, 1, 1),
            conv(8, 3, 512, 512, 14, 1, 1, 1),
            conv(16, 3, 384, 256, 8, 1, 1, 1),
            conv(8, 1, 256, 64, 56, 1, 0, 1),
            conv(8, 3, 96, 96, 56, 1, 1, 96),
            conv(8, 7, 3, 64, 224, 2, 3, 1),
            conv(64, 5, 1, 6, 28, 1, 2, 1),
        ]
    })
}

fn measure(args: &KernelArgs, passes: &[Pass], problems: impl FnOnce(AdapterClass) -> Vec<Problem>) -> Result<()> {
    let bench = Bench::open()?;
    let mut problems = problems(bench.device.info().class);
    let known: Vec<String> = problems.iter().map(|problem| problem.name.clone()).collect();
    problems.retain(|problem| args.only.is_empty() || args.only.iter().any(|text| problem.name.contains(text)));
    if problems.is_empty() {
        anyhow::bail!("no problem's name contains {}; there are {}", args.only.join(" or "), known.join(", "));
    }
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{}{COLUMNS}", bench.heading())?;
    }
    for problem in &problems {
        for &pass in passes {
            let measured = bench.time(&problem.layer, problem.batch, pass)?;
            let flops = 2.0 * pass.products() * (problem.batch * problem.layer.multiply_adds()) as f64;
            let line = bench.line(&problem.name, pass, flops, measured);
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
