//! Weights files: what is written is read again to the bit, by Kiln and by others, and what is damaged is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use kiln_nn::{
    Build, Error, Init, Linear, LoadOptions, Loaded, MAX_HEADER_BYTES, Module, ReLU, Sequential, StateDict, StateFile,
    TensorSource, save_tensors, write_atomically,
};
use kiln_tensor::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

struct Bench {
    device: Device,
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { device: Device::open_default().unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, seed: u64) -> Sequential {
        Sequential::builder()
            .layer(Linear::builder(5, 4))
            .layer(ReLU)
            .layer(Linear::builder(4, 3))
            .build(&self.device, &Init::seed(seed))
            .unwrap()
    }

    /// A file with these bytes.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What opening a file with these bytes says, without the path.
    fn told(&self, bytes: &[u8]) -> String {
        let path = self.file("bad.safetensors", bytes);
        let error = StateFile::open(&path).unwrap_err().to_string();
        error.strip_prefix(&format!("{}: ", path.display())).expect(&error).to_string()
    }
}

fn bits(model: &dyn Module) -> Vec<Vec<u32>> {
    let parameters = model.parameters();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    parameters.iter().map(|(_, p)| bits(p.value().to_vec::<f32>().unwrap())).collect()
}

/// A file with this header and so many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn a_round_trip_keeps_every_bit() {
    let bench = Bench::new();
    let (model, other) = (bench.model(1), bench.model(2));
    // Values that a detour through text or arithmetic would change.
    let odd = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 4.0];
    let bias = model.parameters().get("0.bias").unwrap().clone();
    bias.set(Tensor::from_slice(&bench.device, 4, &odd).unwrap()).unwrap();
    let path = bench.path("model.safetensors");
    let metadata = BTreeMap::from([("model".to_string(), "two \"layers\"\n".to_string())]);
    model.save_with(&path, &metadata).unwrap();
    assert_ne!(bits(&other), bits(&model));
    other.load(&path).unwrap();
    assert_eq!(bits(&other), bits(&model));

    let file = StateFile::open(&path).unwrap();
    assert_eq!(file.metadata()["model"], "two \"layers\"\n");
    assert_eq!(file.metadata()["kiln_version"], env!("CARGO_PKG_VERSION"));
    // The same tensors and text give the same bytes.
    let again = bench.path("again.safetensors");
    other.save_with(&again, &metadata).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn other_programs_and_kiln_read_each_others_files() {
    let bench = Bench::new();
    let model = bench.model(1);
    let path = bench.path("kiln.safetensors");
    model.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 4);
    let weight: Vec<f32> = bytemuck::pod_collect_to_vec(file.tensor("2.weight").unwrap().data());
    assert_eq!(weight, model.parameters().get("2.weight").unwrap().value().to_vec::<f32>().unwrap());

    let theirs = bench.path("theirs.safetensors");
    let tensors: Vec<_> = file.tensors();
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), &theirs).unwrap();
    let other = bench.model(2);
    other.load(&theirs).unwrap();
    assert_eq!(bits(&other), bits(&model));
    // Their text is read as it is; of Kiln's they find all under one key.
    let text = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    assert_eq!(StateFile::open(&theirs).unwrap().metadata(), &text);
    let text = format!(r#"{{"kiln_checksums":"xxh3-128","kiln_version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    assert_eq!(outer(&bytes)["kiln"], text);
}

/// What another program finds under `__metadata__`.
fn outer(file: &[u8]) -> HashMap<String, String> {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    header.metadata().clone().unwrap()
}

/// All that a file holds: its metadata, and the type, shape and bytes of each tensor.
type Content = (BTreeMap<String, String>, Vec<(String, String, Vec<u8>)>);

fn content(path: &Path) -> kiln_nn::Result<Content> {
    let mut file = StateFile::open(path)?;
    let names: Vec<(String, String)> =
        file.names().map(|name| (name.to_string(), format!("{:?}", file.shape(name)))).collect();
    let tensors = names.into_iter().map(|(name, form)| file.bytes(&name).map(|bytes| (name, form, bytes)));
    let tensors = tensors.collect::<kiln_nn::Result<_>>()?;
    Ok((file.metadata().clone(), tensors))
}

