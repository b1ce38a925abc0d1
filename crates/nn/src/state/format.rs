//! The safetensors format: eight bytes with the header's length, the header in JSON, the tensors' bytes one after the other.
//!
//! Files are untrusted. Every size is held against the file's own size before memory is taken for it, and tensors are read one
//! at a time. What is written is the same to the byte for the same tensors and metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::f16;
use kiln_tensor::{DType, Device, Element, MAX_RANK, Tensor};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest header that is read: 16 MiB, room for some 100,000 tensors.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The key of the header that holds text instead of a tensor.
const METADATA: &str = "__metadata__";

/// The file's names of element types.
const DTYPES: [(&str, DType); 5] =
    [("F32", DType::F32), ("F16", DType::F16), ("I32", DType::I32), ("U32", DType::U32), ("U8", DType::U8)];

#[derive(Serialize)]
struct Described<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

/// The bytes of a file with these tensors, in this order.
pub(crate) fn encode(tensors: &[(&str, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let json = |error: serde_json::Error| Error::argument("save", format!("the header cannot be written: {error}"));
    let mut header = format!("{{\"{METADATA}\":{}", serde_json::to_string(metadata).map_err(json)?);
    let mut end = 0u64;
    for (name, tensor) in tensors {
        let dtype = DTYPES.iter().find(|(_, dtype)| *dtype == tensor.dtype()).map_or("", |(name, _)| name);
        let start = end;
        end += (tensor.numel() * tensor.dtype().size()) as u64;
        let described = Described { dtype, shape: tensor.shape().dims(), data_offsets: [start, end] };
        header.push(',');
        header.push_str(&serde_json::to_string(name).map_err(json)?);
        header.push(':');
        header.push_str(&serde_json::to_string(&described).map_err(json)?);
    }
    header.push('}');
    // The data starts at a multiple of 8.
    let length = header.len().next_multiple_of(8);
    let mut bytes = Vec::with_capacity(8 + length + end as usize);
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(8 + length, b' ');
    for (_, tensor) in tensors {
        match tensor.dtype() {
            DType::F32 => append::<f32>(&mut bytes, tensor)?,
            DType::F16 => append::<f16>(&mut bytes, tensor)?,
            DType::I32 => append::<i32>(&mut bytes, tensor)?,
            DType::U32 => append::<u32>(&mut bytes, tensor)?,
            DType::U8 => append::<u8>(&mut bytes, tensor)?,
        }
    }
    Ok(bytes)
}

// The format is little-endian, and so is every machine with a GPU interface that Kiln uses.
fn append<T: Element>(bytes: &mut Vec<u8>, tensor: &Tensor) -> Result<()> {
    bytes.extend_from_slice(bytemuck::cast_slice(&tensor.to_vec::<T>()?));
    Ok(())
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
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| bad(format!("the header is not understood: {error}")))?;
        let (entries, end) = check(header.tensors, 8 + length).map_err(bad)?;
        if given < end {
            return Err(Error::Truncated { file: name, given, needed: end });
        }
        if given > end {
            return Err(bad(format!("the file has {given} bytes, its header declares {end}")));
        }
        Ok(StateFile { name, file, metadata: header.metadata, entries })
    }

    /// The text that was saved with the tensors.
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

/// A tensor as the header has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Declared>,
}

// By hand, since a derived map would silently keep the last of two equal names.
impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Header, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        header.metadata = map.next_value()?;
                    } else {
                        if header.tensors.insert(name.clone(), map.next_value()?).is_some() {
                            return Err(serde::de::Error::custom(format!("two tensors are named {name:?}")));
                        }
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// Checks that the tensors lie side by side from `first` on, each with the bytes that its shape and type need. Returns them with
/// the end of the last.
fn check(
    declared: BTreeMap<String, Declared>,
    first: u64,
) -> std::result::Result<(BTreeMap<String, Entry>, u64), String> {
    let mut entries = BTreeMap::new();
    for (name, Declared { dtype, shape, data_offsets: [start, end] }) in declared {
        let dtype = DTYPES.iter().find(|(known, _)| *known == dtype).map(|(_, dtype)| *dtype).ok_or_else(|| {
            format!(
                "{name} has elements of type {dtype:?}, which Kiln does not read; it reads F32, F16, I32, U32 and U8"
            )
        })?;
        if shape.len() > MAX_RANK {
            return Err(format!("{name} has {} axes, at most {MAX_RANK} are read", shape.len()));
        }
        let bytes = shape.iter().try_fold(dtype.size() as u64, |bytes, &dim| bytes.checked_mul(dim));
        if bytes.is_none() || end.checked_sub(start) != bytes {
            return Err(format!("{name} is {dtype} {shape:?} and lies at bytes {start}..{end}, which does not fit"));
        }
        let dims = shape.iter().map(|&dim| usize::try_from(dim)).collect::<std::result::Result<Vec<usize>, _>>();
        let (Some(start), Ok(shape)) = (start.checked_add(first), dims) else {
            return Err(format!("{name} lies at bytes {start}..{end}, beyond any file"));
        };
        entries.insert(name, Entry { dtype, shape, start, bytes: bytes.unwrap_or(0) });
    }
    let mut order: Vec<(&String, &Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.start, entry.bytes));
    let mut end = first;
    for (name, entry) in order {
        if entry.start != end {
            return Err(format!("{name} starts at byte {}, the tensor before it ends at {end}", entry.start));
        }
        // Cannot overflow: both ends were declared as 64-bit numbers behind a header of at most 16 MiB.
        end = end.saturating_add(entry.bytes);
    }
    Ok((entries, end))
}
