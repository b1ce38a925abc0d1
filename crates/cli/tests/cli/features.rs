//! `kiln features`.

use std::fs;

use kiln_data::FashionMnist;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::{done, failed, photos, text, trained};

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn vectors_of_a_dataset_are_those_that_the_last_layer_gets() {
    let folder = tempfile::tempdir().unwrap();
    let (path, logits) = (folder.path().join("test.safetensors"), folder.path().join("logits.npy"));
    let args = ["features", "--weights", text(trained()), "--data", "fashion-mnist"];
    assert_eq!(done(&[&args[..], &[text(&path)]].concat()), format!("{}: 2000 rows of 84 numbers\n", path.display()));
    let file = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let features = tensors.tensor("features").unwrap();
    assert_eq!(features.shape(), [2000, 84]);
    let features = floats(features.data());
    let labels: Vec<u8> = FashionMnist::embedded().unwrap().test().labels().flat_map(u32::to_le_bytes).collect();
    assert_eq!(tensors.tensor("labels").unwrap().data(), labels);
    // A bit of a row is noticed.
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    let told = failed(&["convert", text(&path), text(&logits)]);
    assert!(told.contains(" does not match its checksum; "), "{told}");

    // The last layer's own values make the logits of them.
    done(&[&args[..], &["--layer", "classifier.4", text(&logits)]].concat());
    let npy = fs::read(&logits).unwrap();
    let header = String::from_utf8_lossy(&npy[10..128]).into_owned();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2000, 10), }"), "{header}");
    let logits = floats(&npy[128..]);
    let weights = fs::read(trained().join("best.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let values = |name: &str| floats(weights.tensor(name).unwrap().data());
    let (weight, bias) = (values("classifier.4.weight"), values("classifier.4.bias"));
    for image in [0, 1234, 1999] {
        for class in 0..10 {
            let row = features[image * 84..].iter().zip(&weight[class * 84..][..84]);
            let logit = row.map(|(x, w)| x * w).sum::<f32>() + bias[class];
            assert!((logit - logits[image * 10 + class]).abs() < 1e-3, "{image} {class}");
        }
    }
    let beside: Value = serde_json::from_slice(&fs::read(folder.path().join("logits.json")).unwrap()).unwrap();
    assert_eq!((&beside["layer"], &beside["model"]), (&"classifier.4".into(), &"lenet5".into()));
    assert_eq!((&beside["classes"][9], &beside["labels"].as_array().unwrap().len()), (&"Ankle boot".into(), &2000));
    assert_eq!(beside["files"][3], "sample 3");
}

#[test]
fn vectors_of_files_have_their_names() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), &["cat"], 3);
    let path = folder.path().join("out.npy");
    let args = ["features", "--weights", text(trained())];
    let said = done(&[&args[..], &[text(&path), text(&folder.path().join("cat"))]].concat());
    let beside = folder.path().join("out.json");
    assert_eq!(said, format!("{}, {}: 3 rows of 84 numbers\n", path.display(), beside.display()));
    let beside: Value = serde_json::from_slice(&fs::read(&beside).unwrap()).unwrap();
    assert_eq!(beside["files"][2], text(&folder.path().join("cat").join("2.png")));
    assert_eq!((&beside["layer"], &beside["labels"]), (&"input of classifier.4".into(), &Value::Null));
    assert_eq!(
        failed(&[&args[..], &["--layer", "features.99", text(&path), text(folder.path())]].concat()),
        "error: --layer features.99: lenet5 has no layer of this name; `kiln summary --model lenet5` lists them"
    );
}
