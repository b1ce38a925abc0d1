//! Weights files.

use std::fs;
use std::path::Path;

use crate::{done, failed, kiln, text, trained};

#[test]
fn weights_of_pytorch_are_listed_and_converted() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch/checkpoint_legacy.pth");
    let recorded = recorded.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linear.safetensors");
    let path = path.to_str().unwrap();
    let list = "bias    f32 [2]\nweight  f32 [2, 3]\n";
    assert_eq!(done(&["convert", "--list", recorded]), list);
    assert_eq!(done(&["convert", recorded, path]), format!("{path}: 2 tensors, 8 elements\n"));
    assert_eq!(done(&["convert", path, "--list"]), list);
    assert_eq!(kiln(&["convert", recorded]).status.code(), Some(2));
    let text = folder.path().join("letter.pth");
    std::fs::write(&text, "Dear all").unwrap();
    let told = failed(&["convert", text.to_str().unwrap(), path]);
    assert!(told.contains("it is no safetensors file, or it is damaged: save it again"), "{told}");
}

#[test]
fn damaged_weights_are_told_and_can_be_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path();
    let [best, last] = ["best.safetensors", "model.safetensors"].map(|name| run.join(name));
    let whole = fs::read(trained().join("best.safetensors")).unwrap();
    fs::write(&last, &whole).unwrap();
    let mut bytes = whole;
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&best, &bytes).unwrap();
    let mismatch = format!("error: {}: the tensor features.3.weight does not match its checksum; ", best.display());
    for command in ["eval", "predict"] {
        let image: &[&str] = if command == "eval" { &["--data", "fashion-mnist"] } else { &["shoe.png"] };
        let told = failed(&[&[command, "--weights", text(run)], image].concat());
        assert!(told.starts_with(&mismatch), "{told}");
        let left = format!("; the run's other weights are whole: --weights {}", last.display());
        assert!(told.ends_with(&left), "{told}");
    }
    let taken = run.join("taken.safetensors");
    let told = failed(&["convert", text(&best), text(&taken)]);
    assert!(told.starts_with(&mismatch) && told.contains("kiln convert --unverified"), "{told}");
    assert!(!taken.exists());
    done(&["convert", "--unverified", text(&best), text(&taken)]);
    done(&["convert", text(&taken), text(&taken)]);
    assert_eq!(done(&["convert", "--list", text(&taken)]), done(&["convert", "--list", text(&last)]));
}

#[test]
fn weights_that_cannot_be_used_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let weights = trained().join("model.safetensors");
    let predict = |weights: &Path, more: &[&str]| {
        failed(&[&["predict", "--weights", text(weights)], more, &["shoe.png"]].concat())
    };
    let cut = folder.path().join("cut.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        predict(&cut, &[]),
        format!(
            "error: {}: holds {} bytes, its header declares {}; it is cut off: copy or save it again",
            cut.display(),
            whole.len() / 2,
            whole.len()
        )
    );
    assert_eq!(
        predict(&weights, &["--model", "mlp"]),
        format!("error: {}: holds weights of lenet5, not of mlp; leave --model out", weights.display())
    );
    assert_eq!(
        predict(folder.path(), &[]),
        format!(
            "error: {}: holds neither best.safetensors nor model.safetensors; pass a run's folder or a weights file",
            folder.path().display()
        )
    );
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch/checkpoint_legacy.pth");
    assert_eq!(
        predict(&recorded, &[]),
        format!(
            "error: {}: does not say of which model it is; pass --model with one of `kiln models`",
            recorded.display()
        )
    );
}