/// A file with tensors of several types, two of which have the same form. Needs no device.
fn small_file(path: &Path) -> Content {
    let floats: Vec<f32> = (0..12).map(|i| i as f32 * 0.37 - 2.0).collect();
    let tensors = [
        ("layer.weight", TensorSource::from_slice(&[3, 2], &floats[..6]).unwrap()),
        ("layer.other", TensorSource::from_slice(&[3, 2], &floats[6..]).unwrap()),
        ("labels", TensorSource::from_slice(&[3], &[1i32, 0, 2]).unwrap()),
        ("text", TensorSource::from_slice(&[5], b"Kiln!").unwrap()),
        ("none", TensorSource::from_slice::<f32>(&[0, 4], &[]).unwrap()),
    ];
    let metadata = BTreeMap::from([("model".to_string(), "a \"net\"".to_string()), ("z".to_string(), String::new())]);
    save_tensors(tensors, path, &metadata).unwrap();
    content(path).unwrap()
}

/// Small numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn no_damage_is_read_as_other_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let expected = small_file(&path);
    let good = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    // Every bit, every length, and what a disk or a transfer does to more than a byte.
    for at in 0..good.len() {
        damaged.push(good[..at].to_vec());
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            damaged.push(bytes);
        }
    }
    let mut dice = Dice(3);
    for turn in 0..1_500 {
        let mut bytes = good.clone();
        let (from, length) = (dice.below(good.len()), 1 + dice.below(64));
        let end = (from + length).min(good.len());
        match turn % 3 {
            0 => bytes[from..end].fill(0),
            1 => bytes[from..end].iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
            _ => {
                let to = dice.below(good.len() - (end - from));
                bytes.copy_within(from..end, to);
            }
        }
        damaged.push(bytes);
    }
    let (mut tensors, mut headers, mut unharmed) = (0, 0, 0);
    for bytes in &damaged {
        // A new file: some file systems wait for the disk where one is overwritten.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        match content(&path) {
            // A space for a space, or an offset that says the same.
            Ok(content) => {
                assert!(content == expected, "{:?}", String::from_utf8_lossy(bytes));
                unharmed += 1;
            }
            Err(Error::Checksum { message, .. }) if message.starts_with("the tensor ") => tensors += 1,
            Err(Error::Checksum { .. }) => headers += 1,
            Err(Error::Header { .. } | Error::Truncated { .. } | Error::Damaged { .. } | Error::NotWeights { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    // Each bit of the data is covered, and of a header much is still JSON when it is damaged.
    assert!(
        tensors >= 8 * (12 * 4 + 3 * 4 + 5) && headers > 1_000 && unharmed < damaged.len() / 20,
        "{tensors} {headers} {unharmed}"
    );
}

/// Changes a tensor's data and gives its shape.
type Change<'a> = &'a dyn Fn(&str, TensorView<'_>, &mut Vec<u8>) -> Vec<usize>;

#[test]
fn a_file_that_another_program_rewrote_verifies_unless_its_content_changed() {
    let folder = tempfile::tempdir().unwrap();
    let [path, theirs] = ["kiln", "theirs"].map(|name| folder.path().join(name));
    let expected = small_file(&path);
    let bytes = fs::read(&path).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let write = |metadata: Option<HashMap<String, String>>, change: Change<'_>| {
        let copies: Vec<_> = whole
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let mut data = view.data().to_vec();
                let shape = change(&name, view.clone(), &mut data);
                (name, view.dtype(), shape, data)
            })
            .collect();
        let views = copies
            .iter()
            .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize_to_file(views, metadata, &theirs).unwrap();
    };
    let as_it_is = |_: &str, view: TensorView<'_>, _: &mut Vec<u8>| view.shape().to_vec();
    // With the metadata copied, and a key of their own: keys in an order of chance.
    let mut copied = outer(&bytes);
    copied.insert("format".to_string(), "pt".to_string());
    write(Some(copied.clone()), &as_it_is);
    let (mut metadata, tensors) = content(&theirs).unwrap();
    assert_eq!(metadata.remove("format").as_deref(), Some("pt"));
    assert_eq!((metadata, tensors), expected);

    let told = |what: &str| {
        format!(
            "{0}: {what}; the file was damaged, or another program changed it: copy or save it again, or, to use it as it is, give it \
             new checksums by kiln convert --unverified {0} NEW.safetensors",
            theirs.display()
        )
    };
    let other_value = |name: &str, view: TensorView<'_>, data: &mut Vec<u8>| {
        if name == "layer.weight" {
            data[3] ^= 1;
        }
        view.shape().to_vec()
    };
    write(Some(copied.clone()), &other_value);
    assert_eq!(content(&theirs).unwrap_err().to_string(), told("the tensor layer.weight does not match its checksum"));
    // What is read of it is verified, the rest is not read.
    assert_eq!(StateFile::open(&theirs).unwrap().bytes("text").unwrap(), b"Kiln!");
    let changed = StateFile::open_unverified(&theirs).unwrap().bytes("layer.weight").unwrap();
    // Taken as it is, even in its own place.
    StateFile::open_unverified(&theirs).unwrap().save(&theirs).unwrap();
    let mut again = StateFile::open(&theirs).unwrap();
    again.verify().unwrap();
    assert_eq!(again.bytes("layer.weight").unwrap(), changed);
    assert_eq!(again.metadata()["model"], "a \"net\"");

    let other_shape = |name: &str, view: TensorView<'_>, _: &mut Vec<u8>| {
        if name == "layer.weight" { vec![2, 3] } else { view.shape().to_vec() }
    };
    write(Some(copied.clone()), &other_shape);
    let header = "the header (names, types and shapes of the tensors, metadata) does not match its checksum";
    assert_eq!(content(&theirs).unwrap_err().to_string(), told(header));
    for key in ["kiln", "kiln_checksums"] {
        let mut partly = copied.clone();
        partly.remove(key);
        write(Some(partly), &as_it_is);
        assert_eq!(content(&theirs).unwrap_err().to_string(), told("a part of its checksums is missing"));
    }
    let mut newer = copied.clone();
    newer.insert("kiln".to_string(), r#"{"kiln_checksums":"xxh9"}"#.to_string());
    write(Some(newer), &as_it_is);
    let kind = r#"its checksums are of the kind "xxh9", this version of Kiln verifies "xxh3-128""#;
    assert_eq!(content(&theirs).unwrap_err().to_string(), told(kind));

    // Files without checksums: of other programs, and of Kiln before there were any.
    write(None, &other_value);
    assert_eq!(content(&theirs).unwrap().1.len(), 5);
    let before = r#"{"kiln_version":"0.1.0","model":"net"}"#.to_string();
    write(Some(HashMap::from([("kiln".to_string(), before)])), &other_value);
    let (metadata, _) = content(&theirs).unwrap();
    assert_eq!(
        metadata,
        BTreeMap::from([("kiln_version", "0.1.0"), ("model", "net")].map(|(k, v)| (k.into(), v.into())))
    );
}

