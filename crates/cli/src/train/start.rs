//! The first weights of a run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kiln_data::Splits;
use kiln_nn::{Entry, LoadOptions, Module, StateDict, StateFile};
use kiln_train::ModelCard;
use kiln_vision::Model;

use super::config::StartArgs;
use crate::note::note;
use crate::{ended, models, weights};

/// Weights to start from.
pub(crate) struct Pretrained {
    path: PathBuf,
    card: ModelCard,
    /// The classes that the last layer has values for.
    outputs: usize,
}

/// What becomes of the last layer of weights to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// It is replaced: the classes are others.
    New,
    /// It is kept for the same classes.
    SameNames,
    /// It is kept for as many classes, whose names the weights do not have.
    SameNumber,
}

/// What a run starts from.
pub(crate) struct Start {
    pub(crate) description: &'static Model,
    pub(crate) pretrained: Option<Pretrained>,
}

impl Start {
    /// Finds the model and the weights. Nothing is loaded.
    pub(crate) fn find(name: Option<&str>, args: &StartArgs) -> Result<Start> {
        let Some(given) = &args.pretrained else {
            let Some(name) = name else {
                return Err(ended::usage(
                    "no model is given; pass --model with one of `kiln models`, such as alexnet-32",
                ));
            };
            return Ok(Start { description: models::find(name)?, pretrained: None });
        };
        let path = match given.of_hub() {
            Some(name) => of_hub(name)?,
            None => weights::file_of(Path::new(given))?,
        };
        let mut file = StateFile::open(&path)?;
        let (description, card) = weights::identify(&mut file, &path, name)?;
        weights::say_what_is_read(&path, &file);
        let outputs = file.shape(description.head).and_then(|(_, shape)| shape.first().copied()).unwrap_or(0);
        Ok(Start { description, pretrained: Some(Pretrained { path, card, outputs }) })
    }

    /// The shape of the images that the model, or its weights, were made for.
    pub(crate) fn input(&self) -> [usize; 3] {
        self.pretrained.as_ref().map_or(self.description.input, |weights| weights.card.input)
    }

    /// The means and deviations that the weights know images with.
    pub(crate) fn normalization(&self) -> Option<(Vec<f32>, Vec<f32>)> {
        self.pretrained.as_ref().map(|weights| (weights.card.mean.clone(), weights.card.std.clone()))
    }

    /// Whether the last layer of the weights is of the classes of this data. Then the data's labels become those of the weights, which
    /// may have the classes in another order.
    pub(crate) fn keeps_head(&self, data: &mut Splits) -> Result<Head> {
        let Some(Pretrained { card: ModelCard { classes: known, .. }, outputs, .. }) = &self.pretrained else {
            return Ok(Head::New);
        };
        let own = data.train.classes();
        if own.len() != *outputs {
            return Ok(Head::New);
        }
        match own.among(known) {
            Ok(matched) if matched.by_name => {
                *data = data.match_classes(known)?;
                Ok(Head::SameNames)
            }
            // Only the weights know what they tell apart, and do not say: as many classes are taken to be the same.
            Ok(_) if !known.are_named() => Ok(Head::SameNumber),
            _ => Ok(Head::New),
        }
    }

    /// Loads the weights and freezes what shall stay as it is. Tells what was done.
    pub(crate) fn prepare(&self, model: &dyn Module, kept: Head, freeze: &[String]) -> Result<()> {
        if let Some(weights) = &self.pretrained {
            let head = self.description.head.rsplit_once('.').map_or("", |(layer, _)| layer);
            let options = LoadOptions::new();
            let options = if kept == Head::New { options.except(format!("{head}.")) } else { options };
            // Strict: what differs is an error.
            weights::say_what_fits(&weights.path, &model.load_with(&weights.path, options)?);
            let rest = match kept {
                Head::New => "is new, for the classes of the data",
                Head::SameNames => "is kept: it is of the same classes",
                Head::SameNumber => "is kept: it is of as many classes, and the weights do not have their names",
            };
            note(format_args!("weights of {}; {head} {rest}", weights.path.display()));
        }
        let mut frozen = BTreeSet::new();
        for prefix in freeze {
            model.freeze(prefix).with_context(|| format!("--freeze {prefix}"))?;
            frozen.insert(prefix.as_str());
        }
        if !frozen.is_empty() {
            let trained = model.parameters().unique().iter().filter(|(_, parameter)| !parameter.is_frozen()).count();
            if trained == 0 {
                return Err(ended::usage("--freeze leaves nothing to train; freeze fewer parts"));
            }
            let norms =
                model.entries().iter().any(|(_, entry)| matches!(entry, Entry::Buffer(buffer) if buffer.is_frozen()));
            let norms =
                if norms { "; batch norm there keeps its running statistics and normalises by them" } else { "" };
            note(format_args!("frozen: {}{norms}", frozen.into_iter().collect::<Vec<_>>().join(", ")));
        }
        Ok(())
    }
}

/// Weights of the Hugging Face Hub: OWNER/NAME, or OWNER/NAME/FILE.
#[cfg(feature = "hub")]
fn of_hub(name: &str) -> Result<PathBuf> {
    let parts: Vec<&str> = name.splitn(3, '/').collect();
    let (repository, file) = match parts.as_slice() {
        [owner, name] => (format!("{owner}/{name}"), "model.safetensors"),
        [owner, name, file] => (format!("{owner}/{name}"), *file),
        _ => return Err(ended::usage("--pretrained hub: needs hub:OWNER/NAME or hub:OWNER/NAME/FILE")),
    };
    Ok(kiln_nn::Hub::new().fetch(&repository, file)?)
}

#[cfg(not(feature = "hub"))]
fn of_hub(_: &str) -> Result<PathBuf> {
    anyhow::bail!(
        "this kiln was built without the Hugging Face Hub; install it by cargo install --path crates/cli --features hub, or \
         fetch the file and pass its path"
    )
}
