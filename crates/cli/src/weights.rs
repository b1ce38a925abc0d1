//! Trained models from weights files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kiln_gpu::Device;
use kiln_nn::{Init, Module, StateFile};
use kiln_train::{ModelCard, Normalize};
use kiln_vision::Model;

/// A model with its trained weights and what they were trained on.
pub(crate) struct Trained {
    pub(crate) model: Box<dyn Module>,
    pub(crate) classes: Vec<String>,
    pub(crate) normalize: Normalize,
}

/// The model of this name; the command line lets no other name through.
pub(crate) fn model(name: &str) -> Result<&'static Model> {
    Model::find(name).with_context(|| format!("no model is named {name:?}"))
}

/// Loads weights. A file that was not written by Kiln is normalised as the model's own entry says, and its classes have
/// numbers for names.
pub(crate) fn load(device: &Device, description: &Model, path: &Path) -> Result<Trained> {
    let file = StateFile::open(path)?;
    let card = ModelCard::from_metadata(file.metadata()).with_context(|| path.display().to_string())?;
    if let Some(card) = &card
        && card.model != description.name
    {
        bail!("{}: holds weights of {}, not of {}; pass --model {0}", path.display(), card.model, description.name);
    }
    // Without a head of the right form, loading names what is wrong.
    let outputs = file.shape(description.head).and_then(|(_, shape)| shape.first().copied()).unwrap_or(0);
    let card = card.unwrap_or_else(|| ModelCard {
        model: description.name.to_string(),
        classes: (0..outputs).map(|class| class.to_string()).collect(),
        mean: description.mean.to_vec(),
        std: description.std.to_vec(),
    });
    if outputs > 0 && card.classes.len() != outputs {
        bail!("{}: names {} classes and has weights for {outputs}; save it again", path.display(), card.classes.len());
    }
    // The first values are overwritten at once.
    let model = description.build(device, Init::seed(0), card.classes.len().max(1))?;
    model.load(path)?;
    Ok(Trained { model, classes: card.classes, normalize: Normalize::new(&card.mean, &card.std)? })
}
