//! PyTorch's files: what `torch.save` wrote, in both forms, and every error with its whole message.
//! `record_files` in `tests/data/record_pytorch.py` says what is in the files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use kiln_nn::{Error, Init, Linear, LoadOptions, Module, StateDict, StateFile};
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
        let mut file = StateFile::open(recorded(&format!("types_{form}.pth"))).unwrap();
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
    let mut file = StateFile::open(recorded("types_zip.pth")).unwrap();
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
        let mut file = StateFile::open(recorded(&format!("views_{form}.pth"))).unwrap();
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
        layer.load(recorded(name)).unwrap();
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
        StateFile::open(recorded(name)).unwrap().save(&path).unwrap();
        let (mut from, mut to) = (StateFile::open(recorded(name)).unwrap(), StateFile::open(&path).unwrap());
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

/// What the weight of the recorded layers holds.
const WEIGHT: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25];

#[test]
fn scalars_and_tensors_beside_the_state_dict_are_no_weights() {
    for (name, key, others) in [
        ("imagenet.pth", "state_dict", &[][..]),
        ("averages.pth", "model", &["model_ema"]),
        ("unusual.pth", "mine", &[]),
        ("lightning.pth", "state_dict", &[]),
        ("checkpoint_zip.pth", "state_dict", &[]),
        ("checkpoint_legacy.pth", "state_dict", &[]),
        ("protocol4.pth", "model.module", &[]),
        ("quantized_beside.pth", "state_dict", &["."]),
    ] {
        let mut file = StateFile::open(recorded(name)).unwrap();
        assert_eq!(
            (file.path(), file.others()),
            (Some(key), &others.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()[..])
        );
        let prefix = if name == "lightning.pth" { "model." } else { "" };
        assert_eq!(floats(&mut file, &format!("{prefix}weight")), WEIGHT, "{name}");
        assert_eq!(file.names().count(), if name == "lightning.pth" { 3 } else { 2 }, "{name}");
    }
    let file = StateFile::open(recorded("parallel.pth")).unwrap();
    assert_eq!((file.path(), file.no_tensors()), (None, &["extra".to_owned()][..]));
}

#[test]
fn another_state_dict_is_taken_by_its_key() {
    let averaged = WEIGHT.map(|value| value + 1.0);
    for (name, key, expected) in [
        ("averages.pth", "model_ema", averaged),
        ("several.pth", "generator", WEIGHT),
        ("several.pth", "discriminator", averaged),
    ] {
        let mut file = StateFile::open_at(recorded(name), key).unwrap();
        assert_eq!(file.path(), Some(key));
        assert_eq!(floats(&mut file, "weight"), expected);
    }
    let file = StateFile::open_at(recorded("imagenet.pth"), ".").unwrap();
    assert_eq!((file.path(), file.names().collect::<Vec<_>>()), (None, vec!["best_acc1"]));
    let refused = StateFile::open_at(recorded("several.pth"), "critic").unwrap_err().to_string();
    let list = "choose one of those that it has: \"generator\" (2 tensors), \"discriminator\" (2 tensors)";
    assert_eq!(refused, format!("{}: it holds no tensors under \"critic\"; {list}", recorded("several.pth").display()));
}

#[test]
fn names_of_wrapped_models_are_loaded() {
    let device = Device::open_default().unwrap();
    for (name, removed, left_out) in
        [("parallel.pth", "module.", &[][..]), ("lightning.pth", "model.", &["loss.weight".to_owned()])]
    {
        let layer = Linear::new(&device, &Init::seed(1), 3, 2).unwrap();
        let loaded = layer.load_with(recorded(name), LoadOptions::new()).unwrap();
        assert_eq!((&loaded.removed[..], &loaded.unexpected[..]), (&[removed.to_owned()][..], left_out));
        let weight = layer.parameters().get("weight").unwrap().value().to_vec::<f32>().unwrap();
        assert_eq!(weight.into_iter().map(f64::from).collect::<Vec<_>>(), WEIGHT, "{name}");
    }
}