#[test]
fn what_a_file_cannot_hold_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let three = |shape: &[usize]| TensorSource::from_slice(shape, &[1i32, 2, 3]);
    assert_eq!(
        three(&[2]).unwrap_err().to_string(),
        "TensorSource: 3 elements for the shape [2]; pass as many as it has"
    );
    let told = |names: &[&str], key: &str| {
        let tensors = names.iter().map(|name| (*name, three(&[3]).unwrap()));
        save_tensors(tensors, &path, &[(key.to_string(), String::new())].into()).unwrap_err().to_string()
    };
    assert_eq!(told(&["a", "b", "a"], ""), r#"save: two tensors are named "a"; give each its own name"#);
    assert_eq!(
        told(&["__metadata__"], ""),
        r#"save: no tensor can be named "__metadata__" in a safetensors file; name it otherwise"#
    );
    assert_eq!(
        told(&["a"], "kiln_checksums"),
        r#"save: the metadata key "kiln_checksums" is Kiln's own; use another key"#
    );
    let names: Vec<String> = (0..20_000).map(|i| format!("layer.{i}.weight")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = told(&names, "");
    assert!(
        many.contains("the header for 20000 tensors would take ") && many.contains(", at most 2097152 are read"),
        "{many}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"old");
    // Ten thousand fit.
    save_tensors(names[..10_000].iter().map(|name| (*name, three(&[3]).unwrap())), &path, &BTreeMap::new()).unwrap();
    assert_eq!(StateFile::open(&path).unwrap().names().count(), 10_000);
}

#[test]
fn a_save_replaces_the_file_and_leaves_nothing_else() {
    let bench = Bench::new();
    let path = bench.file("model.safetensors", b"old");
    bench.model(1).save(&path).unwrap();
    bench.model(2).save(&path).unwrap();
    let names: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model.safetensors"]);
    bench.model(3).load(&path).unwrap();
}

#[test]
fn a_save_that_fails_says_where_and_leaves_the_old_file() {
    let bench = Bench::new();
    let missing = bench.path("no such folder").join("model.safetensors");
    let error = bench.model(1).save(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot write a temporary file beside it: ", missing.display())), "{error}");
    // A folder in its place: the rename fails, and no temporary file stays.
    let folder = bench.path("taken");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "kept").unwrap();
    let error = write_atomically(&folder, b"new").unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot rename the temporary file to it: ", folder.display())), "{error}");
    let names: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["taken"]);
}

/// The advice for tensors of other shapes.
const DIFFERS: &str =
    "choose the model that the weights are of, with as many classes, or leave layers of other shapes out of the load";

#[test]
fn many_misfits_are_shown_in_few_lines() {
    let bench = Bench::new();
    let path = bench.path("model.safetensors");
    bench.model(1).save(&path).unwrap();
    let mut layers = Sequential::builder();
    for _ in 0..6 {
        layers = layers.layer(Linear::builder(2, 2));
    }
    let error = layers.build(&bench.device, &Init::seed(2)).unwrap().load(&path).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[1], "  the file has         the model needs");
    assert_eq!(lines[2], "  0.weight f32 [4, 5]  0.weight f32 [2, 2]");
    assert_eq!((lines[10], lines.len()), ("  and 4 more", 12), "{error}");
}

