//! Every example runs, on a small input, and prints what it promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs an example in a folder and returns what it printed. Cargo builds examples before it runs tests.
fn run(name: &str, folder: &Path, args: &[&str]) -> String {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().with_file_name("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    let out = Command::new(&program).args(args).current_dir(folder).env("TMPDIR", folder).env("TEMP", folder).output();
    let out = out.unwrap_or_else(|error| panic!("{}: {error}; build it: cargo build --examples", program.display()));
    let [stdout, stderr] = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(out.status.success(), "{name}: {}\n{stdout}\n{stderr}", out.status);
    stdout
}

/// The number in front of a text.
fn number_before(text: &str, unit: &str) -> f64 {
    let before = text.split(unit).next().unwrap();
    before.split_whitespace().last().unwrap().parse().unwrap_or_else(|_| panic!("no number before {unit:?}: {text}"))
}

/// The line that begins like this.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no line {start:?} in:\n{text}"))
}

#[test]
fn train_lenet() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("train_lenet", folder.path(), &["60"]);
    let accuracy = number_before(text.lines().find(|line| line.contains("test images are right")).unwrap(), " %");
    assert!(accuracy > 55.0, "{text}");
    assert!(text.contains("precision") && text.contains("recall"), "{text}");
}

#[test]
fn train_alexnet() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("train_alexnet", folder.path(), &["drawn", "1"]);
    assert!(text.contains("the best epoch was 1"), "{text}");
    assert!(folder.path().join("runs/alexnet/best.safetensors").is_file());
}

#[test]
fn train_vgg() {
    let folder = tempfile::tempdir().unwrap();
    run("train_vgg", folder.path(), &["drawn", "1"]);
    assert!(folder.path().join("runs/vgg/model.safetensors").is_file());
    assert!(folder.path().join("runs/vgg/checkpoint.safetensors").is_file());
}

#[test]
fn finetune_folder() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("finetune_folder", folder.path(), &["drawn"]);
    assert!(line(&text, "then, from ").contains("250 images"), "{text}");
    assert!(line(&text, "12 parameters are frozen").contains("2 are new"), "{text}");
    let [without, with] = ["from nothing:", "fine-tuned:"].map(|start| number_before(line(&text, start), " %"));
    // 56 and 87 on lavapipe; five classes, so that 20 is chance.
    assert!(with > 70.0 && with > without + 15.0, "{text}");
}

#[test]
fn load_torchvision_weights() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("load_torchvision_weights", folder.path(), &[]);
    assert!(text.contains("16 tensors, 1000 classes"), "{text}");
    assert_eq!(
        line(&text, "a head of 3 classes"),
        "a head of 3 classes: classifier.6.weight and classifier.6.bias are left as they were"
    );
}

#[test]
fn predict() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("predict", folder.path(), &[]);
    assert_eq!(text.lines().filter(|line| line.starts_with("sample ") && line.contains(" %")).count(), 10, "{text}");
}

#[test]
fn custom_op() {
    let text = run("custom_op", &std::env::temp_dir(), &[]);
    // Of Mish at 1: 1 tanh(ln(1 + e)) = 0.86509838826731035.
    assert!(text.contains("0.865098"), "{text}");
    assert!(text.contains("its derivative is within"), "{text}");
}

#[test]
fn custom_model() {
    let folder = tempfile::tempdir().unwrap();
    let text = run("custom_model", folder.path(), &["20"]);
    assert!(text.contains("block.body.0"), "{text}");
    assert!(folder.path().join("runs/small-net.safetensors").is_file());
}

#[test]
fn custom_loop() {
    let text = run("custom_loop", &std::env::temp_dir(), &["60"]);
    let losses: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("step"))
        .map(|line| line.split_whitespace().last().unwrap().parse().unwrap())
        .collect();
    assert!(losses.len() == 3 && losses[2] < 0.7 * losses[0], "{text}");
}
