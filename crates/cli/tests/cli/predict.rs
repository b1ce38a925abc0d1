//! `kiln predict`.

use std::fs;
use std::path::Path;

use kiln_data::FashionMnist;
use serde_json::Value;

use crate::{done, err, failed, kiln, out, text, trained};

/// An image of the test set as a PGM file.
fn image(folder: &Path, name: &str, invert: bool) -> String {
    let sample = FashionMnist::embedded().unwrap().test().get(0).unwrap();
    let path = folder.join(name);
    let mut bytes = b"P5 28 28 255\n".to_vec();
    bytes.extend(sample.image.iter().map(|&pixel| if invert { 255 - pixel } else { pixel }));
    fs::write(&path, bytes).unwrap();
    text(&path).to_string()
}

#[test]
fn images_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["predict", "--weights", text(trained())];
    let path = image(folder.path(), "image.pgm", false);
    let predicted: Value =
        serde_json::from_str(&done(&[&args[..], &["--json", "--top", "10", &path, &path]].concat())).unwrap();
    assert_eq!((predicted.as_array().unwrap().len(), &predicted[0]["file"]), (2, &Value::from(path.as_str())));
    let classes = predicted[0]["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 10);
    let probabilities: Vec<f64> = classes.iter().map(|class| class["probability"].as_f64().unwrap()).collect();
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{probabilities:?}");
    assert!(probabilities.windows(2).all(|pair| pair[0] >= pair[1]), "{probabilities:?}");
    for class in classes {
        let label = class["label"].as_u64().unwrap() as usize;
        assert_eq!(class["class"], FashionMnist::CLASSES[label]);
    }
    let (class, percent) = (classes[0]["class"].as_str().unwrap(), 100.0 * probabilities[0]);
    let table = done(&[&args[..], &["--top", "1", &path]].concat());
    assert_eq!(table, format!("{path}  {class}  {percent:5.1} %\n"));
    // A negative, turned back, is the same image.
    let negative = image(folder.path(), "negative.pgm", true);
    let table = done(&[&args[..], &["--top", "1", "--invert", &negative]].concat());
    assert_eq!(table, format!("{negative}  {class}  {percent:5.1} %\n"));
}

#[test]
fn images_that_cannot_be_read_are_told_after_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let good = image(folder.path(), "a.pgm", false);
    let (bad, worse) = (folder.path().join("b.png"), folder.path().join("c.png"));
    fs::write(&bad, "This is no picture.").unwrap();
    fs::write(&worse, "Nor is this.").unwrap();
    let known = "which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file";
    let first = format!("{}: starts with \"This is no pictu\", {known}", bad.display());
    let second = format!("{}: starts with \"Nor is this.\", {known}", worse.display());
    let args = ["predict", "--weights", text(trained()), "--top", "1"];

    // A folder, in the order of the names.
    let output = kiln(&[&args[..], &[text(folder.path())]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), format!("error: 2 of 3 images cannot be read: {first}; {second}\n"));
    assert!(out(&output).starts_with(&format!("{good}  ")) && out(&output).lines().count() == 1, "{}", out(&output));

    // In JSON each has its place.
    let output = kiln(&[&args[..], &["--json", text(&bad), &good]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), format!("error: {first}\n"));
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&told[0]["error"], &told[0]["classes"]), (&first.as_str().into(), &Value::Null));
    assert!(told[1]["error"].is_null() && told[1]["classes"].is_array(), "{told}");

    // None that can be read.
    assert_eq!(
        failed(&[&args[..], &[text(&bad), text(&worse)]].concat()),
        format!("error: 2 of 2 images cannot be read: {first}; {second}")
    );
    let missing = folder.path().join("missing.png");
    let told = failed(&[&args[..], &[text(&missing)]].concat());
    assert!(told.starts_with(&format!("error: {}: ", missing.display())), "{told}");
    assert_eq!(told.matches("No such file").count(), usize::from(cfg!(unix)), "{told}");
}
