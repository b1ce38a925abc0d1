//! `kiln summary`.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use kiln_gpu::{AdapterInfo, Device};
use kiln_nn::{Init, LayerSummary, Module, StepMemory, Summary, step_memory, summary};
use serde_json::{Value, json};

use crate::train::optim::{OptimArgs, OptimName};
use crate::words::counted;
use crate::{devices, models};

#[derive(Debug, Args)]
#[command(after_help = "\
Lists the layers in the order in which they run, with the names that --freeze and `kiln features \
--layer` take. FLOPs are of a forward pass: a multiplication and an addition are two. A layer's memory \
is that of its outputs, which training keeps for the backward pass.

No GPU is opened and nothing is computed: the network runs with its shapes alone, planned for the \
adapter that the other commands would open, or for a usual GPU where there is none.

With --train it also makes a training step and shows what the step holds at its peak, as Kiln's \
memory pool counts it (sizes are rounded up by at most an eighth):

  parameters
      weights, biases and running statistics
  optimizer
      what the optimizer keeps from step to step
  inputs
      the images and labels of the batch
  activations
      what backward still needs of the layers' outputs; in brackets, what it needs when it begins
  gradients
      those of the parameters that have been computed by then; in brackets, all of them
  workspace
      the rest: gradients between layers, partial sums, transformed operands

The driver's own memory, such as compiled kernels, is not included. `kiln train` shows what a run \
needs with all of its options.

Examples:
  kiln summary --model alexnet
  kiln summary --model vgg11-32 --classes 5 --batch 64
  kiln summary --model vgg16 --batch 64 --train --optim sgd
  kiln summary --model vgg16 --input 3x160x160 --json")]
pub(crate) struct SummaryArgs {
    /// The model
    #[arg(long, value_parser = models::names())]
    model: String,
    /// How many classes it tells apart
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    classes: u32,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Channels, height and width of an image [default: the model's]
    #[arg(long, value_name = "CxHxW", value_parser = image)]
    input: Option<[usize; 3]>,
    /// Also say what a training step holds at its peak
    #[arg(long)]
    train: bool,
    /// The optimizer of that step
    #[arg(long, value_enum, requires = "train", default_value_t = OptimName::AdamW)]
    optim: OptimName,
    /// Print a JSON object: input, layers (name, ops, input, output, parameters, flops, bytes), parameters, trainable, flops,
    /// state_bytes, activation_bytes; with --train also training: adapter, optim, and the bytes of parameters, optimizer, inputs,
    /// activations, gradients, workspace, peak, all_activations (at the end of forward) and all_gradients
    #[arg(long)]
    json: bool,
}

fn image(text: &str) -> Result<[usize; 3], String> {
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok().filter(|&side| side > 0)).collect();
    let sides: Option<[usize; 3]> = sides.and_then(|sides| sides.try_into().ok());
    sides.ok_or_else(|| "needs channels, height and width of at least 1, such as 3x224x224".to_string())
}

pub(crate) fn run(args: &SummaryArgs) -> Result<()> {
    let description = models::find(&args.model)?;
    let [c, h, w] = args.input.unwrap_or(description.input);
    let input = [args.batch as usize, c, h, w];
    let build =
        |device: &Device| models::build(description, device, Init::seed(0), args.classes as usize, [c, h, w], None);
    let device = devices::shapes_only()?;
    let found = summary(&*build(&device)?, &device, input)?;
    let training = args.train.then(|| training(args.optim, device.info(), input, build)).transpose()?;
    let mut out = io::stdout().lock();
    if args.json {
        let mut object = in_json(&found, input);
        if let Some(memory) = &training {
            object["training"] = training_json(memory, args.optim, device.info());
        }
        writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
        return Ok(());
    }
    let classes = counted(args.classes as usize, "class");
    writeln!(out, "{} for {classes}, input [{}, {c}, {h}, {w}]", description.name, args.batch)?;
    writeln!(out, "{found}")?;
    if let Some(memory) = &training {
        writeln!(out, "\ntraining step with {}, at its peak, on {}\n{memory}", args.optim.name(), device.info())?;
    }
    Ok(())
}

/// A training step on a device of its own: blocks that an earlier pass has left in the pool would be used again.
fn training(
    optim: OptimName,
    info: &AdapterInfo,
    input: [usize; 4],
    build: impl Fn(&Device) -> Result<Box<dyn Module>>,
) -> Result<StepMemory> {
    let device = Device::shapes_only(info.clone());
    let model = build(&device)?;
    let settings = OptimArgs { optim: Some(optim), ..OptimArgs::default() }.resolve(1.0);
    let mut optim = settings.build(model.parameters())?;
    Ok(step_memory(&*model, &mut *optim, &device, input)?)
}

fn in_json(found: &Summary, input: [usize; 4]) -> Value {
    let layer = |layer: &LayerSummary| {
        json!({
            "name": layer.name,
            "ops": layer.ops,
            "input": layer.input.dims(),
            "output": layer.output.dims(),
            "parameters": layer.parameters,
            "flops": layer.flops,
            "bytes": layer.bytes,
        })
    };
    json!({
        "input": input,
        "layers": found.layers.iter().map(layer).collect::<Vec<_>>(),
        "parameters": found.parameters,
        "trainable": found.trainable,
        "flops": found.flops,
        "state_bytes": found.state_bytes,
        "activation_bytes": found.activation_bytes,
    })
}

fn training_json(memory: &StepMemory, optim: OptimName, info: &AdapterInfo) -> Value {
    json!({
        "adapter": info.name,
        "optim": optim.name(),
        "parameters": memory.parameters,
        "optimizer": memory.optimizer,
        "inputs": memory.inputs,
        "activations": memory.activations,
        "gradients": memory.gradients,
        "workspace": memory.workspace,
        "peak": memory.peak,
        "all_activations": memory.all_activations,
        "all_gradients": memory.all_gradients,
    })
}
