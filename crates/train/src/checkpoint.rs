//! Checkpoints: all that a run needs to go on, in one file.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_nn::{Ema, EmaState, Entry, Module, Optimizer, OptimizerState, StateFile, TensorSource, save_tensors};
use kiln_tensor::{Device, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The tensor that holds all that is no tensor: JSON as bytes, since a safetensors header has a limited length.
const STATE: &str = "checkpoint";

/// The version of the layout.
const FORMAT: u32 = 1;

/// Larger counts are those of no run. Sums of two such numbers fit in 64 bits.
const MOST: u64 = 1 << 53;

/// Everything that a run needs to go on as if it had not been interrupted, in one safetensors file: weights, buffers, optimizer, means
/// of weights, the step, and what else a loop keeps. [`Trainer`](crate::Trainer) uses it, and so can a loop of one's own.
///
/// The file appears whole or not at all: a temporary file in the same folder is written, synced and renamed. Everything in it has a
/// checksum, which is verified on reading: a file that is damaged or of another network is an error.
///
/// ```
/// # use kiln_autograd::Tape; use kiln_data::FashionMnist; use kiln_tensor::Device;
/// use kiln_nn::{Init, Module, Sgd};
/// use kiln_train::{Checkpoint, ToDevice};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?; let data = FashionMnist::embedded()?;
/// # let folder = tempfile::tempdir()?; let path = folder.path().join("checkpoint.safetensors");
/// let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
/// let mut optim = Sgd::new(model.parameters(), 0.01).momentum(0.9);
/// // Goes on from the file if it is there.
/// let mut done = 0;
/// if path.exists() {
///     let checkpoint = Checkpoint::open(&path, &device)?;
///     checkpoint.load_model(&model)?;
///     checkpoint.load_optimizer(&mut optim)?;
///     done = checkpoint.step();
/// }
/// let loader = data.train().loader(8).shuffle(42);
/// for batch in loader.epochs_from(0, done as usize, 1) {
///     let (images, labels) = batch?.to(&device)?;
///     let loss = model.forward(&Tape::train_seeded(done).constant(images))?.cross_entropy(&labels)?;
///     optim.step(&loss.backward()?)?;
///     done += 1;
///     Checkpoint::new(&device, done).model(&model).optimizer(&optim)?.save(&path)?;
/// #   if done == 2 { break; }
/// }
/// # assert_eq!(Checkpoint::open(&path, &device)?.step(), 2);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Checkpoint {
    /// Where it was read from, for errors.
    file: String,
    tensors: BTreeMap<String, Tensor>,
    saved: Saved,
}

/// What is no tensor.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
    format: u32,
    kiln_version: String,
    adapter: String,
    step: u64,
    settings: BTreeMap<String, String>,
    config: String,
    counts: BTreeMap<String, u64>,
    ema_updates: u64,
    optimizer_steps: BTreeMap<String, u64>,
    values: BTreeMap<String, serde_json::Value>,
}

/// What names of tensors start with.
const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const EMA: &str = "ema.";

impl Checkpoint {
    /// An empty one of a run that has made `step` steps.
    pub fn new(device: &Device, step: u64) -> Checkpoint {
        let saved = Saved {
            format: FORMAT,
            kiln_version: env!("CARGO_PKG_VERSION").to_string(),
            adapter: device.info().to_string(),
            step,
            ..Saved::default()
        };
        Checkpoint { file: "checkpoint".to_string(), tensors: BTreeMap::new(), saved }
    }

    /// Adds a model's parameters, buffers and counts. The tensors are the model's own: save before the next step changes them.
    pub fn model(mut self, model: &dyn Module) -> Checkpoint {
        for (name, entry) in model.entries() {
            match entry {
                Entry::Parameter(parameter) => self.tensors.insert(format!("{MODEL}{name}"), parameter.value()),
                Entry::Buffer(buffer) => self.tensors.insert(format!("{MODEL}{name}"), buffer.value()),
                Entry::Count(count) => {
                    self.saved.counts.insert(name, count.get());
                    None
                }
            };
        }
        self
    }

