//! Weights files, whichever program wrote them: what they hold, and the tensors one at a time.
//!
//! Files are untrusted. Every size is held against the file's own size before memory is taken for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_tensor::{DType, Device, Tensor};

use super::fault::Fault;
use super::names::Names;
use super::source::TensorSource;
use super::stored::Stored;
use super::{checksum, other, safetensors_file, torch};
use crate::error::{Error, Result};

/// A tensor in a file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(super) stored: Stored,
    pub(crate) shape: Vec<usize>,
    /// In elements; `None` for a tensor that is contiguous.
    pub(super) strides: Option<Vec<usize>>,
    /// The first byte in the file, and the bytes from there to the last.
    pub(super) start: u64,
    pub(super) bytes: u64,
    /// What it lies in, where the file has a sum of that.
    pub(super) member: Option<Member>,
}

/// A part of a file with a checksum: a member of a zip archive, in which several tensors may lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) start: u64,
    pub(super) length: u64,
    /// CRC-32, as in zip archives.
    pub(super) sum: Option<u32>,
}

impl Entry {
    pub(crate) fn dtype(&self) -> DType {
        self.stored.dtype()
    }
}

/// A tensor's elements as a file has them, contiguous.
pub(super) struct Raw {
    pub(super) stored: Stored,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// What a file's header says.
pub(super) struct Contents {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) metadata: BTreeMap<String, String>,
    /// By the tensors' names; empty for a file without checksums.
    pub(super) checksums: BTreeMap<String, u128>,
}

/// A weights file whose header was read and checked: safetensors, or PyTorch's `.pth` and `.pt` in either form. The content decides
/// which it is, not the name. Tensors are read when they are asked for.
///
/// A file that Kiln wrote has checksums: opening it verifies names, types, shapes and metadata, and reading a tensor verifies its
/// elements. Files without checksums, of other programs or of earlier versions of Kiln, are read as they are.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::{Init, Linear, StateDict, StateFile};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// # let folder = tempfile::tempdir().unwrap(); let path = folder.path().join("linear.safetensors");
/// let layer = Linear::new(&device, &Init::seed(42), 3, 2)?;
/// layer.save_with(&path, &[("model".to_string(), "linear".to_string())].into())?;
///
/// let mut file = StateFile::open(&path)?;
/// assert_eq!(file.metadata().get("model").map(String::as_str), Some("linear"));
/// assert_eq!(file.names().collect::<Vec<_>>(), ["bias", "weight"]);
/// assert_eq!(file.tensor("bias", &device)?.dims::<1>()?, [2]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct StateFile {
    name: String,
    file: File,
    metadata: BTreeMap<String, String>,
    entries: BTreeMap<String, Entry>,
    checksums: BTreeMap<String, u128>,
    path: Option<String>,
    others: Vec<String>,
    no_tensors: Vec<String>,
    outside: BTreeSet<String>,
    /// Where the members start that were found to have their sum.
    checked: Mutex<BTreeSet<u64>>,
}

impl StateFile {
    /// Opens a file and reads its header.
    ///
    /// Of a checkpoint of PyTorch the state dict is read. It may be all that was saved, or lie in dicts beside other things: a dict with
    /// a tensor of more than one element may be the state dict (a best accuracy does not make one). The only such dict is taken. Of several, the one under a usual name: `state_dict`, `model_state_dict`, `model_state`, `model`, `module`, `net`,
    /// `network`, `net_state_dict`, `weights`, `params`, `state`, in this order, and only then the usual names of averaged weights, such
    /// as `model_ema`. Anything else is an error that lists them. [`StateFile::path`] tells which was taken, and
    /// [`StateFile::open_at`] takes another. Classes other than those of tensors are not built, and nothing in the file is executed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::Truncated`] for a file that ends too early, [`Error::Header`] for a damaged header of
    /// a safetensors file, [`Error::Checksum`] for one that is not the one that Kiln wrote, [`Error::Damaged`] for a damaged file of PyTorch, [`Error::Torch`] for one without a state dict, and
    /// [`Error::NotWeights`] for anything else, with what it seems to be.
    pub fn open(path: impl AsRef<Path>) -> Result<StateFile> {
        StateFile::open_with(path.as_ref(), None, true)
    }