#[test]
fn loading_is_strict_and_changes_nothing_where_it_fails() {
    let bench = Bench::new();
    let path = bench.path("model.safetensors");
    bench.model(1).save(&path).unwrap();
    let wider = Sequential::builder()
        .layer(Linear::builder(5, 4))
        .layer(ReLU)
        .layer(Linear::builder(4, 7))
        .build(&bench.device, &Init::seed(2))
        .unwrap();
    let before = bits(&wider);
    assert_eq!(
        wider.load(&path).unwrap_err().to_string(),
        format!(
            "{} does not fit the model:\n  the file has         the model needs\n  2.weight f32 [3, 4]  2.weight f32 [7, 4]\n  2.bias f32 [3]       \
             2.bias f32 [7]\n{DIFFERS}",
            path.display()
        )
    );
    // Shapes have to fit in any case.
    assert!(wider.load_with(&path, LoadOptions::partial()).is_err());
    assert_eq!(bits(&wider), before);

    let renamed = Sequential::builder()
        .layer(Linear::builder(5, 4))
        .layer(Linear::builder(4, 3).bias(false))
        .build(&bench.device, &Init::seed(2))
        .unwrap();
    assert_eq!(
        renamed.load(&path).unwrap_err().to_string(),
        format!(
            "{} does not fit the model:\n  the file has         the model needs\n  2.bias f32 [3]       1.weight f32 [3, 4]\n  2.weight f32 [3, 4]  -\n\
             choose the model that the weights are of, or load weights of this model",
            path.display()
        )
    );
    let loaded = renamed.load_with(&path, LoadOptions::partial()).unwrap();
    let expected = Loaded {
        missing: vec!["1.weight".into()],
        unexpected: vec!["2.bias".into(), "2.weight".into()],
        ..Loaded::default()
    };
    assert_eq!(loaded, expected);
    assert_eq!(bits(&renamed)[..2], bits(&bench.model(1))[..2]);
}

