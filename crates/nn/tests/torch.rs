//! PyTorch's files: what `torch.save` wrote, in both forms, and every error with its whole message.
//! `record_files` in `tests/data/record_pytorch.py` says what is in the files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use kiln_nn::{Init, Linear, Module, StateFile};
use kiln_tensor::{DType, Device};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch").join(name)
}

/// The elements as numbers.
fn numbers<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.chunks_exact(N).map(|bytes| of(bytes.try_into().unwrap())).collect()
}

fn floats(file: &mut StateFile, name: &str) -> Vec<f64> {
    numbers(&file.bytes(name).unwrap(), |bytes| f64::from(f32::from_le_bytes(bytes)))
}

#[test]
fn every_type_is_read() {
    let counted = [-5.0, -3.0, -1.0, 1.0, 3.0, 5.0];
    for form in ["zip", "legacy"] {
        let mut file = StateFile::open(&recorded(&format!("types_{form}.pth"))).unwrap();
        for (name, dtype) in [
            ("f64", DType::F32),
            ("f32", DType::F32),
            ("f16", DType::F16),
            ("bf16", DType::F32),
            ("i64", DType::I32),
            ("i32", DType::I32),
            ("i16", DType::I32),
            ("i8", DType::I32),
            ("u8", DType::U8),
            ("bool", DType::U8),
        ] {
            assert_eq!(file.shape(name).map(|(dtype, shape)| (dtype, shape.to_vec())).unwrap().0, dtype, "{name}");
        }
        let mut read = |name: &str| file.bytes(name).unwrap();
        assert_eq!(numbers(&read("f64"), f64::from_le_bytes), counted);
        assert_eq!(numbers(&read("f16"), |b| half::f16::from_le_bytes(b).to_f64()), counted);
        assert_eq!(numbers(&read("bf16"), |b| half::bf16::from_le_bytes(b).to_f64()), counted);
        assert_eq!(numbers(&read("i64"), |b| i64::from_le_bytes(b) as f64), counted);
        assert_eq!(numbers(&read("i32"), |b| f64::from(i32::from_le_bytes(b))), counted);
        assert_eq!(numbers(&read("i16"), |b| f64::from(i16::from_le_bytes(b))), counted);
        assert_eq!(numbers(&read("i8"), |b| f64::from(i8::from_le_bytes(b))), counted);
        assert_eq!(read("u8"), [0, 2, 4, 6, 8, 10]);
        assert_eq!(read("bool"), [0, 1, 0, 1, 0, 1]);
        assert_eq!(read("scalar"), 7i64.to_le_bytes());
        assert_eq!(floats(&mut file, "f32"), counted);
        assert_eq!(floats(&mut file, "parameter"), [0.0, 1.0]);
        assert_eq!(file.shape("scalar"), Some((DType::I32, &[][..])));
        assert_eq!(file.names().count(), 12);
    }
}

#[test]
fn types_become_those_of_kiln_on_a_device() {
    let device = Device::open_default().unwrap();
    let mut file = StateFile::open(&recorded("types_zip.pth")).unwrap();
    for name in ["f64", "f32", "bf16"] {
        assert_eq!(file.tensor(name, &device).unwrap().to_vec::<f32>().unwrap(), [-5.0, -3.0, -1.0, 1.0, 3.0, 5.0]);
    }
    for name in ["i64", "i32", "i16", "i8"] {
        assert_eq!(file.tensor(name, &device).unwrap().to_vec::<i32>().unwrap(), [-5, -3, -1, 1, 3, 5]);
    }
    assert_eq!(file.tensor("bool", &device).unwrap().to_vec::<u8>().unwrap(), [0, 1, 0, 1, 0, 1]);
}

#[test]
fn views_of_shared_storages_are_read() {
    for form in ["zip", "legacy"] {
        let mut file = StateFile::open(&recorded(&format!("views_{form}.pth"))).unwrap();
        let range =
            |from: i32, step: i32, count: i32| (0..count).map(|i| f64::from(from + i * step)).collect::<Vec<_>>();
        let transposed: Vec<f64> = (0..6).flat_map(|column| range(column, 6, 4)).collect();
        assert_eq!(floats(&mut file, "whole"), range(0, 1, 24));
        assert_eq!(floats(&mut file, "tied"), range(0, 1, 24));
        assert_eq!(floats(&mut file, "transposed"), transposed);
        assert_eq!(floats(&mut file, "row"), range(12, 1, 6));
        assert_eq!(floats(&mut file, "column"), range(1, 6, 4));
        assert_eq!(floats(&mut file, "window"), [range(8, 1, 3), range(14, 1, 3)].concat());
        assert_eq!(floats(&mut file, "single"), [23.0]);
        assert_eq!(floats(&mut file, "empty"), [] as [f64; 0]);
        let narrow = numbers(&file.bytes("bf16").unwrap(), |b| half::bf16::from_le_bytes(b).to_f64());
        assert_eq!(narrow, transposed);
        assert_eq!(file.shape("transposed"), Some((DType::F32, &[6, 4][..])));
        assert_eq!(file.shape("empty"), Some((DType::F32, &[4, 0][..])));
    }
}

