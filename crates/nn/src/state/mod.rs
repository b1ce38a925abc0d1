//! State dicts in weights files.

mod atomic;
mod checksum;
mod choose;
mod fault;
mod format;
#[cfg(feature = "hub")]
mod hub;
mod names;
mod other;
mod pickle;
mod safetensors_file;
mod source;
mod stored;
mod torch;

pub use atomic::write_atomically;
pub use format::StateFile;
#[cfg(feature = "hub")]
pub use hub::Hub;
pub use safetensors_file::MAX_HEADER_BYTES;
pub use source::TensorSource;
pub use torch::MAX_PICKLE_BYTES;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use kiln_tensor::{DType, Tensor};

use crate::buffer::{Buffer, Count, Entry};
use crate::error::{Error, Problem, Result};
use crate::module::Module;
use crate::parameter::Parameter;

/// How strictly a state dict has to fit a model.
///
/// ```
/// use kiln_nn::LoadOptions;
/// // A network for other classes: all but its last layer comes from the file.
/// let options = LoadOptions::new().except("classifier.6.");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct LoadOptions {
    partial: bool,
    mismatched: bool,
    except: Vec<String>,
}

impl LoadOptions {
    /// Strict: the file and the model have the same names, with the same shapes. Floats of another type are converted.
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// What has the same name is loaded; [`Loaded`] tells what was not. Shapes and types still have to fit.
    pub fn partial() -> LoadOptions {
        LoadOptions { partial: true, ..LoadOptions::default() }
    }

    /// What has another shape or type in the file keeps the model's value; [`Loaded::mismatched`] tells what that is.
    pub fn allow_mismatched(mut self) -> LoadOptions {
        self.mismatched = true;
        self
    }

    /// Parameters whose names start like this keep the model's values, and the file may have what it wants under such names. Called
    /// again, it adds to them.
    pub fn except(mut self, prefix: impl Into<String>) -> LoadOptions {
        self.except.push(prefix.into());
        self
    }

    fn excepts(&self, name: &str) -> bool {
        self.except.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// What a load left out, and how it took names. After a strict one without exceptions it is empty, unless names in the file had something
/// before them: then tensors without that, which belong to other parts of the program that wrote it, are in `unexpected`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "parameters that are missing in the file keep their values"]
pub struct Loaded {
    /// Parameters and buffers of the model that the file does not have, in the model's order.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have, in alphabetical order.
    pub unexpected: Vec<String>,
    /// Parameters that have another shape or type in the file, in the model's order.
    pub mismatched: Vec<String>,
    /// Parameters that were to be left as they are, in the model's order.
    pub excepted: Vec<String>,
    /// What was removed from the names in the file, such as `module.`: see [`StateFile::fit_names`].
    pub removed: Vec<String>,
}

/// Saving and loading of a module: its state dict, the parameters and buffers by their full names, in a file. Every module has it.
///
/// ```
/// # use kiln_tensor::Device;
/// use kiln_nn::{Init, Linear, StateDict};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// # let folder = tempfile::tempdir().unwrap(); let path = folder.path().join("linear.safetensors");
/// let layer = Linear::new(&device, &Init::seed(1), 3, 2)?;
/// layer.save(&path)?;
/// let other = Linear::new(&device, &Init::seed(2), 3, 2)?;
/// other.load(&path)?;
/// assert_eq!(layer.weight().value().to_vec::<f32>()?, other.weight().value().to_vec::<f32>()?);
/// # Ok(()) }
/// ```
pub trait StateDict: Module {
    /// Writes all parameters and buffers to a safetensors file, by their full names, with checksums that reading verifies. The file
    /// appears whole or not at all: a temporary file in the same folder is written, synced and renamed. One tensor at a time is in the
    /// processor's memory.
    ///
    /// # Errors
    /// [`Error::Io`], and the device's first fault.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(path, &BTreeMap::new())
    }

    /// As [`StateDict::save`], with text about the model: its name, its classes. The version of Kiln is added as
    /// `kiln_version`. All of it is one JSON object under the key `kiln` of the file's metadata, so that the same weights and text
    /// give the same bytes; [`StateFile::metadata`] reads it.
    ///
    /// # Errors
    /// As [`StateDict::save`].
    fn save_with(&self, path: impl AsRef<Path>, metadata: &BTreeMap<String, String>) -> Result<()> {
        write_entries(&self.entries(), path.as_ref(), metadata)
    }

    /// Reads all parameters and buffers from a safetensors file, or from a `.pth` or `.pt` of PyTorch. Strict: the file has the
    /// name of each with its shape and type (any float for a float), and no other. Nothing is changed if it does not. A count may
    /// be missing, since old files of PyTorch have none.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with every difference; [`Error::Checksum`] for a file that is not what Kiln wrote; [`Error::Io`],
    /// [`Error::NotAFile`], [`Error::Truncated`], [`Error::Header`] and [`Error::Torch`] for one that cannot be read.
    fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        self.load_with(path, LoadOptions::new()).map(|_| ())
    }

    /// As [`StateDict::load`], as strict as the options say.
    ///
    /// # Errors
    /// As [`StateDict::load`].
    fn load_with(&self, path: impl AsRef<Path>, options: LoadOptions) -> Result<Loaded> {
        read_entries(&self.entries(), path.as_ref(), &options)
    }
}

impl<M: Module + ?Sized> StateDict for M {}