#[test]
fn a_new_head_keeps_its_own_values() {
    let bench = Bench::new();
    let path = bench.path("model.safetensors");
    bench.model(1).save(&path).unwrap();
    let build = || {
        let layers = Sequential::builder().layer(Linear::builder(5, 4)).layer(ReLU).layer(Linear::builder(4, 7));
        layers.build(&bench.device, &Init::seed(2)).unwrap()
    };
    let (body, head) = (bits(&bench.model(1))[..2].to_vec(), bits(&build())[2..].to_vec());
    let names = |names: [&str; 2]| names.map(String::from).to_vec();

    let wider = build();
    let loaded = wider.load_with(&path, LoadOptions::new().except("2.")).unwrap();
    assert_eq!(loaded, Loaded { excepted: names(["2.weight", "2.bias"]), ..Loaded::default() });
    assert_eq!(bits(&wider), [body.clone(), head.clone()].concat());

    let wider = build();
    let loaded = wider.load_with(&path, LoadOptions::new().allow_mismatched()).unwrap();
    assert_eq!(loaded, Loaded { mismatched: names(["2.weight", "2.bias"]), ..Loaded::default() });
    assert_eq!(bits(&wider), [body, head].concat());

    // What the file has under such names does not matter, nor that the model has none.
    let headless = Sequential::builder().layer(Linear::builder(5, 4)).build(&bench.device, &Init::seed(2)).unwrap();
    assert!(headless.load(&path).is_err());
    assert_eq!(headless.load_with(&path, LoadOptions::new().except("2.")).unwrap(), Loaded::default());
}

