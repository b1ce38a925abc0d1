//! Safetensors files: reading and verifying their headers, and writing them. The `safetensors` crate checks the headers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use kiln_tensor::MAX_RANK;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::atomic::{failed, replace};
use super::checksum::{self, Checksums, Covered};
use super::format::{Contents, Entry};
use super::source::TensorSource;
use super::stored::Stored;
use crate::error::{Error, Result};

/// The longest header that is read or written: 2 MiB, room for some 10,000 tensors. Parsing takes about twelve times its size for a
/// while.
pub const MAX_HEADER_BYTES: u64 = 2 << 20;

/// The key of the header's text, a JSON object: so Kiln's keys do not mix with those of other programs.
const METADATA: &str = "kiln";

/// The key of all text in a header. No tensor can have this name.
const RESERVED: &str = "__metadata__";

/// Writes a file with these tensors. The same tensors and text give the same bytes. One tensor at a time is in memory: the header is
/// written a second time when their checksums are known.
pub(super) fn write(
    mut tensors: Vec<(&str, TensorSource<'_>)>,
    path: &Path,
    mut text: BTreeMap<String, String>,
) -> Result<()> {
    let refused = |message: String| Error::argument("save", message);
    if text.contains_key(checksum::KEY) {
        return Err(refused(format!("the metadata key {:?} is Kiln's own; use another key", checksum::KEY)));
    }
    text.insert("kiln_version".to_string(), env!("CARGO_PKG_VERSION").to_string());
    text.insert(checksum::KEY.to_string(), checksum::ALGORITHM.to_string());
    // The order that the safetensors crate gives the data: with the largest elements first, all are aligned.
    tensors.sort_by(|(name, a), (other, b)| b.stored.safetensors().cmp(&a.stored.safetensors()).then(name.cmp(other)));
    let mut infos = BTreeMap::new();
    let mut end = 0;
    for (name, TensorSource { stored, shape, .. }) in &tensors {
        let start = end;
        end += stored.size() * shape.iter().product::<usize>();
        let info = TensorInfo { dtype: stored.safetensors(), shape: shape.clone(), data_offsets: (start, end) };
        if *name == RESERVED {
            return Err(refused(format!(
                "no tensor can be named {RESERVED:?} in a safetensors file; name it otherwise"
            )));
        }
        if infos.insert(*name, info).is_some() {
            return Err(refused(format!("two tensors are named {name:?}; give each its own name")));
        }
    }
    let header =
        |checksums: &BTreeMap<&str, u128>| header(&infos, &text, checksums).map_err(|error| refused(error.to_string()));
    let mut checksums = BTreeMap::new();
    let length = header(&checksums)?.len() as u64 - 8;
    if length > MAX_HEADER_BYTES {
        let count = infos.len();
        return Err(refused(format!(
            "the header for {count} tensors would take {length} bytes, at most {MAX_HEADER_BYTES} are read; save them in several files"
        )));
    }
    replace(path, |file| {
        let io = failed(path, "write");
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&header(&checksums)?).map_err(&io)?;
        for (name, source) in &tensors {
            source.read(|bytes| {
                checksums.insert(*name, checksum::of_bytes(bytes));
                file.write_all(bytes).map_err(&io)
            })?;
        }
        file.rewind().map_err(&io)?;
        file.write_all(&header(&checksums)?).map_err(&io)?;
        file.flush().map_err(&io)
    })
}

/// The start of a file, of the same length whatever the checksums are; those that are missing are zeros.
fn header(
    infos: &BTreeMap<&str, TensorInfo>,
    text: &BTreeMap<String, String>,
    checksums: &BTreeMap<&str, u128>,
) -> serde_json::Result<Vec<u8>> {
    let covered = infos.iter().map(|(name, TensorInfo { dtype, shape, .. })| {
        let bytes = checksums.get(name).copied().unwrap_or_default();
        (*name, Covered { dtype: dtype.to_string(), shape, bytes })
    });
    let checksums = Checksums::new(text, &covered.collect()).to_text();
    let mut header = Map::new();
    header.insert(RESERVED.to_string(), json!({ METADATA: serde_json::to_string(text)?, checksum::KEY: checksums }));
    for (name, info) in infos {
        header.insert(name.to_string(), serde_json::to_value(info)?);
    }
    let mut header = serde_json::to_vec(&Value::Object(header))?;
    // The data behind it begins at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header].concat())
}

/// Reads the header of a file of `given` bytes, and verifies it if it has checksums.
pub(super) fn open(name: &str, mut file: &File, given: u64, verify: bool) -> Result<Contents> {
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
    let Text { mut metadata, own, checksums } = text(&header).map_err(bad)?;
    let kept = if verify { verified(&header, &own, checksums) } else { Ok(BTreeMap::new()) };
    let checksums = kept.map_err(|message| Error::Checksum { file: name.to_owned(), message })?;
    metadata.extend(own);
    metadata.remove(checksum::KEY);
    Ok(Contents { entries, metadata, checksums })
}

/// The tensors' checksums, once the header was verified, or what is wrong with it. None for a file that never had any.
fn verified(
    header: &Metadata,
    own: &BTreeMap<String, String>,
    given: Option<String>,
) -> std::result::Result<BTreeMap<String, u128>, String> {
    let given = match (own.get(checksum::KEY).map(String::as_str), given) {
        (None, None) => return Ok(BTreeMap::new()),
        (Some(checksum::ALGORITHM), Some(given)) => given,
        (Some(checksum::ALGORITHM) | None, _) => return Err("a part of its checksums is missing".to_owned()),
        (Some(other), _) => {
            return Err(format!(
                "its checksums are of the kind {other:?}, this version of Kiln verifies {:?}",
                checksum::ALGORITHM
            ));
        }
    };
    let infos = BTreeMap::from_iter(header.tensors());
    let given = Checksums::parse(&given).filter(|given| given.tensors.len() == infos.len());
    let given = given.ok_or("its checksums are not those of its tensors")?;
    let covered = infos.iter().zip(&given.tensors).map(|((name, TensorInfo { dtype, shape, .. }), &bytes)| {
        (name.as_str(), Covered { dtype: dtype.to_string(), shape, bytes })
    });
    if Checksums::new(own, &covered.collect()) != given {
        return Err(
            "the header (names, types and shapes of the tensors, metadata) does not match its checksum".to_owned()
        );
    }
    Ok(infos.into_keys().zip(given.tensors).collect())
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
    Ok(Entry { stored, shape: shape.clone(), strides: None, start, bytes, member: None })
}

/// The text beside the tensors.
struct Text {
    /// What other programs wrote.
    metadata: BTreeMap<String, String>,
    /// What Kiln wrote.
    own: BTreeMap<String, String>,
    checksums: Option<String>,
}

fn text(header: &Metadata) -> std::result::Result<Text, String> {
    let mut metadata = BTreeMap::from_iter(header.metadata().clone().unwrap_or_default());
    let own = match metadata.remove(METADATA) {
        Some(own) => serde_json::from_str(&own)
            .map_err(|error| format!("the metadata under {METADATA:?} is no JSON object of text: {error}"))?,
        None => BTreeMap::new(),
    };
    let checksums = metadata.remove(checksum::KEY);
    Ok(Text { metadata, own, checksums })
}