    /// As [`StateFile::open`], without verifying any checksum: for a file that another program changed on purpose but left the
    /// checksums in. [`StateFile::save`] then writes it with new ones.
    ///
    /// # Errors
    /// As [`StateFile::open`], but for [`Error::Checksum`].
    pub fn open_unverified(path: impl AsRef<Path>) -> Result<StateFile> {
        StateFile::open_with(path.as_ref(), None, false)
    }

    /// As [`StateFile::open`], with the state dict at `key` of a checkpoint of PyTorch: names of dicts with points between, such as
    /// `model_ema` or `teacher.state_dict`, and a point alone for the outermost dict.
    ///
    /// # Errors
    /// As [`StateFile::open`], and [`Error::Torch`] where there are no tensors.
    pub fn open_at(path: impl AsRef<Path>, key: &str) -> Result<StateFile> {
        StateFile::open_with(path.as_ref(), Some(key), true)
    }

    fn open_with(path: &Path, key: Option<&str>, verify: bool) -> Result<StateFile> {
        let name = path.display().to_string();
        let io = |action: &'static str| {
            let file = name.clone();
            move |source| Error::Io { file, action, source }
        };
        // Asked before opening: opening a pipe that nobody writes to would wait.
        let metadata = std::fs::metadata(path).map_err(io("open"))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { file: name });
        }
        let given = metadata.len();
        let mut file = File::open(path).map_err(io("open"))?;
        let mut start = Vec::new();
        (&file).take(other::START).read_to_end(&mut start).map_err(io("read"))?;
        file.rewind().map_err(io("read"))?;
        let of_torch = if start.starts_with(torch::ZIP) {
            Some(torch::zip(&file, given, key))
        } else if start.starts_with(torch::LEGACY) {
            Some(torch::legacy(&file, given, key))
        } else {
            None
        };
        let (metadata, checksums, checkpoint) = match of_torch {
            Some(read) => (BTreeMap::new(), BTreeMap::new(), read.map_err(|fault| fault.of(&name))?),
            None => {
                if let Some(error) = other::error(&file, &start, given, path) {
                    return Err(error);
                }
                file.rewind().map_err(io("read"))?;
                if key.is_some() {
                    let fault =
                        Fault::unsuitable("it is a safetensors file, which holds one state dict", "leave the key out");
                    return Err(fault.of(&name));
                }
                let Contents { entries, metadata, checksums } = safetensors_file::open(&name, &file, given, verify)?;
                (metadata, checksums, torch::Checkpoint { entries, ..torch::Checkpoint::default() })
            }
        };
        let torch::Checkpoint { entries, path, others, no_tensors } = checkpoint;
        let (outside, checked) = (BTreeSet::new(), Mutex::default());
        Ok(StateFile { name, file, metadata, entries, checksums, path, others, no_tensors, outside, checked })
    }

    /// Where the state dict is in a checkpoint of PyTorch, such as `state_dict`; `None` where it is all of the file.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Other dicts of tensors in a checkpoint of PyTorch, by their paths: at most eight.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// What the state dict of PyTorch has beside its tensors, which is not read: at most 64 names.
    pub fn no_tensors(&self) -> &[String] {
        &self.no_tensors
    }

    /// Gives the tensors the names that a model has, where the file's differ by what wraps it: `module.` of `DataParallel`, before a name
    /// or inside it (`features.module.0.weight`), `_orig_mod.` of `torch.compile`, or one name before all, such as Lightning's `model.`.
    /// Names stay as they are unless more of the model's are found this way, and more than half of them. Returns what was
    /// removed; empty where nothing was.
    pub fn fit_names<'a>(&mut self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let wanted = wanted.into_iter().collect();
        let Some(names) = Names::find(self.entries.keys().map(String::as_str), &wanted) else { return Vec::new() };
        let mut renamed = BTreeMap::new();
        let mut checksums = BTreeMap::new();
        let mut outside = BTreeSet::new();
        for (name, entry) in &self.entries {
            let own = names.rename(name).unwrap_or_else(|| {
                outside.insert(name.clone());
                name.clone()
            });
            checksums.extend(self.checksums.get(name).map(|checksum| (own.clone(), *checksum)));
            if renamed.insert(own, entry.clone()).is_some() {
                return Vec::new();
            }
        }
        (self.entries, self.checksums, self.outside) = (renamed, checksums, outside);
        names.removed()
    }

    /// Whether a tensor lies beside the model, by [`StateFile::fit_names`].
    pub(super) fn is_outside(&self, name: &str) -> bool {
        self.outside.contains(name)
    }

    /// The text that was saved with the tensors. Kiln keeps all of it as one JSON object under the key `kiln` of the header's
    /// `__metadata__`, where other programs find it; in a file without this key, what `__metadata__` has. Checksums are not in it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensors' names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The type and shape of a tensor. Types that Kiln lacks are told as those that they become: bf16 and f64 as f32, i64 as i32.
    pub fn shape(&self, name: &str) -> Option<(DType, &[usize])> {
        self.entries.get(name).map(|entry| (entry.dtype(), entry.shape.as_slice()))
    }

    /// Reads a tensor to a device. 64 bits become 32: floats are rounded, of integers the lower half is kept.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none of this name, [`Error::Io`], [`Error::Truncated`], [`Error::Checksum`], and the
    /// device's errors.
    pub fn tensor(&mut self, name: &str, device: &Device) -> Result<Tensor> {
        let raw = self.raw(name)?;
        raw.stored.upload(raw.stored.dtype(), device, &raw.shape, &raw.bytes)
    }

    /// Reads a tensor's elements to memory: contiguous, little-endian, in the type that the file has them in. Needs no device.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none of this name, [`Error::Io`], [`Error::Truncated`], [`Error::Checksum`].
    pub fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        Ok(self.raw(name)?.bytes)
    }

    /// Reads the whole file and verifies the checksum of every tensor. Of a file without checksums it shows that all of it can be read.
    ///
    /// # Errors
    /// As [`StateFile::bytes`].
    pub fn verify(&mut self) -> Result<()> {
        self.entries.keys().try_for_each(|name| self.raw(name).map(drop))
    }

    /// Writes everything to a safetensors file, each tensor in the type that it has here, with the metadata and new checksums. Needs no
    /// device and holds one tensor at a time in memory. The file appears whole or not at all, and may replace the one that is read.
    ///
    /// ```
    /// # use kiln_tensor::Device; use kiln_nn::{Init, Linear, StateDict, StateFile};
    /// # fn main() -> Result<(), kiln_nn::Error> {
    /// # let device = Device::open_default()?;
    /// # let folder = tempfile::tempdir().unwrap(); let from = folder.path().join("a"); let to = folder.path().join("b");
    /// # Linear::new(&device, &Init::seed(42), 3, 2)?.save(&from)?;
    /// // From a .pth or .safetensors file.
    /// StateFile::open(&from)?.save(&to)?;
    /// # StateFile::open(&to)?.verify()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`StateFile::bytes`]; [`Error::Io`] for the file to write, which is then as it was.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let tensors =
            self.entries.iter().map(|(name, entry)| (name.as_str(), TensorSource::of_file(self, name, entry)));
        safetensors_file::write(tensors.collect(), path.as_ref(), self.metadata.clone())
    }

    /// As [`StateFile::tensor`], a float as this type of float.
    pub(super) fn tensor_as(&mut self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let raw = self.raw(name)?;
        raw.stored.upload(dtype, device, &raw.shape, &raw.bytes)
    }

    /// Reads a scalar of whole numbers that counts something.
    pub(super) fn count(&mut self, name: &str) -> Result<u64> {
        let raw = self.raw(name)?;
        let value = match (raw.stored, raw.bytes.as_slice()) {
            (Stored::I64, bytes) => bytes.try_into().map(i64::from_le_bytes).unwrap_or_default(),
            (Stored::I32, bytes) => bytes.try_into().map(i32::from_le_bytes).unwrap_or_default().into(),
            (Stored::I16, bytes) => bytes.try_into().map(i16::from_le_bytes).unwrap_or_default().into(),
            (_, bytes) => bytes.try_into().map(i8::from_le_bytes).unwrap_or_default().into(),
        };
        let message = || format!("{name} has the value {value}, where a number of at least 0 is needed");
        u64::try_from(value).map_err(|_| Error::Header { file: self.name.clone(), message: message() })
    }

    /// Reads a tensor's elements, and verifies them. Moves the file's cursor, so that callers hold the file for themselves.
    pub(super) fn raw(&self, name: &str) -> Result<Raw> {
        let Some(Entry { stored, shape, strides, start, bytes, member }) = self.entries.get(name).cloned() else {
            return Err(Error::argument("StateFile", format!("{} has no tensor named {name:?}", self.name)));
        };
        let io = |source| Error::Io { file: self.name.clone(), action: "read", source };
        let data = part(&self.file, start, bytes).map_err(io)?;
        if data.len() as u64 != bytes {
            let given = start + data.len() as u64;
            return Err(Error::Truncated { file: self.name.clone(), given, needed: start + bytes });
        }
        if self.checksums.get(name).is_some_and(|checksum| *checksum != checksum::of_bytes(&data)) {
            let message = format!("the tensor {name} does not match its checksum");
            return Err(Error::Checksum { file: self.name.clone(), message });
        }
        if let Some(member) = member {
            self.check(name, member, (start, &data))?;
        }
        let bytes = match strides {
            None => data,
            Some(strides) => gather(&data, &shape, &strides, stored.size()),
        };
        Ok(Raw { stored, shape, bytes })
    }
}

