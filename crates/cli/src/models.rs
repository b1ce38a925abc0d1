//! `kiln models`, and models by their names.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use kiln_gpu::Device;
use kiln_nn::{Init, Module};
use kiln_vision::{Model, ModelOptions};
use serde::Serialize;

use crate::table::{self, Side};

#[derive(Debug, Args)]
#[command(after_help = "\
Parameters and FLOPs (a multiplication and an addition are two) are of a forward pass of one image
in the size that is listed, with as many classes as the data that the model was made for. `kiln
summary` has them layer by layer, and for other sizes and counts of classes.

Examples:
  kiln models
  kiln models --json
  kiln summary --model vgg16")]
pub(crate) struct ModelsArgs {
    /// Print a JSON array with an object per model: name, input (channels, height, width), classes, parameters, flops, about
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    input: [usize; 3],
    classes: usize,
    parameters: u64,
    flops: u64,
    about: &'static str,
}

pub(crate) fn run(args: &ModelsArgs) -> Result<()> {
    let listed: Vec<Listed> = Model::ALL.iter().map(listed).collect::<Result<_>>()?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?;
        return Ok(());
    }
    let mut rows = vec![["name", "input", "parameters", "FLOPs", "about"].map(String::from).to_vec()];
    rows.extend(listed.iter().map(|model| {
        let [c, h, w] = model.input;
        let (parameters, flops) = (table::short(model.parameters), table::short(model.flops));
        vec![model.name.to_string(), format!("{c}x{h}x{w}"), parameters, flops, model.about.to_string()]
    }));
    table::write(&mut out, &[Side::Left, Side::Right, Side::Right, Side::Right, Side::Left], &rows)?;
    Ok(())
}

fn listed(model: &Model) -> Result<Listed> {
    let [_, height, width] = model.input;
    let cost = model.cost(&ModelOptions::new(model.classes), [height, width])?;
    Ok(Listed {
        name: model.name,
        input: model.input,
        classes: model.classes,
        parameters: cost.parameters,
        flops: cost.flops,
        about: model.about,
    })
}

/// The names, for the command line.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(Model::ALL.iter().map(|model| PossibleValue::new(model.name).help(model.about)))
}

/// The model of this name.
pub(crate) fn find(name: &str) -> Result<&'static Model> {
    Model::find(name).with_context(|| {
        let names: Vec<&str> = Model::ALL.iter().map(|model| model.name).collect();
        format!("no model is named {name:?}; there are {}", names.join(", "))
    })
}

/// Builds a model for such images. That they fit is found before any memory is taken.
pub(crate) fn build(
    model: &Model,
    device: &Device,
    init: Init,
    classes: usize,
    [channels, height, width]: [usize; 3],
    dropout: Option<f64>,
) -> Result<Box<dyn Module>> {
    let in_channels = (channels != model.input[0]).then_some(channels);
    let options = ModelOptions { classes, in_channels, dropout };
    model.cost(&options, [height, width])?;
    Ok(model.build_with(device, init, &options)?)
}
