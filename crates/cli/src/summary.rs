//! `kiln summary`.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use kiln_nn::{Init, LayerSummary, Summary, summary};
use serde_json::{Value, json};

use crate::words::counted;
use crate::{devices, models};

#[derive(Debug, Args)]
#[command(after_help = "\
Lists the layers in the order in which they run, with the names that --freeze and `kiln features \
--layer` take. FLOPs are of a forward pass: a multiplication and an addition are two. Memory is \
that of the layers' outputs, which training keeps for the backward pass.

Examples:
  kiln summary --model alexnet
  kiln summary --model vgg11-32 --classes 5 --batch 64
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
    /// Print a JSON object: input, layers (name, ops, input, output, parameters, flops, bytes), parameters, trainable, flops,
    /// state_bytes, activation_bytes
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
    let device = devices::open()?;
    let model = models::build(description, &device, Init::seed(0), args.classes as usize, [c, h, w], None)?;
    let found = summary(&*model, &device, [args.batch as usize, c, h, w])?;
    devices::keep_pipelines(&device);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&in_json(&found, [args.batch as usize, c, h, w]))?)?;
    } else {
        let classes = counted(args.classes as usize, "class");
        writeln!(out, "{} for {classes}, input [{}, {c}, {h}, {w}]", description.name, args.batch)?;
        writeln!(out, "{found}")?;
    }
    Ok(())
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
