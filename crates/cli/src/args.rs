//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln_vision::Model;

use crate::bench::{BenchArgs, TuneArgs};
use crate::data::DataName;

/// Trains, evaluates and uses convolutional networks on any GPU.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, max_term_width = 100)]
#[command(after_help = "\
Examples:
  kiln devices
  kiln train --model lenet5 --data fashion-mnist --epochs 8 --out runs/first
  kiln eval --model lenet5 --weights runs/first/model.safetensors --data fashion-mnist
  kiln predict --model lenet5 --weights runs/first/model.safetensors shoe.png

Environment:
  KILN_BACKEND    vulkan, metal, dx12 or gl: only adapters of this interface
  KILN_ADAPTER    the adapter, by its number in `kiln devices` or by a part of its name
  KILN_CACHE_DIR  the folder for compiled kernels and the files of `kiln tune`, in place of the user's; empty: none
  KILN_PLAN       how convolutions and products are computed where it applies: tiles, quads, direct, depthwise,
                  winograd2 or winograd4

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the adapters that can compute, the one that is used first
    Devices(DevicesArgs),
    /// Train a model and keep its weights and metrics
    Train(TrainArgs),
    /// Measure trained weights on the test images of a dataset
    Eval(EvalArgs),
    /// Name what is on images
    Predict(PredictArgs),
    /// Measure kernels and training steps on this adapter
    Bench(BenchArgs),
    /// Turn weights of PyTorch into a safetensors file
    Convert(ConvertArgs),
    /// Measure which kernels are the fastest on this adapter, for later runs
    Tune(TuneArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln devices
  KILN_ADAPTER=1 kiln train --model lenet5 --data fashion-mnist
  KILN_ADAPTER=radeon kiln train --model lenet5 --data fashion-mnist")]
pub(crate) struct DevicesArgs {
    /// Print a JSON array with an object per adapter: its name, backend, driver, features and limits
    #[arg(long)]
    pub(crate) json: bool,
}

fn models() -> PossibleValuesParser {
    PossibleValuesParser::new(
        Model::ALL.iter().map(|model| clap::builder::PossibleValue::new(model.name).help(model.about)),
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimName {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// Adam
    Adam,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleName {
    /// The same learning rate throughout
    Constant,
    /// A rise over --warmup steps, then half a cosine down to 0 (PyTorch's CosineAnnealingLR)
    Cosine,
    /// Up over the first 30 % of the steps and down again (PyTorch's OneCycleLR)
    OneCycle,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Writes DIR/metrics.jsonl (a line of JSON per epoch: epoch, train_loss, train_acc, test_loss, test_acc,
seconds, images_per_s) and, after each epoch, DIR/model.safetensors (weights, class names and how
images are normalised).

Examples:
  kiln train --model lenet5 --data fashion-mnist --epochs 8 --out runs/first
  kiln train --model lenet5 --data idx:/data/mnist --optim sgd --lr 0.05 --schedule one-cycle
  kiln train --model lenet5 --data fashion-mnist --steps 50 --profile")]
pub(crate) struct TrainArgs {
    /// The model
    #[arg(long, value_parser = models())]
    pub(crate) model: String,
    /// fashion-mnist (built in: 10,000 and 2,000 images), or idx:DIR, a folder with the four IDX files of MNIST's form
    #[arg(long, value_name = "NAME|idx:DIR")]
    pub(crate) data: DataName,
    /// How often to go through the training images [default: 5]
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: Option<u64>,
    /// Stop after so many batches instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: Option<u64>,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// The optimizer
    #[arg(long, value_enum, default_value_t = OptimName::Adam)]
    pub(crate) optim: OptimName,
    /// The largest learning rate [default: 0.001 for adam, 0.05 for sgd]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = positive)]
    pub(crate) lr: Option<f64>,
    /// How much of the last step's direction sgd keeps [default: 0.9]
    #[arg(long, value_name = "PART", allow_negative_numbers = true, value_parser = part)]
    pub(crate) momentum: Option<f64>,
    /// How strongly weights are drawn to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.0, allow_negative_numbers = true, value_parser = not_negative)]
    pub(crate) weight_decay: f64,
    /// How the learning rate changes over the run
    #[arg(long, value_enum, default_value_t = ScheduleName::Constant)]
    pub(crate) schedule: ScheduleName,
    /// The steps over which the cosine schedule rises [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) warmup: Option<u64>,
    /// Decides the first weights, the order of the images and all other random numbers: the same seed gives the same weights
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// The threads that read images; they do not change the result
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,
    /// The folder for the results [default: runs/MODEL]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Measure the GPU time of 20 steps: prints a table by layer and operation and writes DIR/trace.json for chrome://tracing
    #[arg(long)]
    pub(crate) profile: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kiln eval --model lenet5 --weights runs/first/model.safetensors --data fashion-mnist
  kiln eval --model lenet5 --weights runs/first/model.safetensors --data idx:/data/fashion --json")]
pub(crate) struct EvalArgs {
    /// The model
    #[arg(long, value_parser = models())]
    pub(crate) model: String,
    /// The weights: a safetensors file with the model's parameter names
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// The dataset, as for `kiln train`; its test images are used
    #[arg(long, value_name = "NAME|idx:DIR")]
    pub(crate) data: DataName,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Print a JSON object: loss, accuracy, samples
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Images may be PNG, JPEG, GIF, BMP, WebP, PNM or TIFF, of any size; they are scaled to the model's size.
Fashion-MNIST and MNIST are bright on black: use --invert for a dark object on a light ground.

Examples:
  kiln predict --model lenet5 --weights runs/first/model.safetensors shoe.png
  kiln predict --model lenet5 --weights runs/first/model.safetensors --invert --top 1 photos/*.jpg")]
pub(crate) struct PredictArgs {
    /// The model
    #[arg(long, value_parser = models())]
    pub(crate) model: String,
    /// The weights: a safetensors file with the model's parameter names
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// How many classes to name for each image, the most probable first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
    /// Turn light to dark and dark to light first
    #[arg(long)]
    pub(crate) invert: bool,
    /// Print a JSON array with an object per image
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads what torch.save wrote, in the form of today and in the older one: a state dict, or a checkpoint that has
one under a name such as state_dict or model. Nothing in the file is executed. Each tensor keeps its type.

`kiln eval`, `kiln predict` and `kiln train` read such files themselves; a safetensors file is smaller, and
other programs read it without PyTorch.

Examples:
  kiln convert alexnet-owt-7be5be79.pth alexnet.safetensors
  kiln convert --list checkpoint.pt")]
pub(crate) struct ConvertArgs {
    /// The weights: a .pth or .pt file of PyTorch, or a safetensors file
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The safetensors file to write
    #[arg(value_name = "OUT", required_unless_present = "list")]
    pub(crate) output: Option<PathBuf>,
    /// List the tensors: their names, types and shapes
    #[arg(long)]
    pub(crate) list: bool,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| "needs a number".to_string())
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("needs a number above 0".to_string()) })
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text)
        .and_then(|value| if value >= 0.0 { Ok(value) } else { Err("needs a number of at least 0".to_string()) })
}

fn part(text: &str) -> Result<f64, String> {
    let within = |value| (0.0..1.0).contains(&value);
    number(text)
        .and_then(|value| if within(value) { Ok(value) } else { Err("needs a number from 0 to below 1".to_string()) })
}
