//! PyTorch's `.pth` and `.pt`: the zip archives of today and the older stream of pickles. Only where tensors lie is read here; a
//! pickle executes nothing ([`Pickle`]), and every size is held against the file's before it is believed.

use std::collections::BTreeMap;
use std::fs::File;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::format::{Entry, part};
use super::pickle::{Pickle, Storage, TensorRef, Value};

/// The most bytes of pickles that are read: 2 MiB, room for some 10,000 tensors.
pub const MAX_PICKLE_BYTES: u64 = 2 << 20;

/// The first bytes of a zip archive.
pub(super) const ZIP: &[u8] = b"PK\x03\x04";

/// The first bytes of the older format: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Where checkpoints keep the weights beside other things.
const NESTED: [&str; 7] = ["state_dict", "model_state_dict", "model", "module", "net", "network", "weights"];

/// How deep such dicts lie within one another.
const MAX_DEPTH: usize = 4;

type Entries = BTreeMap<String, Entry>;
type Result<T> = std::result::Result<T, String>;

/// Where a storage's bytes begin, and how many there are.
type Place = (u64, u64);

/// The tensors of a zip archive.
pub(super) fn zip(file: &File, bytes: u64) -> Result<Entries> {
    let damaged = |error: rawzip::Error| format!("the zip archive is damaged: {error}");
    let reader = file.try_clone().map_err(|error| error.to_string())?;
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(reader, &mut buffer).map_err(damaged)?;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    // PyTorch writes the end record of large archives into small ones too, which the iterator takes for an entry: so by number.
    let count = archive.entries_hint();
    let mut records = archive.entries(&mut buffer);
    for _ in 0..count {
        let Some(record) = records.next_entry().map_err(damaged)? else { break };
        let Ok(name) = std::str::from_utf8(record.file_path().as_ref()).map(str::to_owned) else { continue };
        if record.compression_method() != CompressionMethod::Store {
            return Err(format!("{name} in the zip archive is compressed, which torch.save never does"));
        }
        let (start, end) = archive.get_entry(record.wayfinder()).map_err(damaged)?.compressed_data_range();
        let length = end.checked_sub(start).filter(|_| end <= bytes);
        let length = length.ok_or_else(|| format!("{name} in the zip archive reaches beyond the file's end"))?;
        places.insert(name, (start, length));
    }
    // All lies in one folder, whatever its name.
    let folder = places.keys().find_map(|name| name.strip_suffix("/data.pkl")).map(str::to_owned);
    let folder = folder.ok_or("the zip archive has no data.pkl")?;
    let place = |name: &str| places.get(&format!("{folder}/{name}")).copied();
    if let Some(order) = place("byteorder")
        && short_part(file, order, 16)? != b"little"
    {
        return Err(BIG_ENDIAN.to_owned());
    }
    let place_of_pickle = place("data.pkl").ok_or("the zip archive has no data.pkl")?;
    let text = short_part(file, place_of_pickle, MAX_PICKLE_BYTES)?;
    let pickle = Pickle::parse(&text, bytes).map_err(|message| format!("the pickle is not read: {message}"))?;
    entries(&pickle, |key| place(&format!("data/{key}")))
}

const BIG_ENDIAN: &str =
    "it was written on a big-endian machine, which Kiln does not read; load and save it again on another";

/// The tensors of the older format: pickles of a magic number, a version, the machine, the objects and the storages' names; then
/// each storage, as its number of elements and the elements.
pub(super) fn legacy(file: &File, bytes: u64) -> Result<Entries> {
    let text = short_part(file, (0, bytes.min(MAX_PICKLE_BYTES)), MAX_PICKLE_BYTES)?;
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::parse(&text[at..], bytes).map_err(|message| format!("a pickle is not read: {message}"))?;
        at += pickle.length;
        Ok::<_, String>((pickle, at))
    };
    // The number is why this is called; the version has been 1001 since the format has a number.
    let ((_, _), (version, _), (machine, _)) = (next()?, next()?, next()?);
    if version.root != Value::Int(1001) {
        return Err("it is of another version than 1001".to_owned());
    }
    if machine.named(machine.root).any(|(name, value)| name == "little_endian" && value == Value::Bool(false)) {
        return Err(BIG_ENDIAN.to_owned());
    }
    let ((objects, _), (keys, end)) = (next()?, next()?);

    let sizes: BTreeMap<&str, &Storage> =
        objects.storages().iter().filter_map(|storage| Some((key(&objects, storage)?, storage))).collect();
    let mut places = BTreeMap::new();
    let mut start = end as u64;
    for value in keys.items(keys.root) {
        let Value::Text(name) = *value else { return Err("the name of a storage is no text".to_owned()) };
        let name = keys.text(name);
        let storage = sizes.get(name).ok_or_else(|| format!("no tensor has the storage {name}"))?;
        // The number of elements, which the pickle has told already.
        start = start.saturating_add(8);
        let length = byte_length(storage)?;
        places.insert(name, (start, length));
        start = start.checked_add(length).filter(|&end| end <= bytes).ok_or_else(|| {
            format!("the file has {bytes} bytes and ends within the storage {name}, which takes {length}")
        })?;
    }
    entries(&objects, |key| places.get(key).copied())
}