#[test]
fn floats_of_another_type_are_converted() {
    let bench = Bench::new();
    let layer = Linear::builder(1, 2).bias(false).build(&bench.device, &Init::seed(1)).unwrap();
    for (dtype, bytes) in [
        ("BF16", vec![0xc0, 0x3f, 0x00, 0xc0]),
        ("F16", vec![0x00, 0x3e, 0x00, 0xc0]),
        ("F64", [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat()),
    ] {
        let header = format!(r#"{{"weight":{{"dtype":"{dtype}","shape":[2,1],"data_offsets":[0,{}]}}}}"#, bytes.len());
        let mut file = with_header(&header, 0);
        file.extend(bytes);
        let path = bench.file("floats.safetensors", &file);
        layer.load(&path).unwrap();
        assert_eq!(layer.parameters().get("weight").unwrap().value().to_vec::<f32>().unwrap(), [1.5, -2.0], "{dtype}");
    }
}

#[test]
fn another_element_type_is_told() {
    let bench = Bench::new();
    let layer = Linear::builder(1, 2).bias(false).build(&bench.device, &Init::seed(1)).unwrap();
    let bytes = with_header(r#"{"weight":{"dtype":"I32","shape":[2,1],"data_offsets":[0,8]}}"#, 8);
    let path = bench.file("ints.safetensors", &bytes);
    assert_eq!(
        layer.load(&path).unwrap_err().to_string(),
        format!(
            "{} does not fit the model:\n  the file has       the model needs\n  weight i32 [2, 1]  weight f32 [2, 1]\n{DIFFERS}",
            path.display()
        )
    );
}

#[test]
fn damaged_files_are_told() {
    let bench = Bench::new();
    let path = bench.path("model.safetensors");
    bench.model(1).save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let damaged = "it is no safetensors file, or it is damaged: save it again";

    let cut = bench.told(&whole[..whole.len() - 1]);
    let expected = format!("holds {} bytes, its header declares {}", whole.len() - 1, whole.len());
    assert_eq!(cut, format!("{expected}; it is cut off: copy or save it again"));
    let cut = bench.told(&whole[..40]);
    assert!(cut.starts_with("holds 40 bytes, its header declares ") && cut.ends_with("save it again"), "{cut}");
    assert_eq!(bench.told(b"abc"), format!("the file has 3 bytes, a header's length alone takes 8; {damaged}"));
    assert_eq!(bench.told(b""), "it is empty; the file is damaged or cut off: copy or download it again");
    let mut longer = whole.clone();
    longer.push(0);
    let expected = format!("the file has {} bytes, its header declares {}; {damaged}", whole.len() + 1, whole.len());
    assert_eq!(bench.told(&longer), expected);
    let mut long = whole.clone();
    long[5] = 1;
    let needed = u64::from_le_bytes(long[..8].try_into().unwrap());
    let limit = format!("the header would take {needed} bytes, at most {MAX_HEADER_BYTES} are read; {damaged}");
    assert_eq!(bench.told(&long), limit);
    let text = bench.told(b"These are no weights but a letter to you.");
    let shown = "it is text that starts with \"These are no weights but a lette\"";
    assert_eq!(text, format!("{shown}; pass weights of PyTorch (.pth), or a safetensors file"));
    // Every cut and every flipped byte of the header is an error or a file that can be read, never a panic.
    for at in 0..whole.len().min(400) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        for bytes in [&whole[..at], &flipped] {
            let path = bench.file("bad.safetensors", bytes);
            let _ = bench.model(2).load(&path);
        }
    }
}

#[test]
fn headers_that_lie_are_told() {
    let bench = Bench::new();
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let huge = u64::MAX;
    let misfit = "the header is not understood: invalid shape, data type, or offset for tensor";
    let misplaced = "the header is not understood: invalid offset for tensor `w`";
    let overflow = "the header is not understood: overflow computing buffer size from shape and/or element type";
    let cases = [
        (entry("F32", "[2]", "[0,4]"), misfit),
        (entry("F32", "[2]", "[8,0]"), misplaced),
        (entry("F32", "[2]", "[4,12]"), misplaced),
        (
            entry("U16", "[6]", "[0,12]"),
            "w has elements of type U16, which Kiln does not read; it reads F64, F32, F16, BF16, I64, I32, I16, I8, U32, U8 and BOOL",
        ),
        (entry("F32", "[1,1,1,1,1,1,3]", "[0,12]"), "w has 7 axes, at most 6 are read"),
        (entry("F32", "[4294967296,4294967296]", "[0,4]"), overflow),
        (entry("U8", &format!("[{huge}]"), &format!("[0,{huge}]")), overflow),
        (entry("U8", "[1]", &format!("[{},{huge}]", huge - 1)), misplaced),
        (
            r#"{"__metadata__":{"kiln":"[]"},"w":{"dtype":"U8","shape":[12],"data_offsets":[0,12]}}"#.to_string(),
            "the metadata under \"kiln\" is no JSON object of text: invalid type: sequence, expected a map at line 1 column 0",
        ),
    ];
    for (header, expected) in cases {
        let told = bench.told(&with_header(&header, 12));
        assert_eq!(told, format!("{expected}; it is no safetensors file, or it is damaged: save it again"), "{header}");
    }
    let unknown = bench.told(&with_header(&entry("F99", "[3]", "[0,12]"), 12));
    assert!(unknown.starts_with("the header is not understood: unknown variant `F99`, expected one of "), "{unknown}");
    let overlap =
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert!(bench.told(&with_header(overlap, 6)).contains("invalid offset for tensor `b`"));
    // A petabyte that is not there is not allocated.
    let absent = entry("U8", "[1125899906842624]", "[0,1125899906842624]");
    assert!(bench.told(&with_header(&absent, 8)).contains("its header declares 1125899906842"));
    // Nor does the sum of sizes that are as large as they can be overflow.
    let most = u64::MAX / 8;
    let tensors: Vec<String> = (0..8)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[{most}],"data_offsets":[{},{}]}}"#, i * most, (i + 1) * most))
        .collect();
    let endless = bench.told(&with_header(&format!("{{{}}}", tensors.join(",")), 8));
    assert!(endless.contains("its header declares 18446744073709551615; it is cut off"), "{endless}");
}

#[test]
fn paths_that_are_no_files_are_told() {
    let bench = Bench::new();
    let model = bench.model(1);
    let told = |path: &Path| model.load(path).unwrap_err().to_string();
    let folder = bench.folder.path();
    assert_eq!(
        told(folder),
        format!("{}: is not a regular file; pass the path of a .safetensors file", folder.display())
    );
    let missing = bench.path("missing.safetensors");
    assert!(told(&missing).starts_with(&format!("{}: cannot open: ", missing.display())));
}