#[test]
fn members_are_held_against_their_sums() {
    // The last byte of the weight, in a whole storage; and of a storage of which the tensor is a part.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pth");
    for (name, tensor, bytes) in
        [("imagenet.pth", "weight", 1.25f32.to_le_bytes()), ("views_zip.pth", "row", 23f32.to_le_bytes())]
    {
        let mut file = fs::read(recorded(name)).unwrap();
        let at = file.windows(4).position(|window| window == bytes).unwrap();
        file[at + 1] ^= 1;
        fs::write(&path, &file).unwrap();
        let mut state = StateFile::open(&path).unwrap();
        let error = state.bytes(tensor).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        let error = error.to_string();
        assert!(
            error.contains(&format!(" bytes that {tensor} lies in are not those that the zip archive has the sum of")),
            "{error}"
        );
        assert!(StateFile::open(&path).unwrap().save(folder.path().join("out.safetensors")).is_err());
    }
    // The pickle, whose numbers would still be a state dict.
    let mut file = fs::read(recorded("imagenet.pth")).unwrap();
    let at = file.windows(6).position(|window| window == b"weight").unwrap();
    file[at] = b'h';
    fs::write(&path, &file).unwrap();
    assert!(matches!(StateFile::open(&path).unwrap_err(), Error::Damaged { .. }));
    // Without sums, as PyTorch writes on demand.
    assert_eq!(floats(&mut StateFile::open(recorded("no_sums.pth")).unwrap(), "weight"), WEIGHT);
}

/// What opening a file of these bytes says, without the path.
fn said(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let error = StateFile::open(&path).unwrap_err().to_string();
    error.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
}

#[test]
fn files_of_other_kinds_are_named() {
    let page = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 244408911\n";
    let onnx = [&[8, 8, 0x12, 7][..], b"pytorch", &[0x1a, 3], b"2.1", &[0; 40]].concat();
    let numbers: Vec<u8> = (0..400u32).map(|i| (i * i % 251) as u8 | 0x81).collect();
    for (bytes, expected) in [
        (
            &page[..],
            "it is an HTML page: a web site answered with a page in the place of the file; download the file itself",
        ),
        (pointer, "it is a pointer of Git LFS to a file of 244408911 bytes, not the file; fetch that by git lfs pull"),
        (&onnx, "it is a model in ONNX; take its weights where it came from, by torch.save(model.state_dict(), path)"),
        (
            b"\x89HDF\r\n\x1a\n\0\0",
            "it is an HDF5 file, as Keras writes it; pass weights of PyTorch (.pth), or a safetensors file",
        ),
        (
            br#"{"metadata": {"total_size": 5}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}"#,
            "it is the index of weights that lie in several files, which Kiln does not read; save the model as one file",
        ),
        (
            b"\x80\x04\x95\x0c\0\0\0\0\0\0\0}\x94.",
            "it is a pickle that torch.save did not write, or its first bytes are damaged; load it in Python and save a state dict by \
             torch.save(model.state_dict(), path)",
        ),
        (
            b"Dear all,\nhere are the weights.",
            "it is text that starts with \"Dear all,\\nhere are the weights.\"; pass weights of PyTorch (.pth), or a safetensors file",
        ),
        (b"", "it is empty; the file is damaged or cut off: copy or download it again"),
        (
            &[0; 2000],
            "it starts with zeros, so it was not written to its end; the file is damaged or cut off: copy or download it again",
        ),
        (
            &numbers,
            "it starts with \"\\x81\\x81\\x85\\x89\\x91\\x99\\xa5\\xb1\", as neither a file of torch.save nor a safetensors file does; if it is one of \
             these, it is damaged: copy or download it again",
        ),
    ] {
        assert_eq!(said("weights.pth", bytes), expected);
    }
}

#[test]
fn damaged_archives_are_called_damaged() {
    let damaged = "; the file is damaged or cut off: copy or download it again";
    let whole = fs::read(recorded("imagenet.pth")).unwrap();
    let mut magic = whole.clone();
    magic[..2].copy_from_slice(b"XX");
    assert_eq!(
        said("magic.pth", &magic),
        format!("it ends as a zip archive of torch.save does, and does not start as one{damaged}")
    );
    for length in [5, 100, whole.len() / 2, whole.len() - 10] {
        let said = said("cut.pth", &whole[..length]);
        assert_eq!(
            said,
            format!("the zip archive is damaged: its directory, which lies at the end, is missing{damaged}")
        );
    }
    // Through the pickle of the older form, at each length.
    let whole = fs::read(recorded("checkpoint_legacy.pth")).unwrap();
    for length in 20..whole.len() {
        let said = said("cut.pth", &whole[..length]);
        assert!(said.ends_with(damaged), "{length}: {said}");
    }
}

