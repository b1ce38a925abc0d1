//! `kiln bench layers`.

use std::io::{self, Write};

use anyhow::Result;
use kiln_vision::Model;
use serde::Serialize;

use super::args::LayersArgs;
use super::contractions::distinct;
use super::kernels::{Bench, COLUMNS, Line, Pass};

/// A line with its place in a network.
#[derive(Serialize)]
struct Placed<'a> {
    net: &'a str,
    times: usize,
    batch: usize,
    #[serde(flatten)]
    line: Line<'a>,
}

pub(super) fn run(args: &LayersArgs) -> Result<()> {
    let bench = Bench::open()?;
    let batch = args.batch as usize;
    let mut out = io::stdout().lock();
    if !args.json {
        write!(out, "{}", bench.heading())?;
    }
    for net in Model::ALL.iter().filter(|model| args.net.iter().any(|name| name == model.name)) {
        let layers = distinct(net)?;
        if !args.json {
            writeln!(out, "\n{}, batch {batch}\n{COLUMNS}  times", net.name)?;
        }
        for pass in [Pass::Forward, Pass::DataGradient, Pass::WeightGradient] {
            let (mut milliseconds, mut flops) = (0.0, 0.0);
            for (index, &(layer, times)) in layers.iter().enumerate() {
                if index == 0 && pass == Pass::DataGradient {
                    continue;
                }
                let problem = layer.to_string();
                let work = 2.0 * (batch * layer.multiply_adds()) as f64;
                let line = bench.line(&problem, pass, work, bench.time(&layer, batch, pass)?);
                milliseconds += times as f64 * line.best_ms;
                flops += times as f64 * work;
                if args.json {
                    writeln!(out, "{}", serde_json::to_string(&Placed { net: net.name, times, batch, line })?)?;
                } else {
                    writeln!(out, "{}  {times:>5}", line.row())?;
                }
                out.flush()?;
            }
            if !args.json {
                let (name, rate) = (pass.name(), flops / milliseconds / 1e6);
                writeln!(out, "{:<30} {name:<43} {:>11} {milliseconds:>11.3} {rate:>9.1}", "all", "")?;
            }
        }
    }
    Ok(())
}
