//! Trained models from weights files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kiln_data::Classes;
use kiln_gpu::Device;
use kiln_nn::{Init, LoadOptions, Loaded, Module, StateDict, StateFile};
use kiln_train::{BEST_FILE, ModelCard, Normalize, WEIGHTS_FILE, readable_weights};
use kiln_vision::{Model, same_name};

use crate::models;
use crate::note::note;
use crate::words::counted;

/// How many tensors a line names.
const SHOWN: usize = 6;

#[derive(Debug, Args)]
pub(crate) struct WeightsArgs {
    /// The weights: a file of `kiln train`, another safetensors file or a .pth of PyTorch with the model's parameter names, or the
    /// folder of a run, of which the best epoch's are taken
    #[arg(long, value_name = "FILE|DIR")]
    weights: PathBuf,
    /// The model [default: what the weights file says]
    #[arg(long, value_parser = models::names())]
    model: Option<String>,
}

/// A model with its trained weights and what they were trained on.
pub(crate) struct Trained {
    /// The file.
    pub(crate) path: PathBuf,
    pub(crate) description: &'static Model,
    pub(crate) model: Box<dyn Module>,
    pub(crate) card: ModelCard,
    pub(crate) normalize: Normalize,
}

impl WeightsArgs {
    /// Loads the weights.
    pub(crate) fn load(&self, device: &Device) -> Result<Trained> {
        let path = file_of(&self.weights)?;
        self.load_file(device, path.clone()).map_err(|error| self.with_others(error, &path))
    }

    /// The error of damaged weights, with the other weights of the run, if these are whole.
    fn with_others(&self, error: anyhow::Error, path: &Path) -> anyhow::Error {
        use kiln_nn::Error::{Checksum, Damaged, Header, NotWeights, Truncated};
        let damaged = matches!(
            error.downcast_ref(),
            Some(Checksum { .. } | Damaged { .. } | Header { .. } | NotWeights { .. } | Truncated { .. })
        );
        let others = if damaged && self.weights.is_dir() { readable_weights(&self.weights) } else { Vec::new() };
        match others.iter().find(|other| *other != path) {
            Some(other) => anyhow!("{error}; the run's other weights are whole: --weights {}", other.display()),
            None => error,
        }
    }

    fn load_file(&self, device: &Device, path: PathBuf) -> Result<Trained> {
        let mut file = StateFile::open(&path)?;
        let (description, card) = identify(&mut file, &path, self.model.as_deref())?;
        // The first values are overwritten at once.
        let model = models::build(description, device, Init::seed(0), card.classes.len().max(1), card.input, None)?;
        say_what_is_read(&path, &file);
        say_what_fits(&path, &model.load_with(&path, LoadOptions::new())?);
        let normalize = Normalize::new(&card.mean, &card.std)?;
        Ok(Trained { path, description, model, card, normalize })
    }
}

/// The weights file at a path, which may be a run's folder.
pub(crate) fn file_of(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let found = [BEST_FILE, WEIGHTS_FILE].map(|name| path.join(name)).into_iter().find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "{}: holds neither {BEST_FILE} nor {WEIGHTS_FILE}; pass a run's folder or a weights file",
            path.display()
        )
    })
}

/// Says which tensors of a checkpoint are the weights, where there is a choice.
pub(crate) fn say_what_is_read(path: &Path, file: &StateFile) {
    let shown = path.display();
    if let Some(key) = file.path() {
        note(format_args!("{shown}: the weights are those under {key:?}"));
    }
    if !file.others().is_empty() {
        let others = file.others().iter().map(|other| format!("{other:?}")).collect::<Vec<_>>().join(", ");
        note(format_args!(
            "{shown}: it also holds tensors under {others}, which `kiln convert --key NAME` writes to a file"
        ));
    }
}

/// Says how names in the file became the model's, and what was left out.
pub(crate) fn say_what_fits(path: &Path, loaded: &Loaded) {
    if !loaded.removed.is_empty() {
        note(format_args!(
            "{}: {} was removed from the names of its tensors",
            path.display(),
            loaded.removed.join(" and ")
        ));
    }
    let beside = &loaded.unexpected;
    if !beside.is_empty() {
        let more = if beside.len() > SHOWN { format!(" and {} more", beside.len() - SHOWN) } else { String::new() };
        let names = beside.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        note(format_args!("{}: left out, since they are not of the model: {names}{more}", path.display()));
    }
}

/// Which model a file's weights are for, and what is known about them. A file that was not written by Kiln is normalised as the
/// model's own entry says, and its classes have no names.
pub(crate) fn identify(file: &mut StateFile, path: &Path, name: Option<&str>) -> Result<(&'static Model, ModelCard)> {
    let shown = path.display();
    let card = ModelCard::from_metadata(file.metadata()).with_context(|| shown.to_string())?;
    let name = match (&card, name) {
        (Some(card), Some(name)) if !same_name(&card.model, name) => {
            bail!("{shown}: holds weights of {}, not of {name}; leave --model out", card.model)
        }
        (Some(card), _) => card.model.as_str(),
        (None, Some(name)) => name,
        (None, None) => bail!("{shown}: does not say of which model it is; pass --model with one of `kiln models`"),
    };
    let description = models::find(name)?;
    file.fit_names([description.head]);
    // Without a head of the right form, loading names what is wrong.
    let outputs = file.shape(description.head).and_then(|(_, shape)| shape.first().copied()).unwrap_or(0);
    let name = description.name.to_string();
    let card = card.map(|card| ModelCard { model: name.clone(), ..card }).unwrap_or_else(|| ModelCard {
        model: name,
        classes: Classes::numbered(outputs),
        input: description.input,
        mean: description.mean.to_vec(),
        std: description.std.to_vec(),
    });
    if outputs > 0 && card.classes.len() != outputs {
        let classes = counted(card.classes.len(), "class");
        bail!("{shown}: has {classes} and weights for {outputs}; save it again");
    }
    Ok((description, card))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kiln_nn::save_tensors;
    use kiln_tensor::{DType, Tensor};

    use super::*;

    /// As files that were written under another spelling of a name.
    #[test]
    fn a_card_may_spell_its_model_either_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let card = ModelCard {
            model: "vgg11-bn-32".to_string(),
            classes: ["cat", "dog"].into(),
            input: [3, 32, 32],
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
        };
        let bias = Tensor::zeros(&Device::open_default().unwrap(), [2], DType::F32).unwrap();
        save_tensors([("classifier.3.bias", &bias)], &path, &card.to_metadata()).unwrap();
        let mut file = StateFile::open(&path).unwrap();
        for name in [None, Some("vgg11_bn-32"), Some("vgg11-bn_32")] {
            let (description, card) = identify(&mut file, &path, name).unwrap();
            assert_eq!((description.name, card.model.as_str()), ("vgg11_bn-32", "vgg11_bn-32"));
        }
        let told = identify(&mut file, &path, Some("vgg11_bn")).map(|_| ()).unwrap_err().to_string();
        assert!(told.ends_with("holds weights of vgg11-bn-32, not of vgg11_bn; leave --model out"), "{told}");
    }
}
