//! PyTorch's `.pth` and `.pt`: the zip archives of today and the older stream of pickles. Only where tensors lie is read here; a
//! pickle executes nothing ([`Pickle`]), and every size is held against the file's before it is believed.

use std::collections::BTreeMap;
use std::fs::File;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::choose::{self, Chosen};
use super::fault::Fault;
use super::format::{Entry, Member, part};
use super::pickle::{Pickle, Storage, TensorRef, Value};

/// The most bytes of pickles that are read: 2 MiB, room for some 10,000 tensors.
pub const MAX_PICKLE_BYTES: u64 = 2 << 20;

/// The first bytes of a zip archive.
pub(super) const ZIP: &[u8] = b"PK\x03\x04";

/// The first bytes of the older format: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

type Entries = BTreeMap<String, Entry>;
type Result<T> = std::result::Result<T, Fault>;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) entries: Entries,
    /// Where the state dict is in the file, unless it is all of it.
    pub(super) path: Option<String>,
    /// Other dicts of tensors in the file, by their paths.
    pub(super) others: Vec<String>,
    /// What lies between the tensors of the state dict and is none.
    pub(super) no_tensors: Vec<String>,
}

/// Where a storage's bytes begin, how many there are, and their sum if one is known.
type Place = Member;

/// The tensors of a zip archive; of its state dicts the one at `path`, if that is given.
pub(super) fn zip(file: &File, bytes: u64, path: Option<&str>) -> Result<Checkpoint> {
    let damaged = |error: rawzip::Error| Fault::from(format!("the zip archive is damaged: {error}"));
    let no_end = |error: rawzip::Error| match error.kind() {
        rawzip::ErrorKind::MissingEndOfCentralDirectory | rawzip::ErrorKind::Eof => {
            Fault::from("the zip archive is damaged: its directory, which lies at the end, is missing")
        }
        _ => damaged(error),
    };
    let reader = file.try_clone().map_err(|error| error.to_string())?;
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(reader, &mut buffer).map_err(no_end)?;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    // PyTorch writes the end record of large archives into small ones too, which the iterator takes for an entry: so by number.
    let count = archive.entries_hint();
    let mut records = archive.entries(&mut buffer);
    let mut compressed = None;
    for _ in 0..count {
        let Some(record) = records.next_entry().map_err(damaged)? else { break };
        let Ok(name) = std::str::from_utf8(record.file_path().as_ref()).map(str::to_owned) else { continue };
        if record.compression_method() != CompressionMethod::Store {
            compressed.get_or_insert_with(|| name.clone());
        }
        let sum = record.crc32();
        let (start, end) = archive.get_entry(record.wayfinder()).map_err(damaged)?.compressed_data_range();
        let length = end.checked_sub(start).filter(|_| end <= bytes);
        let length = length.ok_or_else(|| format!("{name} in the zip archive reaches beyond the file's end"))?;
        places.insert(name, Place { start, length, sum: Some(sum) });
    }
    // All lies in one folder, whatever its name.
    let Some(folder) = places.keys().find_map(|name| name.strip_suffix("/data.pkl")).map(str::to_owned) else {
        return Err(no_pickle(&places));
    };
    let place = |name: &str| places.get(&format!("{folder}/{name}")).copied();
    if place("constants.pkl").is_some() {
        return Err(Fault::unsuitable(
            "it is a program of TorchScript (torch.jit.save), which Kiln does not run",
            "take its weights in PyTorch: torch.save(torch.jit.load(FILE).state_dict(), path)",
        ));
    }
    if let Some(name) = compressed {
        return Err(Fault::unsuitable(
            format!("{name} in the zip archive is compressed, which torch.save never does"),
            "load it in PyTorch and save it again by torch.save(model.state_dict(), path)",
        ));
    }
    let missing = || Fault::from("the zip archive has no data.pkl");
    let pickle = place("data.pkl").ok_or_else(missing)?;
    // torch.serialization.set_crc32_options(False) writes zeros in the place of all sums.
    let summed = pickle.sum != Some(0);
    let place = |name: &str| place(name).map(|place| Place { sum: place.sum.filter(|_| summed), ..place });
    if let Some(order) = place("byteorder")
        && short_part(file, order, 16)? != b"little"
    {
        return Err(big_endian());
    }
    let text = short_part(file, place("data.pkl").ok_or_else(missing)?, MAX_PICKLE_BYTES)?;
    let pickle = Pickle::parse(&text, bytes).map_err(|fault| fault.within("the pickle is not read: "))?;
    checkpoint(&pickle, path, |key| place(&format!("data/{key}")))
}