/// What opening says of a changed copy of a file, without the path.
fn told(name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let mut bytes = fs::read(recorded(name)).unwrap();
    change(&mut bytes);
    // The pickle's sum in the directory and in the members would be that of other bytes.
    if bytes.starts_with(b"PK") && bytes != fs::read(recorded(name)).unwrap() {
        without_sums(&mut bytes);
    }
    said(name, &bytes)
}

/// Takes the sums out of a zip archive, as torch.serialization.set_crc32_options(False) does.
fn without_sums(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(20) {
        if bytes[at..].starts_with(b"PK\x01\x02") {
            bytes[at + 16..at + 20].fill(0);
        }
    }
}

const STATE_DICT: &str = "; needs a state dict: save it again by torch.save(model.state_dict(), path)";
const DAMAGED: &str = "; the file is damaged or cut off: copy or download it again";

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
    let linear = "torch.nn.modules.linear.Linear";
    assert_eq!(
        told("object.pth", |_| {}),
        format!(
            "it holds an object of the class {linear}, not a state dict; Kiln runs no code of a file{STATE_DICT}; where its code is: \
             torch.save(torch.load(FILE, weights_only=False).state_dict(), path)"
        )
    );
    assert_eq!(
        told("object_inside.pth", |_| {}),
        format!(
            "it holds an object of the class {linear} under \"model\", not a state dict; Kiln runs no code of a file{STATE_DICT}; where its \
             code is: torch.save(torch.load(FILE, weights_only=False)[\"model\"].state_dict(), path)"
        )
    );
    assert_eq!(
        told("script.pth", |_| {}),
        "it is a program of TorchScript (torch.jit.save), which Kiln does not run; take its weights in PyTorch: \
         torch.save(torch.jit.load(FILE).state_dict(), path)"
    );
    assert_eq!(told("nothing.pth", |_| {}), format!("its dict holds no tensors but [\"epoch\", \"loss\"]{STATE_DICT}"));
    assert_eq!(
        told("several.pth", |_| {}),
        "it holds several dicts of tensors, \"generator\" (2 tensors), \"discriminator\" (2 tensors); choose one: kiln convert --key NAME \
         writes it to a file of its own"
    );
    assert_eq!(
        told("expanded.pth", |_| {}),
        "w of [1000] repeats the 1 elements of its storage; call contiguous() on it before it is saved"
    );
}

#[test]
fn other_machines_and_versions_are_told() {
    let big = "it was written on a big-endian machine, which Kiln does not read; load it in PyTorch and save it again on another";
    assert_eq!(told("types_zip.pth", replace(b"little", b"bigend")), big);
    assert_eq!(told("types_legacy.pth", replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89")), big);
    assert_eq!(
        told("types_legacy.pth", replace(b"\x80\x02M\xe9\x03.", b"\x80\x02M\xea\x03.")),
        format!("it is of another version than 1001{DAMAGED}")
    );
}

#[test]
fn tensors_that_are_not_read_are_told() {
    let reads = ", which Kiln does not read; it reads dense tensors of Double, Float, Half, BFloat16, Long, Int, Short, Char, Byte and \
                 BoolStorage; convert it before it is saved: tensor.dequantize(), .to_dense() or .float()";
    assert_eq!(told("quantized.pth", |_| {}), format!("q is made by torch._utils._rebuild_qtensor{reads}"));
    assert_eq!(
        told("types_zip.pth", replace(b"FloatStorage", b"QuintStorage")),
        format!("f32 is made by torch.QuintStorage{reads}")
    );
    assert_eq!(
        told("types_zip.pth", replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9")),
        format!("f64 is made by torch._utils._rebuild_tensor_v9{reads}")
    );
}

#[test]
fn damaged_files_are_told() {
    let length = fs::metadata(recorded("types_legacy.pth")).unwrap().len();
    let short = told("types_legacy.pth", |bytes| bytes.truncate(bytes.len() - 1));
    assert!(short.starts_with(&format!("the file has {} bytes and ends within the storage ", length - 1)), "{short}");
    assert!(short.ends_with(DAMAGED), "{short}");
    assert_eq!(
        told("types_zip.pth", replace(b"collections\nOrderedDict", b"collections\nOrderedDic\x99")),
        format!("the pickle is not read: the name at byte 132 is not UTF-8{DAMAGED}")
    );
}
