//! State dicts in safetensors files.

mod atomic;
mod format;

pub use atomic::write_atomically;
pub use format::{MAX_HEADER_BYTES, StateFile};

use std::collections::BTreeMap;
use std::path::Path;

use kiln_tensor::Tensor;

use crate::error::{Error, Problem, Result};
use crate::module::Parameters;
use format::Entry;

/// How strictly names are compared when a state dict is loaded. Shapes and types always have to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    partial: bool,
}

impl LoadOptions {
    /// Strict: the file and the model have the same names.
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// What has the same name is loaded; [`Loaded`] tells what was not.
    pub fn partial() -> LoadOptions {
        LoadOptions { partial: true }
    }
}

/// What a load left out. Empty after a strict one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "parameters that are missing in the file keep their values"]
pub struct Loaded {
    /// Parameters of the model that the file does not have, in the model's order.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have, in alphabetical order.
    pub unexpected: Vec<String>,
}

pub(crate) fn save(parameters: &Parameters, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    let mut metadata = metadata.clone();
    metadata.insert("kiln_version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    let tensors: Vec<(&str, Tensor)> = parameters.iter().map(|(name, parameter)| (name, parameter.value())).collect();
    let bytes = format::encode(&tensors, &metadata)?;
    write_atomically(path, &bytes)
}

pub(crate) fn load(parameters: &Parameters, path: &Path, options: LoadOptions) -> Result<Loaded> {
    let mut file = StateFile::open(path)?;
    let mut loaded = Loaded::default();
    let mut problems = Vec::new();
    for (name, parameter) in parameters.iter() {
        let needed = format!("{} {}", parameter.dtype(), parameter.shape());
        match file.entry(name) {
            None => loaded.missing.push(name.to_string()),
            Some(Entry { dtype, shape, .. }) if *dtype == parameter.dtype() && shape == parameter.shape().dims() => {}
            Some(entry) => problems.push(Problem::Differs { name: name.to_string(), given: entry.describe(), needed }),
        }
    }
    loaded.unexpected.extend(file.names().filter(|name| parameters.get(name).is_none()).map(String::from));
    if !options.partial {
        problems.extend(loaded.missing.iter().map(|name| Problem::Missing { name: name.clone() }));
        problems.extend(loaded.unexpected.iter().map(|name| Problem::Unexpected { name: name.clone() }));
    }
    if !problems.is_empty() {
        return Err(Error::Mismatch { file: path.display().to_string(), problems });
    }
    // Everything is read and uploaded before anything is changed.
    let mut values = Vec::new();
    for (name, parameter) in parameters.iter() {
        if file.entry(name).is_some() {
            values.push((parameter, file.tensor(name, parameter.value().device())?));
        }
    }
    for (parameter, value) in values {
        parameter.set(value)?;
    }
    Ok(loaded)
}
