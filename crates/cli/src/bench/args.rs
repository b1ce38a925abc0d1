//! The command line of `kiln bench`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Subcommand};

use super::step::TRAINED;
use crate::models::{Names, names};

#[derive(Debug, Args)]
#[command(after_help = "\
All times are by the wall clock and end when the device is done. A kernel is called twice to warm up, then in samples of as many \
calls as fill 10 ms; a sample is waited for at its end, and a call's time is the sample's by their number. There are 5 samples at \
least, and more for up to a second. GFLOP/s are the best sample's, a multiply-add counted as two.

The share is of the adapter's ceiling: the multiply-adds that it makes a second in registers, measured first, together with the \
rate at which it copies memory (bytes read and written).

Examples:
  kiln bench gemm
  kiln bench conv --only 3x3 --json
  kiln bench layers --net vgg16 --batch 8
  kiln bench step --net alexnet-32 --json")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Matrix products: square ones, and the fully connected layers of AlexNet and VGG-16
    Gemm(KernelArgs),
    /// Convolutions: forward, the gradients by data and by weight, and all three together
    Conv(KernelArgs),
    /// Every layer of a network that multiplies matrices: AlexNet and VGG-16, or any other of `kiln models`
    Layers(LayersArgs),
    /// Training steps of a whole network
    Step(StepArgs),
    /// The memory of a training step as `kiln summary --train` estimates it, and as it is measured
    Memory(MemoryArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
With --json each line has: problem, pass, plan (what computes it), median_ms, best_ms, gflops, share (of the ceiling, 1 \
is all of it), ceiling_gflops, copy_gb_per_s, adapter, driver.

Examples:
  kiln bench gemm --only 1024
  kiln bench conv --json")]
pub(crate) struct KernelArgs {
    /// Only problems whose name contains this; again for others
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A layer that a network has several times is measured once; `times` says how often it is there. The table ends with the sum \
over the network, each layer counted as often as it is there. The first layer's data gradient is left out, as training does \
not need it. Pooling, normalisation and activations are not measured.

With --json each line has: net, problem, times, batch, pass, and the fields of `kiln bench conv --json`.

Examples:
  kiln bench layers --net vgg11-32
  kiln bench layers --batch 64 --json")]
pub(crate) struct LayersArgs {
    /// The network; again for others
    #[arg(long, value_parser = names(), default_values = ["alexnet", "vgg16"], hide_possible_values = true)]
    pub(crate) net: Vec<String>,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A step is forward, mean cross-entropy, backward, and SGD with rate 0.01 and momentum 0.9. It ends when the loss has been read \
back, which waits for all work queued before. Each step takes the same images and labels; weights have a fixed seed; dropout is \
off, so that other frameworks can be compared to the last step. Three steps come first, then those that are timed.

  first_step_ms
      from before the model is built to the first loss: weights are drawn, kernels compiled, memory taken. \
The device is open by then. Drivers keep compiled kernels from run to run: empty their cache to measure \
without
  median_ms, best_ms
      over the timed steps
  images_per_s
      by the median
  launches_per_step
      kernel launches of the last step
  device_bytes_peak
      the most memory that tensors have held on the device at once
  resident_bytes_peak
      the most memory that the process has held, a software driver's included; null where the system \
does not tell (Linux and macOS do)
  losses
      of the first three steps

Examples:
  kiln bench step --net lenet5
  kiln bench step --net vgg16 --batch 4 --steps 5 --json")]
pub(crate) struct StepArgs {
    /// The network
    #[arg(long, value_parser = trained())]
    pub(crate) net: String,
    /// Images in a batch [default: by network, see --net]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Steps that are timed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// After the timed steps, measure every launch of a few more and print the table on stderr
    #[arg(long)]
    pub(crate) profile: bool,
    /// Only write the network's first weights to this safetensors file, for other frameworks to start from
    #[arg(long, value_name = "FILE", conflicts_with_all = ["batch", "steps", "json"])]
    pub(crate) save_weights: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The estimate is that of `kiln summary --train --optim sgd`, made without a GPU. For the measurement the network is built and \
makes two steps (forward, mean cross-entropy, backward, SGD with momentum); what counts is the most that tensors have held on \
the device.

With --json each line has: net, batch, estimated_bytes, measured_bytes, adapter, driver.

Examples:
  kiln bench memory
  kiln bench memory --net lenet5 --net mlp --batch 64 --json")]
pub(crate) struct MemoryArgs {
    /// The network; again for others [default: all of `kiln models`]
    #[arg(long, value_parser = names(), hide_possible_values = true)]
    pub(crate) net: Vec<String>,
    /// Images in a batch; again for others
    #[arg(long, value_name = "N", default_values_t = [2, 8], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Vec<u32>,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every way to compute a convolution or product that applies is timed, for each layer forward and for both gradients, in turns. The \
fastest is kept in a file for this adapter, its driver and this version of Kiln; every program that uses Kiln reads it from \
then on. What an earlier run measured stays in it. A way has to be 5 % faster than the one that Kiln takes by itself.

The file is in the user's cache folder, or in KILN_CACHE_DIR. `kiln devices` names it; delete it to undo.

With --json each line has: problem, best_ms (by algorithm), rule (what is taken without the file), chosen.

Examples:
  kiln tune --net lenet5
  kiln tune --net alexnet --net vgg16 --batch 32
  kiln tune --show")]
pub(crate) struct TuneArgs {
    /// The network; again for others
    #[arg(
        long,
        visible_alias = "model",
        required_unless_present = "show",
        value_parser = names()
    )]
    pub(crate) net: Vec<String>,
    /// Images in a batch: a problem of another size is another problem [default: as in `kiln bench step`; for networks that it
    /// does not have 8, or 16 where images have at most 64 pixels a side]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Only print what was measured before
    #[arg(long, conflicts_with_all = ["net", "batch", "json"])]
    pub(crate) show: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn trained() -> Names {
    Names::of(TRAINED.iter().map(|net| PossibleValue::new(net.name).help(format!("batch {} unless given", net.batch))))
}
