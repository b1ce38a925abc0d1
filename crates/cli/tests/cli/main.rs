//! The program as a person runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adapters;
mod classes;
mod eval;
mod features;
mod folders;
mod models;
mod predict;
mod runs;
mod train;
mod usage;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

fn kiln(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln")).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The output of a run that has to succeed.
fn done(args: &[&str]) -> String {
    let output = kiln(args);
    assert!(output.status.success(), "{args:?}: {}{}", out(&output), err(&output));
    out(&output)
}

/// The last line on standard error of a run that has to fail with exit code 1.
fn failed(args: &[&str]) -> String {
    let output = kiln(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}{}", out(&output), err(&output));
    err(&output).lines().last().unwrap().to_string()
}

/// The path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The folder of a run of a few steps on Fashion-MNIST, made once for all tests.
fn trained() -> &'static Path {
    static TRAINED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, folder) = TRAINED.get_or_init(|| {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let args = ["train", "--model", "lenet5", "--data", "fashion-mnist", "--steps", "60", "--lr", "0.003", "--out"];
        let said = done(&[&args[..], &[text(&folder)]].concat());
        assert!(said.starts_with("epoch 1/1: train loss "), "{said}");
        let shown = folder.display();
        let next = format!("next:    kiln eval --weights {shown}\n         kiln predict --weights {shown} IMAGE\n");
        let report = folder.join("report.html");
        let last = format!("results: {shown}\nreport:  {}\n{next}", report.display());
        assert!(said.ends_with(&last), "{said}");
        (temporary, folder)
    });
    folder
}

/// Photos of a size of their own: light ones and dark ones, `count` of each of the classes, which take turns.
fn photos(folder: &Path, classes: &[&str], count: u32) {
    for (label, class) in classes.iter().enumerate() {
        fs::create_dir_all(folder.join(class)).unwrap();
        for index in 0..count {
            let light = if label % 2 == 0 { 40 } else { 200 } + (index % 16) as u8;
            let image = RgbImage::from_fn(40, 30, |x, y| Rgb([light, light, if (x + y) % 7 < 3 { 30 } else { light }]));
            image.save(folder.join(class).join(format!("{index}.png"))).unwrap();
        }
    }
}
