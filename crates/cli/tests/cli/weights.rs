//! Weights files.

use std::fs;
use std::path::Path;

use crate::{done, err, failed, kiln, out, text, trained};

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
    let expected = "it is text that starts with \"Dear all\"; pass weights of PyTorch (.pth), or a safetensors file";
    assert!(told.ends_with(expected), "{told}");
}

fn recorded(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_weights_of_a_checkpoint_are_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linear.safetensors");
    let path = path.to_str().unwrap();
    let imagenet = recorded("imagenet.pth");
    let output = kiln(&["convert", &imagenet, path]);
    assert_eq!(out(&output), format!("{path}: 2 tensors, 8 elements\n"));
    assert_eq!(err(&output), format!("{imagenet}: the weights are those under \"state_dict\"\n"));

    let averages = recorded("averages.pth");
    let output = kiln(&["convert", "--list", &averages]);
    assert_eq!(
        err(&output),
        format!(
            "{averages}: the weights are those under \"model\"\n{averages}: it also holds tensors under \"model_ema\", which `kiln convert \
             --key NAME` writes to a file\n"
        )
    );
    let output = kiln(&["convert", "--key", "model_ema", &averages, path]);
    assert!(
        err(&output).starts_with(&format!("{averages}: the weights are those under \"model_ema\"\n")),
        "{}",
        err(&output)
    );

    let several = recorded("several.pth");
    assert_eq!(
        failed(&["convert", &several, path]),
        format!(
            "error: {several}: it holds several dicts of tensors, \"generator\" (2 tensors), \"discriminator\" (2 tensors); choose one: \
             kiln convert --key NAME writes it to a file of its own"
        )
    );
    let parallel = recorded("parallel.pth");
    assert_eq!(
        err(&kiln(&["convert", "--list", &parallel])),
        format!("{parallel}: left out, since they are no tensors: extra\n")
    );
}

/// Kiln's weights under names that DataParallel gives them, and under other ones.
#[test]
fn weights_under_other_names_are_loaded_or_shown_beside_the_models() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(trained().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = |to: &dyn Fn(&str) -> String| {
        let path = folder.path().join("renamed.safetensors");
        let tensors = file.tensors().into_iter().map(|(name, tensor)| (to(&name), tensor));
        fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        path
    };
    let features = |path: &Path| {
        let photo = folder.path().join("shoe.png");
        fs::write(&photo, SHOE).unwrap();
        kiln(&["predict", "--weights", text(path), "--model", "lenet5", text(&photo)])
    };
    let path = renamed(&|name| name.replacen("features.", "features.module.", 1));
    let output = features(&path);
    assert!(output.status.success(), "{}", err(&output));
    let line = format!("{}: module. was removed from the names of its tensors\n", path.display());
    assert!(err(&output).contains(&line), "{}", err(&output));
    let path = renamed(&|name| name.replace("features.", "stem."));
    let said = err(&features(&path));
    assert!(said.contains("does not fit the model:\n  the file has "), "{said}");
    assert!(
        said.contains("  the model needs\n  stem.0.bias f32 [6] ")
            && said.contains(" features.0.weight f32 [6, 1, 5, 5]\n"),
        "{said}"
    );
    assert!(!said.contains("LoadOptions"), "{said}");
}

/// A grey image of 2x2 pixels.
const SHOE: &[u8] = b"P5 2 2 255 \x0a\xc8\x20\x40";

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