#[test]
fn the_state_dict_of_a_checkpoint_is_found() {
    let device = Device::open_default().unwrap();
    for name in ["checkpoint_zip.pth", "checkpoint_legacy.pth", "protocol4.pth"] {
        let layer = Linear::new(&device, &Init::seed(1), 3, 2).unwrap();
        layer.load(&recorded(name)).unwrap();
        let values = |name| layer.parameters().get(name).unwrap().value().to_vec::<f32>().unwrap();
        assert_eq!(values("weight"), [0.0, 0.25, 0.5, 0.75, 1.0, 1.25], "{name}");
        assert_eq!(values("bias"), [-1.0, 0.0]);
    }
}

#[test]
fn files_are_converted_in_their_own_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for name in ["types_zip.pth", "views_legacy.pth", "checkpoint_zip.pth"] {
        StateFile::open(&recorded(name)).unwrap().save(&path).unwrap();
        let (mut from, mut to) = (StateFile::open(&recorded(name)).unwrap(), StateFile::open(&path).unwrap());
        let names: Vec<String> = from.names().map(String::from).collect();
        assert_eq!(to.names().collect::<Vec<_>>(), names);
        for name in &names {
            assert_eq!(from.shape(name), to.shape(name));
            assert_eq!(from.bytes(name).unwrap(), to.bytes(name).unwrap(), "{name}");
        }
        assert_eq!(to.metadata().keys().collect::<Vec<_>>(), ["kiln_version"]);
        // A file that is converted again is the same.
        let again = folder.path().join("again.safetensors");
        StateFile::open(&path).unwrap().save(&again).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
    }
}

/// What opening tells of a changed copy of a file, without the path and the advice.
fn told(name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut bytes = fs::read(recorded(name)).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let error = StateFile::open(&path).unwrap_err().to_string();
    let advice = "; needs a state dict: save it again by torch.save(model.state_dict(), path)";
    let inner = error.strip_prefix(&format!("{}: ", path.display())).and_then(|rest| rest.strip_suffix(advice));
    inner.unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Puts `to` in the place of `from`, which is as long and there once or more.
fn replace(from: &'static [u8], to: &'static [u8]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
        assert!(!places.is_empty() && from.len() == to.len());
        places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    }
}

#[test]
fn what_is_no_state_dict_is_told() {
    assert_eq!(
        told("object.pth", |_| {}),
        "it holds an object of the class torch.nn.modules.linear.Linear, not a state dict; Kiln runs no code of a file"
    );
    assert_eq!(
        told("nothing.pth", |_| {}),
        "its dict holds no tensors but [\"epoch\", \"loss\"], none of which is one of [\"state_dict\", \"model_state_dict\", \
         \"model\", \"module\", \"net\", \"network\", \"weights\"]"
    );
    assert_eq!(
        told("expanded.pth", |_| {}),
        "w of [1000] repeats the 1 elements of its storage; call contiguous() before it is saved"
    );
}

#[test]
fn other_machines_and_versions_are_told() {
    let big = "it was written on a big-endian machine, which Kiln does not read; load and save it again on another";
    assert_eq!(told("types_zip.pth", replace(b"little", b"bigend")), big);
    assert_eq!(told("types_legacy.pth", replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89")), big);
    assert_eq!(
        told("types_legacy.pth", replace(b"\x80\x02M\xe9\x03.", b"\x80\x02M\xea\x03.")),
        "it is of another version than 1001"
    );
}

#[test]
fn damaged_files_are_told() {
    let cut = |length: usize| move |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - length);
    assert!(told("types_zip.pth", cut(30)).starts_with("the zip archive is damaged: "));
    let length = fs::metadata(recorded("types_legacy.pth")).unwrap().len();
    let short = told("types_legacy.pth", cut(1));
    assert!(short.starts_with(&format!("the file has {} bytes and ends within the storage ", length - 1)), "{short}");
    let pickle = "the pickle is not read: ";
    assert_eq!(
        told("types_zip.pth", replace(b"FloatStorage", b"QuintStorage")),
        format!(
            "{pickle}a storage of the class torch.QuintStorage, which Kiln does not read; it reads Double, Float, Half, BFloat16, \
             Long, Int, Short, Char, Byte and BoolStorage"
        )
    );
    assert_eq!(
        told("types_zip.pth", replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9")),
        "its dict holds no tensors but [\"f64\", \"f32\", \"f16\", \"bf16\", \"i64\", \"i32\", \"i16\", \"i8\"], none of which is one of \
         [\"state_dict\", \"model_state_dict\", \"model\", \"module\", \"net\", \"network\", \"weights\"]"
    );
}
