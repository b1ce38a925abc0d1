//! Weights in safetensors files: the `safetensors` crate lays files out and reads headers, this reads tensors and moves them.
//!
//! Files are untrusted. Every size is held against the file's own size before memory is taken for it, and tensors are read one
//! at a time. What is written is the same to the byte for the same tensors and metadata.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::f16;
use kiln_tensor::{DType, Device, Element, MAX_RANK, Tensor};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError};

use crate::error::{Error, Result};

/// The longest header that is read: 2 MiB, room for some 10,000 tensors. Parsing takes about twelve times its size for a while.
pub const MAX_HEADER_BYTES: u64 = 2 << 20;

/// The one key of the header's text: the crate writes several in random order. Its value is a JSON object with all of them.
const METADATA: &str = "kiln";

/// The bytes of a file with these tensors.
pub(crate) fn encode(tensors: &[(&str, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let failed = |error: SafeTensorError| Error::argument("save", format!("the weights cannot be written: {error}"));
    let metadata = serde_json::to_string(metadata).map_err(|error| failed(error.into()))?;
    let data = tensors.iter().map(|(_, tensor)| download(tensor)).collect::<Result<Vec<_>>>()?;
    let mut views = Vec::with_capacity(tensors.len());
    for ((name, tensor), (dtype, data)) in tensors.iter().zip(&data) {
        views.push((*name, TensorView::new(*dtype, tensor.shape().dims().to_vec(), data).map_err(failed)?));
    }
    safetensors::serialize(views, Some(HashMap::from([(METADATA.to_string(), metadata)]))).map_err(failed)
}

fn download(tensor: &Tensor) -> Result<(Dtype, Vec<u8>)> {
    // The format is little-endian, and so is every machine with a GPU interface that Kiln uses.
    fn bytes<T: Element>(tensor: &Tensor) -> Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(&tensor.to_vec::<T>()?).to_vec())
    }
    Ok(match tensor.dtype() {
        DType::F32 => (Dtype::F32, bytes::<f32>(tensor)?),
        DType::F16 => (Dtype::F16, bytes::<f16>(tensor)?),
        DType::I32 => (Dtype::I32, bytes::<i32>(tensor)?),
        DType::U32 => (Dtype::U32, bytes::<u32>(tensor)?),
        DType::U8 => (Dtype::U8, bytes::<u8>(tensor)?),
    })
}

/// A tensor in a file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// The first byte in the file, and the bytes.
    start: u64,
    bytes: u64,
}

impl Entry {
    pub(crate) fn describe(&self) -> String {
        format!("{} {:?}", self.dtype, self.shape)
    }
}

/// A safetensors file whose header was read and checked. Tensors are read when they are asked for.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::{Init, Linear, Module, StateFile};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default().map_err(kiln_tensor::Error::from)?;
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
}

impl StateFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`], [`Error::Truncated`] for a file that ends too early, [`Error::Header`] for anything that
    /// is not a safetensors file.
    pub fn open(path: &Path) -> Result<StateFile> {
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
        let bad = |message: String| Error::Header { file: name.clone(), message };
        if given < 8 {
            return Err(bad(format!("the file has {given} bytes, a header's length alone takes 8")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io("read"))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES {
            return Err(bad(format!("the header would take {length} bytes, at most {MAX_HEADER_BYTES} are read")));
        }
        if 8 + length > given {
            return Err(Error::Truncated { file: name, given, needed: 8 + length });
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io("read"))?;
        // This checks that the tensors lie side by side, each with the bytes that its shape and type need. `SafeTensors::read_metadata`
        // would do the same, but takes the whole file in memory.
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| bad(format!("the header is not understood: {error}")))?;
        let end = (8 + length).saturating_add(header.data_len() as u64);
        if given < end {
            return Err(Error::Truncated { file: name, given, needed: end });
        }
        if given > end {
            return Err(bad(format!("the file has {given} bytes, its header declares {end}")));
        }
        // In the names' order, so that of several faults the same one is told each time.
        let entries = BTreeMap::from_iter(header.tensors())
            .into_iter()
            .map(|(name, info)| entry(&name, info, 8 + length).map(|entry| (name, entry)))
            .collect::<std::result::Result<_, _>>()
            .map_err(bad)?;
        let metadata = text(&header).map_err(bad)?;
        Ok(StateFile { name, file, metadata, entries })
    }

    /// The text that was saved with the tensors. Kiln keeps all of it as one JSON object under the key `kiln` of the header's
    /// `__metadata__`, where other programs find it; in a file without this key, what `__metadata__` has.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensors' names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The type and shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<(DType, &[usize])> {
        self.entries.get(name).map(|entry| (entry.dtype, entry.shape.as_slice()))
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Reads a tensor to a device.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none of this name, [`Error::Io`], and the device's errors.
    pub fn tensor(&mut self, name: &str, device: &Device) -> Result<Tensor> {
        let Some(Entry { dtype, shape, start, bytes }) = self.entries.get(name).cloned() else {
            return Err(Error::argument("StateFile", format!("{} has no tensor named {name:?}", self.name)));
        };
        let io = |source| Error::Io { file: self.name.clone(), action: "read", source };
        // The file was at least this long when it was opened; it is not read beyond what it has now.
        let mut data = Vec::new();
        self.file.seek(SeekFrom::Start(start)).map_err(io)?;
        (&self.file).take(bytes).read_to_end(&mut data).map_err(io)?;
        if data.len() as u64 != bytes {
            let given = start + data.len() as u64;
            return Err(Error::Truncated { file: self.name.clone(), given, needed: start + bytes });
        }
        match dtype {
            DType::F32 => upload::<f32>(device, &shape, &data),
            DType::F16 => upload::<f16>(device, &shape, &data),
            DType::I32 => upload::<i32>(device, &shape, &data),
            DType::U32 => upload::<u32>(device, &shape, &data),
            DType::U8 => upload::<u8>(device, &shape, &data),
        }
    }
}

fn upload<T: Element>(device: &Device, shape: &[usize], data: &[u8]) -> Result<Tensor> {
    // A copy, since the bytes may lie at an address that the type cannot have.
    Ok(Tensor::from_slice(device, shape, &bytemuck::pod_collect_to_vec::<u8, T>(data))?)
}

/// Where a tensor lies whose data follows a header that ends at `first`, or why it cannot be read.
fn entry(name: &str, info: &TensorInfo, first: u64) -> std::result::Result<Entry, String> {
    let TensorInfo { dtype, shape, data_offsets: (start, end) } = info;
    let dtype = match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        Dtype::U8 => DType::U8,
        _ => {
            return Err(format!(
                "{name} has elements of type {dtype}, which Kiln does not read; it reads F32, F16, I32, U32 and U8"
            ));
        }
    };
    if shape.len() > MAX_RANK {
        return Err(format!("{name} has {} axes, at most {MAX_RANK} are read", shape.len()));
    }
    Ok(Entry { dtype, shape: shape.clone(), start: first + *start as u64, bytes: (end - start) as u64 })
}

/// The text beside the tensors. Keys that another program put beside Kiln's are kept.
fn text(header: &Metadata) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut text = BTreeMap::from_iter(header.metadata().clone().unwrap_or_default());
    if let Some(own) = text.remove(METADATA) {
        let own: BTreeMap<String, String> = serde_json::from_str(&own)
            .map_err(|error| format!("the metadata under {METADATA:?} is no JSON object of text: {error}"))?;
        text.extend(own);
    }
    Ok(text)
}