/// The bytes of a part of a file that is no longer than `most`.
fn short_part(file: &File, (start, length): Place, most: u64) -> Result<Vec<u8>> {
    if length > most {
        return Err(format!("the pickle would take {length} bytes, at most {most} are read"));
    }
    let bytes = part(file, start, length).map_err(|error| error.to_string())?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err("it became shorter while it was read".to_owned()),
    }
}

fn key<'a>(pickle: &Pickle<'a>, storage: &Storage) -> Option<&'a str> {
    match storage.key {
        Value::Text(key) => Some(pickle.text(key)),
        _ => None,
    }
}

fn byte_length(storage: &Storage) -> Result<u64> {
    let bytes = storage.numel.checked_mul(storage.stored.size() as u64);
    bytes.ok_or_else(|| format!("a storage of {} elements is no storage", storage.numel))
}

/// The tensors of the state dict in a pickle, given where storages lie.
fn entries(pickle: &Pickle<'_>, place: impl Fn(&str) -> Option<Place>) -> Result<Entries> {
    let mut entries = Entries::new();
    for (name, value) in pickle.named(state_dict(pickle)?) {
        if let Some((tensor, storage)) = pickle.tensor(value) {
            let place = key(pickle, storage).and_then(&place).ok_or_else(|| format!("{name} has no storage"))?;
            let entry = entry(tensor, storage, place).map_err(|message| format!("{name} {message}"))?;
            entries.insert(name.to_owned(), entry);
        }
    }
    Ok(entries)
}

/// The dict that has tensors: what was saved, or one that it names.
fn state_dict(pickle: &Pickle<'_>) -> Result<Value> {
    let mut dict = pickle.root;
    for _ in 0..MAX_DEPTH {
        match dict {
            Value::Dict(_) => {}
            Value::Opaque(class) => {
                return Err(format!(
                    "it holds an object of the class {}, not a state dict; Kiln runs no code of a file",
                    pickle.class_name(class)
                ));
            }
            _ => return Err("it holds no dict of names and tensors".to_owned()),
        }
        if pickle.named(dict).any(|(_, value)| matches!(value, Value::Tensor(_))) {
            return Ok(dict);
        }
        let inner = NESTED.iter().find_map(|nested| pickle.named(dict).find(|(name, _)| name == nested));
        dict = match inner {
            Some((_, inner)) => inner,
            None => {
                let names: Vec<&str> = pickle.named(dict).map(|(name, _)| name).take(8).collect();
                return Err(format!("its dict holds no tensors but {names:?}, none of which is one of {NESTED:?}"));
            }
        };
    }
    Err("its dicts lie too deep within one another".to_owned())
}

/// Where a tensor lies, given where its storage does.
fn entry(tensor: &TensorRef, storage: &Storage, (start, length): Place) -> Result<Entry> {
    let TensorRef { offset, shape, strides, .. } = tensor;
    let size = storage.stored.size();
    let needed = byte_length(storage)?;
    if needed != length {
        return Err(format!("has a storage of {length} bytes, which should have {needed}"));
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
        return Err(beyond());
    }
    // A view that repeats elements could be of any size.
    if numel > storage.numel {
        return Err(format!(
            "of {shape:?} repeats the {} elements of its storage; call contiguous() before it is saved",
            storage.numel
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
    Ok(Entry { stored: storage.stored, shape: shape.clone(), strides, start, bytes })
}