/// Why a zip archive without a pickle of tensors is not read.
fn no_pickle(places: &BTreeMap<String, Place>) -> Fault {
    let any = |suffix: &str| places.keys().any(|name| name.ends_with(suffix));
    let (what, advice) = if any(".npy") {
        ("it holds arrays of NumPy (.npz)", "load them in PyTorch and save a state dict by torch.save")
    } else if any("model.weights.h5") {
        ("it is a model of Keras", "pass weights of PyTorch, or a safetensors file")
    } else if any(".pth") || any(".pt") || any(".safetensors") {
        ("it is a zip archive with files in it", "unpack it and pass the file of weights")
    } else {
        (
            "it is a zip archive without data.pkl, which torch.save writes",
            "pass weights of PyTorch, or a safetensors file",
        )
    };
    Fault::unsuitable(what, advice)
}

fn big_endian() -> Fault {
    Fault::unsuitable(
        "it was written on a big-endian machine, which Kiln does not read",
        "load it in PyTorch and save it again on another",
    )
}

/// The tensors of the older format: pickles of a magic number, a version, the machine, the objects and the storages' names; then
/// each storage, as its number of elements and the elements.
pub(super) fn legacy(file: &File, bytes: u64, path: Option<&str>) -> Result<Checkpoint> {
    let start = Place { start: 0, length: bytes.min(MAX_PICKLE_BYTES), sum: None };
    let text = short_part(file, start, MAX_PICKLE_BYTES)?;
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::parse(&text[at..], bytes).map_err(|fault| fault.within("a pickle is not read: "))?;
        at += pickle.length;
        Ok::<_, Fault>((pickle, at))
    };
    // The number is why this is called; the version has been 1001 since the format has a number.
    let ((_, _), (version, _), (machine, _)) = (next()?, next()?, next()?);
    if version.root != Value::Int(1001) {
        return Err("it is of another version than 1001".into());
    }
    if machine.named(machine.root).any(|(name, value)| name == "little_endian" && value == Value::Bool(false)) {
        return Err(big_endian());
    }
    let ((objects, _), (keys, end)) = (next()?, next()?);

    let sizes: BTreeMap<&str, &Storage> =
        objects.storages().iter().filter_map(|storage| Some((key(&objects, storage)?, storage))).collect();
    let mut places = BTreeMap::new();
    let mut start = end as u64;
    for value in keys.items(keys.root) {
        let Value::Text(name) = *value else { return Err("the name of a storage is no text".into()) };
        let name = keys.text(name);
        let storage = sizes.get(name).ok_or_else(|| format!("no tensor has the storage {name}"))?;
        // The number of elements, which the pickle has told already.
        start = start.saturating_add(8);
        let length = byte_length(storage)?;
        places.insert(name, Place { start, length, sum: None });
        start = start.checked_add(length).filter(|&end| end <= bytes).ok_or_else(|| {
            format!("the file has {bytes} bytes and ends within the storage {name}, which takes {length}")
        })?;
    }
    checkpoint(&objects, path, |key| places.get(key).copied())
}

/// The bytes of a part of a file that is no longer than `most`, held against their sum.
fn short_part(file: &File, place: Place, most: u64) -> Result<Vec<u8>> {
    let Place { start, length, sum } = place;
    if length > most {
        return Err(Fault::unsuitable(
            format!("its pickle takes {length} bytes, at most {most} are read"),
            "save the state dict alone by torch.save(model.state_dict(), path)",
        ));
    }
    let bytes = part(file, start, length).map_err(|error| error.to_string())?;
    if bytes.len() as u64 != length {
        return Err("it became shorter while it was read".into());
    }
    if sum.is_some_and(|sum| sum != crc32fast::hash(&bytes)) {
        return Err(
            format!("the {length} bytes from byte {start} are not those that the zip archive has the sum of").into()
        );
    }
    Ok(bytes)
}

