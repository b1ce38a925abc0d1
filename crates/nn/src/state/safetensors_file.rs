//! The headers of safetensors files, and their writing: the `safetensors` crate lays files out and checks headers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;

use half::f16;
use kiln_tensor::{DType, Element, MAX_RANK, Tensor};
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use super::format::{Contents, Entry, Raw};
use super::stored::Stored;
use crate::error::{Error, Result};

/// The longest header that is read: 2 MiB, room for some 10,000 tensors. Parsing takes about twelve times its size for a while.
pub const MAX_HEADER_BYTES: u64 = 2 << 20;

/// The one key of the header's text: the crate writes several in random order. Its value is a JSON object with all of them.
const METADATA: &str = "kiln";

/// The bytes of a file with these tensors.
pub(super) fn encode(tensors: &[(&str, Raw)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let failed = |error: SafeTensorError| Error::argument("save", format!("the weights cannot be written: {error}"));
    let metadata = serde_json::to_string(metadata).map_err(|error| failed(error.into()))?;
    let mut views = Vec::with_capacity(tensors.len());
    for (name, raw) in tensors {
        views.push((*name, TensorView::new(raw.stored.safetensors(), raw.shape.clone(), &raw.bytes).map_err(failed)?));
    }
    safetensors::serialize(views, Some(HashMap::from([(METADATA.to_string(), metadata)]))).map_err(failed)
}

/// A tensor's elements.
pub(super) fn download(tensor: &Tensor) -> Result<Raw> {
    // The format is little-endian, and so is every machine with a GPU interface that Kiln uses.
    fn bytes<T: Element>(tensor: &Tensor) -> Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(&tensor.to_vec::<T>()?).to_vec())
    }
    let (stored, bytes) = match tensor.dtype() {
        DType::F32 => (Stored::F32, bytes::<f32>(tensor)?),
        DType::F16 => (Stored::F16, bytes::<f16>(tensor)?),
        DType::I32 => (Stored::I32, bytes::<i32>(tensor)?),
        DType::U32 => (Stored::U32, bytes::<u32>(tensor)?),
        DType::U8 => (Stored::U8, bytes::<u8>(tensor)?),
    };
    Ok(Raw { stored, shape: tensor.shape().dims().to_vec(), bytes })
}

/// Reads the header of a file of `given` bytes.
pub(super) fn open(name: &str, mut file: &File, given: u64) -> Result<Contents> {
    let io = |source| Error::Io { file: name.to_owned(), action: "read", source };
    let bad = |message: String| Error::Header { file: name.to_owned(), message };
    if given < 8 {
        return Err(bad(format!("the file has {given} bytes, a header's length alone takes 8")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(bad(format!("the header would take {length} bytes, at most {MAX_HEADER_BYTES} are read")));
    }
    if 8 + length > given {
        return Err(Error::Truncated { file: name.to_owned(), given, needed: 8 + length });
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(io)?;
    // This checks that the tensors lie side by side, each with the bytes that its shape and type need. `SafeTensors::read_metadata`
    // would do the same, but takes the whole file in memory.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| bad(format!("the header is not understood: {error}")))?;
    let end = (8 + length).saturating_add(header.data_len() as u64);
    if given < end {
        return Err(Error::Truncated { file: name.to_owned(), given, needed: end });
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
    Ok(Contents { entries, metadata: text(&header).map_err(bad)? })
}

/// Where a tensor lies whose data follows a header that ends at `first`, or why it cannot be read.
fn entry(name: &str, info: &TensorInfo, first: u64) -> std::result::Result<Entry, String> {
    let TensorInfo { dtype, shape, data_offsets: (start, end) } = info;
    let Some(stored) = Stored::of_safetensors(*dtype) else {
        return Err(format!(
            "{name} has elements of type {dtype}, which Kiln does not read; it reads F64, F32, F16, BF16, I64, I32, I16, I8, U32, U8 \
             and BOOL"
        ));
    };
    if shape.len() > MAX_RANK {
        return Err(format!("{name} has {} axes, at most {MAX_RANK} are read", shape.len()));
    }
    let (start, bytes) = (first + *start as u64, (end - start) as u64);
    Ok(Entry { stored, shape: shape.clone(), strides: None, start, bytes })
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