    /// Adds what an optimizer remembers.
    ///
    /// # Errors
    /// Those of the device.
    pub fn optimizer(mut self, optim: &dyn Optimizer) -> Result<Checkpoint> {
        let OptimizerState { steps, tensors } = optim.state()?;
        self.saved.optimizer_steps = steps;
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor)));
        Ok(self)
    }

    /// Adds the means of the weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn ema(mut self, ema: &Ema) -> Result<Checkpoint> {
        let EmaState { updates, tensors } = ema.state()?;
        self.saved.ema_updates = updates;
        self.tensors.extend(tensors.into_iter().map(|(name, tensor)| (format!("{EMA}{name}"), tensor)));
        Ok(self)
    }

    /// Adds settings that a run has to have in common with this one: see [`Checkpoint::check`].
    pub fn settings(mut self, settings: BTreeMap<String, String>) -> Checkpoint {
        self.saved.settings = settings;
        self
    }

    /// Adds the text of a configuration, for a person to read.
    pub fn config(mut self, config: impl Into<String>) -> Checkpoint {
        self.saved.config = config.into();
        self
    }

    /// Adds a value of one's own. A float has to be finite: JSON has no others.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that JSON cannot hold.
    pub fn put(mut self, key: &str, value: &impl Serialize) -> Result<Checkpoint> {
        let value = serde_json::to_value(value)
            .map_err(|error| Error::argument("Checkpoint", format!("{key} cannot be written as JSON: {error}")))?;
        self.saved.values.insert(key.to_string(), value);
        Ok(self)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Nn`] with [`kiln_nn::Error::Io`], where the old file is as it was; the device's first fault.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = serde_json::to_vec(&self.saved)
            .map_err(|error| Error::argument("Checkpoint", format!("it cannot be written as JSON: {error}")))?;
        let state = TensorSource::from_slice(&[bytes.len()], &bytes)?;
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.as_str(), TensorSource::from(tensor)));
        Ok(save_tensors(tensors.chain([(STATE, state)]), path, &BTreeMap::new())?)
    }

    /// Reads a file; the tensors go to a device.
    ///
    /// # Errors
    /// [`Error::Nn`] for a file that is missing, no safetensors file or does not match its checksums; [`Error::Damaged`] for one that is
    /// no checkpoint; the device's.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Checkpoint> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bad = |message: String| Error::Damaged { file: name.clone(), message, weights: Vec::new() };
        let mut file = StateFile::open(path)?;
        if file.shape(STATE).is_none() {
            return Err(bad(format!("it has no {STATE:?}, so it is no checkpoint of Kiln")));
        }
        let saved: Saved = serde_json::from_slice(&file.bytes(STATE)?).map_err(|error| bad(error.to_string()))?;
        if saved.format != FORMAT {
            let Saved { format, kiln_version, .. } = &saved;
            return Err(bad(format!(
                "it has format {format} of Kiln {kiln_version:?}, this version reads format {FORMAT}"
            )));
        }
        let mut counts = saved.counts.iter().chain(&saved.optimizer_steps);
        if let Some((name, count)) = counts.find(|(_, count)| **count > MOST) {
            return Err(bad(format!("{name} counts {count}, which no run reaches")));
        }
        for (what, count) in [("step", saved.step), ("update of the mean weights", saved.ema_updates)] {
            if count > MOST {
                return Err(bad(format!("it is of {what} {count}, which no run reaches")));
            }
        }
        let names: Vec<String> = file.names().filter(|name| *name != STATE).map(String::from).collect();
        let mut tensors = BTreeMap::new();
        for name in names {
            let tensor = file.tensor(&name, device)?;
            tensors.insert(name, tensor);
        }
        Ok(Checkpoint { file: name, tensors, saved })
    }

    /// The steps that are done.
    pub fn step(&self) -> u64 {
        self.saved.step
    }

    /// The text of the configuration.
    pub fn config_text(&self) -> &str {
        &self.saved.config
    }

    /// The version of Kiln that wrote it.
    pub fn kiln_version(&self) -> &str {
        &self.saved.kiln_version
    }

    /// The adapter that it was computed on. On another one a run goes on with other roundings.
    pub fn adapter(&self) -> &str {
        &self.saved.adapter
    }

    /// Compares the settings with those that were added by [`Checkpoint::settings`].
    ///
    /// # Errors
    /// [`Error::OtherRun`] with the first setting that differs.
    pub fn check(&self, settings: &BTreeMap<String, String>) -> Result<()> {
        let none = || "not set".to_string();
        for what in settings.keys().chain(self.saved.settings.keys()) {
            let (saved, given) = (self.saved.settings.get(what), settings.get(what));
            if saved != given {
                let text = |text: Option<&String>| text.cloned().unwrap_or_else(none);
                return Err(self.other_run(what, text(saved), text(given)));
            }
        }
        Ok(())
    }

    /// A value that was added by [`Checkpoint::put`]; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a value of another kind.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let bad = |error: serde_json::Error| self.damaged(format!("{key}: {error}"));
        self.saved.values.get(key).map(|value| T::deserialize(value).map_err(bad)).transpose()
    }

    /// Puts parameters, buffers and counts into a model.
    ///
    /// # Errors
    /// [`Error::OtherRun`] for a name that is missing or has another shape or type. Nothing is changed then.
    pub fn load_model(&self, model: &dyn Module) -> Result<()> {
        let entries = model.entries();
        let mut tensors = Vec::new();
        for (name, entry) in &entries {
            let (shape, dtype) = match entry {
                Entry::Parameter(parameter) => (*parameter.shape(), parameter.dtype()),
                Entry::Buffer(buffer) => (*buffer.shape(), buffer.dtype()),
                Entry::Count(_) if self.saved.counts.contains_key(name) => continue,
                Entry::Count(_) => return Err(self.other_run(name, "missing", "a count")),
            };
            let needed = format!("{dtype} {shape}");
            match self.tensors.get(&format!("{MODEL}{name}")) {
                Some(tensor) if *tensor.shape() == shape && tensor.dtype() == dtype => tensors.push(copy(tensor)?),
                Some(tensor) => {
                    return Err(self.other_run(name, format!("{} {}", tensor.dtype(), tensor.shape()), needed));
                }
                None => return Err(self.other_run(name, "missing", needed)),
            }
        }
        let known = |name: &str| entries.iter().any(|(entry, _)| entry == name);
        let mut names = self.tensors.keys().filter_map(|name| name.strip_prefix(MODEL));
        if let Some(name) = names.find(|name| !known(name)) {
            return Err(self.other_run(name, "a tensor", "missing"));
        }
        let mut tensors = tensors.into_iter();
        for (name, entry) in &entries {
            match entry {
                Entry::Count(count) => count.set(self.saved.counts.get(name).copied().unwrap_or_default()),
                Entry::Parameter(parameter) => tensors.next().map_or(Ok(()), |value| parameter.set(value))?,
                Entry::Buffer(buffer) => tensors.next().map_or(Ok(()), |value| buffer.set(value))?,
            }
        }
        Ok(())
    }

    /// Gives an optimizer back what it remembered.
    ///
    /// # Errors
    /// [`Error::Nn`] with [`kiln_nn::Error::OptimizerState`] for one of another kind. Nothing is changed then.
    pub fn load_optimizer(&self, optim: &mut dyn Optimizer) -> Result<()> {
        let state = OptimizerState { steps: self.saved.optimizer_steps.clone(), tensors: self.part(OPTIMIZER) };
        Ok(optim.load_state(&state)?)
    }

    /// Gives the means of the weights back.
    ///
    /// # Errors
    /// [`Error::Nn`] for other names or shapes. Nothing is changed then.
    pub fn load_ema(&self, ema: &mut Ema) -> Result<()> {
        Ok(ema.load_state(&EmaState { updates: self.saved.ema_updates, tensors: self.part(EMA) })?)
    }

    /// The tensors whose names start with this, without it.
    fn part(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let own = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()));
        self.tensors.iter().filter_map(own).collect()
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn damaged(&self, message: impl Into<String>) -> Error {
        Error::Damaged { file: self.file.clone(), message: message.into(), weights: Vec::new() }
    }

    pub(crate) fn other_run(&self, what: &str, saved: impl Into<String>, given: impl Into<String>) -> Error {
        Error::OtherRun { file: self.file.clone(), what: what.to_string(), saved: saved.into(), given: given.into() }
    }
}

/// The same elements in memory of their own, since training writes into it.
fn copy(tensor: &Tensor) -> Result<Tensor> {
    Ok(Tensor::cat(&[&tensor.reshape(tensor.numel())?], 0)?.reshape(*tensor.shape())?)
}
