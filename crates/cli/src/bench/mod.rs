//! `kiln bench`: how fast the kernels and whole training steps are on this adapter, and how fast they could be. `kiln tune`: which
//! kernels are the fastest on it.

mod args;
mod ceiling;
mod clock;
mod contractions;
mod estimate;
mod kernels;
mod layers;
mod memory;
mod step;
mod tune;

pub(crate) use args::{BenchArgs, TuneArgs};

use anyhow::Result;

use args::Bench;

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.bench {
        Bench::Gemm(args) => kernels::gemm(args),
        Bench::Conv(args) => kernels::conv(args),
        Bench::Layers(args) => layers::run(args),
        Bench::Step(args) => step::run(args),
        Bench::Memory(args) => estimate::run(args),
    }
}

pub(crate) fn tune(args: &TuneArgs) -> Result<()> {
    tune::run(args)
}
