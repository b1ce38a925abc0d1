//! `kiln models`, and models by their names.

use std::ffi::OsStr;
use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args, Command};
use kiln_gpu::Device;
use kiln_nn::{Init, Module};
use kiln_vision::{Model, ModelOptions, same_name};
use serde::Serialize;

use crate::table::{self, Side};

#[derive(Debug, Args)]
#[command(after_help = "\
In a model's name `-` and `_` are the same.

Parameters and FLOPs (a multiplication and an addition are two) are of a forward pass of one image \
in the size that is listed, with as many classes as the data that the model was made for. `kiln \
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

/// Names of models or networks on the command line. They are given on as they are listed.
#[derive(Clone)]
pub(crate) struct Names(PossibleValuesParser);

impl Names {
    /// One of these.
    pub(crate) fn of<T: Into<PossibleValue>>(names: impl IntoIterator<Item = T>) -> Names {
        Names(PossibleValuesParser::new(names.into_iter().map(Into::into).collect::<Vec<PossibleValue>>()))
    }
}

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, given: &OsStr) -> Result<String, clap::Error> {
        let listed = self.0.possible_values().into_iter().flatten();
        let same = |name: &PossibleValue| given.to_str().is_some_and(|given| same_name(name.get_name(), given));
        let name = listed.filter(same).map(|name| name.get_name().to_string()).next();
        self.0.parse_ref(command, argument, name.as_deref().map_or(given, OsStr::new))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// The names of all models.
pub(crate) fn names() -> Names {
    Names::of(Model::ALL.iter().map(|model| PossibleValue::new(model.name).help(model.about)))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hyphens_and_underscores_are_the_same() {
        let parsed = |given: &str| names().parse_ref(&Command::new("kiln"), None, OsStr::new(given));
        for given in ["vgg11_bn-32", "vgg11-bn-32", "vgg11_bn_32", "vgg11-bn_32"] {
            assert_eq!(parsed(given).unwrap(), "vgg11_bn-32");
            assert_eq!(find(given).unwrap().name, "vgg11_bn-32");
        }
        assert_eq!(parsed("alexnet_2012").unwrap(), "alexnet-2012");
        assert_eq!(parsed("vgg16-bn").unwrap(), "vgg16_bn");
        for wrong in ["vgg11bn", "vgg11--bn", "VGG11", ""] {
            assert!(parsed(wrong).is_err() && find(wrong).is_err(), "{wrong}");
        }
    }
}
