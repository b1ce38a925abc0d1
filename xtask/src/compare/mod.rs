//! Kiln against other frameworks: the same networks from the same weights, in turns, in one run.
//!
//! The peers are in `benches/peers`, a workspace of its own. A peer that cannot be built or run is named in the report with
//! the reason.

mod line;
mod peers;
mod report;

use crate::{adapter, cargo};
use anyhow::{Context, Result, bail};
use line::Line;
use peers::{Bench, Missing, Program};
use std::fs;
use std::path::Path;

/// Where the report goes, from the workspace's root.
const REPORT: &str = "docs/benchmarks.md";

/// Where the weights go that all programs start from, from the workspace's root.
const WEIGHTS: &str = "runs/compare";

/// What the command line asks for.
#[derive(clap::Args)]
#[command(after_help = "\
Measures products, convolutions and training steps in rounds: in each, every program in turn. The report has the best of all \
rounds and the median of their medians.

Examples:
  cargo xtask compare
  cargo xtask compare --only lenet5 --rounds 1 --steps 5
  cargo xtask compare --net alexnet --net vgg16 --batch 64 --python ~/torch/bin/python")]
pub(crate) struct Args {
    /// Timed steps of a network in each round
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only benchmarks whose name contains this (gemm, conv, or a network); the report is then printed, not written
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// The networks
    #[arg(long, value_name = "NAME", default_values = ["mlp", "lenet5", "alexnet-32", "vgg11-32"])]
    net: Vec<String>,
    /// Images in a batch, for all networks; each has its own unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// A Python with torch and numpy
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
    /// Also burn's Vulkan backend, which takes long to build and needs a GPU
    #[arg(long)]
    burn_vulkan: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let benches = benches(args)?;
    let prepared = adapter::prepare()?;
    let kiln = cargo::build_kiln(&["--release", "--package", "kiln-cli", "--bin", "kiln", "--locked"])?;
    adapter::check(&kiln, &prepared)?;
    let (programs, mut missing) = peers::find(&kiln, &args.python, args.burn_vulkan)?;
    let weights = cargo::root().join(WEIGHTS);
    fs::create_dir_all(&weights).with_context(|| format!("cannot make {}", weights.display()))?;

    let mut lines: Vec<Line> = Vec::new();
    for bench in &benches {
        peers::save_weights(&kiln, bench, &weights)?;
        let mut failed = Vec::new();
        for round in 1..=args.rounds {
            for program in &programs {
                if failed.contains(&program.name()) {
                    continue;
                }
                let Some(command) = program.command(bench, &weights, args.steps, args.batch) else { continue };
                eprintln!("{} ({round} of {}): {}", bench.name(), args.rounds, program.name());
                match peers::lines(command) {
                    Ok(printed) => lines.extend(printed),
                    Err(error) if matches!(program, Program::Kiln(_)) => return Err(error),
                    // A peer that fails once would fail again.
                    Err(error) => {
                        failed.push(program.name());
                        let reason = format!("{}: {error:#}", bench.name());
                        missing.push(Missing { program: program.name().to_string(), reason });
                    }
                }
            }
        }
    }

    let report = report::report(&line::merge(lines), &missing, args.rounds, args.steps)?;
    print!("{report}");
    if args.only.is_none() {
        let path = cargo::root().join(REPORT);
        write_into(&path, &report)?;
        eprintln!("\nWritten to {}", path.display());
    }
    Ok(())
}

fn benches(args: &Args) -> Result<Vec<Bench>> {
    let all = [Bench::Gemm, Bench::Conv].into_iter().chain(args.net.iter().cloned().map(Bench::Step));
    let chosen: Vec<Bench> =
        all.filter(|bench| args.only.as_ref().is_none_or(|only| bench.name().contains(only.as_str()))).collect();
    if chosen.is_empty() {
        bail!("no benchmark's name contains {:?}; there are gemm, conv, {}", args.only, args.net.join(", "));
    }
    Ok(chosen)
}

/// Puts the report between the markers of the file.
fn write_into(path: &Path, report: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = report::replace(&text, report).with_context(|| path.display().to_string())?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
