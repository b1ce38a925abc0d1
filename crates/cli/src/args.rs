//! The command line.

use clap::{Parser, Subcommand};

use crate::bench::{BenchArgs, TuneArgs};
use crate::completions::CompletionsArgs;
use crate::convert::ConvertArgs;
use crate::devices::DevicesArgs;
use crate::eval::EvalArgs;
use crate::features::FeaturesArgs;
use crate::models::ModelsArgs;
use crate::predict::PredictArgs;
use crate::summary::SummaryArgs;
use crate::train::TrainArgs;

/// Trains, evaluates and uses convolutional networks on any GPU.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, max_term_width = 100)]
#[command(after_help = "\
From a folder of photos to a classifier. Put the photos of each class into a folder of its own:

  photos/cat/1.jpg  photos/cat/2.jpg  ...  photos/dog/1.jpg  ...

Train, with a fifth of the photos kept for testing; measure class by class; classify another photo:

  kiln train --model alexnet-32 --data photos --out runs/photos
  kiln eval --weights runs/photos
  kiln predict --weights runs/photos new.jpg

alexnet-32 sees photos at 32x32 pixels and trains in minutes. alexnet and vgg11_bn see them at 224x224, \
and more in them; they want a GPU, many photos, or weights to start from:

  kiln train --data photos --model alexnet --pretrained alexnet.pth --freeze features

More examples:
  kiln train --model lenet5 --data fashion-mnist  # built-in data
  kiln models  # all models
  kiln devices  # the adapters that can compute
  kiln train --help  # every option, with its default

Environment:
  KILN_BACKEND
      vulkan, metal, dx12 or gl: only adapters of this interface
  KILN_ADAPTER
      the adapter, by its number in `kiln devices` or by a part of its name
  KILN_CACHE_DIR
      the folder for compiled kernels and the files of `kiln tune`, in place of the user's; empty: none
  KILN_PLAN
      how convolutions and products are computed where it applies: tiles, quads, direct, depthwise, \
winograd2, winograd4, tiles128x128 and smaller tiles, or cooperative (matrix units, which round to f16)

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model and keep its weights, metrics and a report
    Train(Box<TrainArgs>),
    /// Measure trained weights on the test images of a dataset
    Eval(EvalArgs),
    /// Name what is on images
    Predict(PredictArgs),
    /// Write what a network makes of images, as vectors
    Features(FeaturesArgs),
    /// List the models
    Models(ModelsArgs),
    /// List a model's layers, with shapes, parameters, FLOPs and memory
    Summary(SummaryArgs),
    /// Turn weights of PyTorch into a safetensors file
    Convert(ConvertArgs),
    /// List the adapters that can compute, and which one is used
    Devices(DevicesArgs),
    /// Measure kernels and training steps on this adapter
    Bench(BenchArgs),
    /// Measure which kernels are the fastest on this adapter, for later runs
    Tune(TuneArgs),
    /// Print a script that completes commands and options in a shell
    Completions(CompletionsArgs),
}

impl Command {
    /// Whether it looks for adapters.
    pub(crate) fn opens_devices(&self) -> bool {
        !matches!(self, Command::Models(_) | Command::Convert(_) | Command::Completions(_))
    }
}