impl StateFile {
    fn checked(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a member against its sum, once. What was read of it, from where, need not be read again if it is all of it.
    fn check(&self, name: &str, member: Member, (from, data): (u64, &[u8])) -> Result<()> {
        let Member { start, length, sum } = member;
        let Some(sum) = sum.filter(|_| !self.checked().contains(&start)) else { return Ok(()) };
        let mut hasher = crc32fast::Hasher::new();
        if (from, data.len() as u64) == (start, length) {
            hasher.update(data);
        } else {
            let io = |source| Error::Io { file: self.name.clone(), action: "read", source };
            let mut file = &self.file;
            file.seek(SeekFrom::Start(start)).map_err(io)?;
            let mut rest = file.take(length);
            let mut block = [0; 1 << 13];
            loop {
                match rest.read(&mut block).map_err(io)? {
                    0 => break,
                    read => hasher.update(&block[..read]),
                }
            }
        }
        if hasher.finalize() != sum {
            return Err(Error::Damaged {
                file: self.name.clone(),
                message: format!(
                    "the {length} bytes that {name} lies in are not those that the zip archive has the sum of"
                ),
            });
        }
        self.checked().insert(start);
        Ok(())
    }
}

/// The bytes of a part of a file, which had as many when it was opened; fewer if it has become shorter. They are taken memory for at
/// once: growing would take twice as much for a while.
pub(super) fn part(mut file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let no_memory =
        || io::Error::new(io::ErrorKind::OutOfMemory, format!("{length} bytes of memory are not to be had"));
    bytes.try_reserve_exact(usize::try_from(length).map_err(|_| no_memory())?).map_err(|_| no_memory())?;
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The elements of a view, in the order of its shape. `data` holds them all.
fn gather(data: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let numel: usize = shape.iter().product();
    let mut gathered = Vec::with_capacity(numel * size);
    let mut index = vec![0; shape.len()];
    for _ in 0..numel {
        let at: usize = index.iter().zip(strides).map(|(&i, &stride)| i * stride).sum::<usize>() * size;
        gathered.extend_from_slice(&data[at..at + size]);
        // Counts up, the last axis first.
        for (i, &side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < side {
                break;
            }
            *i = 0;
        }
    }
    gathered
}