fn write_entries(entries: &[(String, Entry)], path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    let source = |entry: &Entry| match entry {
        Entry::Parameter(parameter) => TensorSource::from(&parameter.value()),
        Entry::Buffer(buffer) => TensorSource::from(&buffer.value()),
        Entry::Count(count) => TensorSource::of_count(count.get()),
    };
    let tensors = entries.iter().map(|(name, entry)| (name.as_str(), source(entry)));
    safetensors_file::write(tensors.collect(), path, metadata.clone())
}

/// Writes tensors by name to a safetensors file, with text about them and checksums: what [`StateFile`] reads. The file appears whole or
/// not at all. One tensor at a time is in the processor's memory.
///
/// ```
/// # use kiln_tensor::{Device, Tensor}; use kiln_nn::{StateFile, save_tensors};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// # let folder = tempfile::tempdir().unwrap(); let path = folder.path().join("vectors.safetensors");
/// let vectors = Tensor::from_slice(&device, [2, 2], &[1.0f32, 2.0, 3.0, 4.0])?;
/// save_tensors([("vectors", &vectors)], &path, &[("of".to_string(), "two images".to_string())].into())?;
/// assert_eq!(StateFile::open(&path)?.tensor("vectors", &device)?.dims::<2>()?, [2, 2]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] for a name that is there twice, for more names than a header can hold, and for the metadata key `kiln_checksums`,
/// which is Kiln's own; [`Error::Io`], and the device's first fault. An older file is then as it was.
pub fn save_tensors<'a, S: Into<TensorSource<'a>>>(
    tensors: impl IntoIterator<Item = (&'a str, S)>,
    path: impl AsRef<Path>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.into()));
    safetensors_file::write(tensors.collect(), path.as_ref(), metadata.clone())
}

/// Whether a tensor of a file can become a value of this type.
fn converts(from: DType, to: DType) -> bool {
    from == to || from.is_float() && to.is_float()
}

/// What an entry is to become.
enum Loading<'a> {
    Parameter(&'a Parameter, Tensor),
    Buffer(&'a Buffer, Tensor),
    Count(&'a Count, u64),
}

/// The type and shape of an entry. A count is an i64, which is known by the type that it is read as.
fn needed(entry: &Entry) -> (DType, &[usize]) {
    match entry {
        Entry::Parameter(parameter) => (parameter.dtype(), parameter.shape().dims()),
        Entry::Buffer(buffer) => (buffer.dtype(), buffer.shape().dims()),
        Entry::Count(_) => (DType::I32, &[]),
    }
}

fn read_entries(entries: &[(String, Entry)], path: &Path, options: &LoadOptions) -> Result<Loaded> {
    let mut file = StateFile::open(path)?;
    let wanted = entries.iter().filter(|(name, entry)| !matches!(entry, Entry::Count(_)) && !options.excepts(name));
    let removed = file.fit_names(wanted.map(|(name, _)| name.as_str()));
    let mut loaded = Loaded { removed, ..Loaded::default() };
    let mut problems = Vec::new();
    let mut chosen = Vec::new();
    for (name, entry) in entries {
        let (dtype, shape) = needed(entry);
        match (file.shape(name), entry) {
            _ if options.excepts(name) => loaded.excepted.push(name.clone()),
            // PyTorch before 0.4.1 did not count.
            (None, Entry::Count(_)) => {}
            (None, _) => loaded.missing.push(name.clone()),
            (Some((given, size)), _) if converts(given, dtype) && size == shape => chosen.push((name, entry)),
            (Some(_), _) if options.mismatched => loaded.mismatched.push(name.clone()),
            (Some((given, size)), _) => problems.push(Problem::Differs {
                name: name.clone(),
                given: format!("{given} {size:?}"),
                needed: format!("{dtype} {shape:?}"),
            }),
        }
    }
    let known: HashSet<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let unknown = |name: &&str| !known.contains(name) && !options.excepts(name);
    loaded.unexpected.extend(file.names().filter(unknown).map(String::from));
    if !options.partial {
        for (name, entry) in entries.iter().filter(|(name, _)| loaded.missing.contains(name)) {
            let (dtype, shape) = needed(entry);
            problems.push(Problem::Missing { name: name.clone(), needed: format!("{dtype} {shape:?}") });
        }
        for name in loaded.unexpected.iter().filter(|name| !file.is_outside(name)) {
            let given = file.shape(name).map(|(dtype, shape)| format!("{dtype} {shape:?}")).unwrap_or_default();
            problems.push(Problem::Unexpected { name: name.clone(), given });
        }
    }
    if !problems.is_empty() {
        return Err(Error::Mismatch { file: path.display().to_string(), problems });
    }
    // Everything is read and uploaded before anything is changed.
    let mut values = Vec::new();
    for (name, entry) in chosen {
        let mut tensor = |old: &Tensor| file.tensor_as(name, old.dtype(), old.device());
        values.push(match entry {
            Entry::Parameter(parameter) => Loading::Parameter(parameter, tensor(&parameter.value())?),
            Entry::Buffer(buffer) => Loading::Buffer(buffer, tensor(&buffer.value())?),
            Entry::Count(count) => Loading::Count(count, file.count(name)?),
        });
    }
    for value in values {
        match value {
            Loading::Parameter(parameter, value) => parameter.set(value)?,
            Loading::Buffer(buffer, value) => buffer.set(value)?,
            Loading::Count(count, value) => count.set(value),
        }
    }
    Ok(loaded)
}