fn key<'a>(pickle: &Pickle<'a>, storage: &Storage) -> Option<&'a str> {
    match storage.key {
        Value::Text(key) => Some(pickle.text(key)),
        _ => None,
    }
}

fn byte_length(storage: &Storage) -> Result<u64> {
    let bytes = storage.numel.checked_mul(storage.stored.size() as u64);
    bytes.ok_or_else(|| format!("a storage of {} elements is no storage", storage.numel).into())
}

/// How many names of what is no tensor are kept.
const LISTED: usize = 64;

/// The tensors of the state dict in a pickle, given where storages lie.
fn checkpoint(pickle: &Pickle<'_>, path: Option<&str>, place: impl Fn(&str) -> Option<Place>) -> Result<Checkpoint> {
    let Chosen { dict, path, others } = choose::state_dict(pickle, path)?;
    let mut checkpoint = Checkpoint { path, others, ..Checkpoint::default() };
    for (name, value) in pickle.named(dict) {
        if let Value::Unread(class) = value {
            return Err(Fault::unsuitable(
                format!(
                    "{name} is made by {}, which Kiln does not read; it reads dense tensors of Double, Float, Half, BFloat16, Long, Int, \
                     Short, Char, Byte and BoolStorage",
                    pickle.class_name(class)
                ),
                "convert it before it is saved: tensor.dequantize(), .to_dense() or .float()",
            ));
        }
        match pickle.tensor(value) {
            Some((tensor, storage)) => {
                let place = key(pickle, storage).and_then(&place).ok_or_else(|| format!("{name} has no storage"))?;
                let entry = entry(tensor, storage, place).map_err(|fault| fault.within(&format!("{name} ")))?;
                checkpoint.entries.insert(name.to_owned(), entry);
            }
            None if checkpoint.no_tensors.len() < LISTED => checkpoint.no_tensors.push(choose::short(name)),
            None => {}
        }
    }
    Ok(checkpoint)
}

/// Where a tensor lies, given where its storage does.
fn entry(tensor: &TensorRef, storage: &Storage, member: Member) -> Result<Entry> {
    let Member { start, length, sum } = member;
    let TensorRef { offset, shape, strides, .. } = tensor;
    let size = storage.stored.size();
    let needed = byte_length(storage)?;
    if needed != length {
        return Err(format!("has a storage of {length} bytes, which should have {needed}").into());
    }
    let beyond =
        || format!("of {shape:?} with strides {strides:?} reaches beyond its storage of {} elements", storage.numel);
    let numel = shape.iter().try_fold(1u64, |product, &side| product.checked_mul(side as u64)).ok_or_else(beyond)?;
    // The elements from the first to the last.
    let span = match numel {
        0 => 0,
        _ => shape
            .iter()
            .zip(strides)
            .try_fold(1u64, |span, (&side, &stride)| {
                span.checked_add((side as u64).saturating_sub(1).checked_mul(stride as u64)?)
            })
            .ok_or_else(beyond)?,
    };
    if offset.checked_add(span).is_none_or(|end| end > storage.numel) {
        return Err(beyond().into());
    }
    // A view that repeats elements could be of any size.
    if numel > storage.numel {
        return Err(Fault::unsuitable(
            format!("of {shape:?} repeats the {} elements of its storage", storage.numel),
            "call contiguous() on it before it is saved",
        ));
    }
    let mut dense = 1;
    let contiguous = numel == 0
        || shape.iter().zip(strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == dense;
            // A factor of the number of elements, since no side is 0.
            dense *= side;
            fits
        });
    let strides = if contiguous { None } else { Some(strides.clone()) };
    // Within the storage, whose bytes were counted without overflow.
    let (start, bytes) = (start + offset * size as u64, span * size as u64);
    Ok(Entry { stored: storage.stored, shape: shape.clone(), strides, start, bytes, member: sum.map(|_| member) })
}
