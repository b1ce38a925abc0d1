//! The program as a person runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use flate2::{Compression, write::GzEncoder};
use kiln_data::FashionMnist;
use serde_json::Value;
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

/// Weights of a few steps, made once for all tests.
fn trained() -> &'static Path {
    static TRAINED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, folder) = TRAINED.get_or_init(|| {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("run");
        let args = ["train", "--model", "lenet5", "--data", "fashion-mnist", "--steps", "60", "--lr", "0.003", "--out"];
        let said = done(&[&args[..], &[folder.to_str().unwrap()]].concat());
        assert!(said.starts_with("epoch 1/1: train loss "), "{said}");
        assert!(said.trim_end().ends_with("model.safetensors"), "{said}");
        (temporary, folder)
    });
    folder
}

fn weights() -> String {
    trained().join("model.safetensors").to_str().unwrap().to_string()
}

/// An image of the test set as a PGM file.
fn image(folder: &Path, sample: usize, invert: bool) -> String {
    let sample = FashionMnist::embedded().unwrap().test().get(sample).unwrap();
    let path = folder.join("image.pgm");
    let mut bytes = b"P5 28 28 255\n".to_vec();
    bytes.extend(sample.image.iter().map(|&pixel| if invert { 255 - pixel } else { pixel }));
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_string()
}

/// An IDX file, gzipped.
fn idx(path: &Path, header: &[u8], data: &[u8]) {
    let mut file = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    file.write_all(header).unwrap();
    file.write_all(data).unwrap();
    file.finish().unwrap();
}

/// A folder with a small set of IDX files: 40 training and 12 test images of two classes.
fn idx_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, count) in [("train", 40u8), ("t10k", 12)] {
        let pixels: Vec<u8> =
            (0..count).flat_map(|n| vec![if n % 2 == 1 { 200 + n % 50 } else { n % 50 }; 28 * 28]).collect();
        let labels: Vec<u8> = (0..count).map(|n| n % 2).collect();
        let images = folder.path().join(format!("{part}-images-idx3-ubyte.gz"));
        idx(&images, &[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28], &pixels);
        idx(&folder.path().join(format!("{part}-labels-idx1-ubyte.gz")), &[0, 0, 8, 1, 0, 0, 0, count], &labels);
    }
    folder
}

#[test]
fn devices_are_listed_as_text_and_as_json() {
    let list: Vec<Value> = serde_json::from_str(&done(&["devices", "--json"])).unwrap();
    assert!(!list.is_empty(), "these tests need an adapter");
    for (index, device) in list.iter().enumerate() {
        assert_eq!(device["index"], index);
        assert!(device["name"].as_str().is_some_and(|name| !name.is_empty()));
        assert!(device["features"]["timestamps"].is_boolean() && device["limits"]["binding_bytes"].is_u64());
    }
    let text = done(&["devices"]);
    assert!(text.starts_with(&format!("[0] {} (", list[0]["name"].as_str().unwrap())), "{text}");
}

#[test]
fn usage_is_taught_and_wrong_usage_ends_with_2() {
    let commands: [&[&str]; 11] = [
        &[],
        &["devices"],
        &["train"],
        &["eval"],
        &["predict"],
        &["bench"],
        &["bench", "gemm"],
        &["bench", "conv"],
        &["bench", "layers"],
        &["bench", "step"],
        &["tune"],
    ];
    for command in commands {
        let help = done(&[command, &["--help"]].concat());
        assert!(help.contains("Examples:\n  kiln "), "{help}");
    }
    assert_eq!(done(&["--version"]), format!("kiln {}\n", env!("CARGO_PKG_VERSION")));
    let train = ["train", "--model", "lenet5", "--data", "fashion-mnist"];
    let wrong: [(&[&str], &str); 9] = [
        (&[], "Usage: kiln <COMMAND>"),
        (&["train"], "the following required arguments were not provided"),
        (&["train", "--model", "lenet", "--data", "fashion-mnist"], "invalid value 'lenet' for '--model <MODEL>'"),
        (
            &["train", "--model", "lenet5", "--data", "cifar"],
            "needs fashion-mnist, or idx:DIR with a folder of IDX files",
        ),
        (&[&train[..], &["--epochs", "1", "--steps", "1"]].concat(), "cannot be used with"),
        (&[&train[..], &["--lr", "-1"]].concat(), "needs a number above 0"),
        (&[&train[..], &["--batch", "0"]].concat(), "0 is not in 1.."),
        (&[&train[..], &["--momentum", "0.5"]].concat(), "--momentum is for --optim sgd; leave it out, or choose sgd"),
        (
            &[&train[..], &["--warmup", "5"]].concat(),
            "--warmup is for --schedule cosine; leave it out, or choose cosine",
        ),
    ];
    for (args, message) in wrong {
        let output = kiln(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(message), "{args:?}: {}", err(&output));
    }
}

#[test]
fn trained_weights_are_evaluated() {
    let args = ["eval", "--model", "lenet5", "--data", "fashion-mnist", "--weights"];
    let weights = weights();
    let metrics: Value = serde_json::from_str(&done(&[&args[..], &[&weights, "--json"]].concat())).unwrap();
    assert_eq!(metrics["samples"], 2000);
    let accuracy = metrics["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.5, "{metrics}");
    // What training found at its end, in other batches.
    let line = fs::read_to_string(trained().join("metrics.jsonl")).unwrap();
    let trained: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(trained["test_acc"].as_f64().unwrap(), accuracy);
    assert!((trained["test_loss"].as_f64().unwrap() - metrics["loss"].as_f64().unwrap()).abs() < 1e-5);
    let text = done(&[&args[..], &[&weights]].concat());
    assert_eq!(
        text,
        format!("accuracy {:.2} %, loss {:.4}, on 2000 images\n", 100.0 * accuracy, metrics["loss"].as_f64().unwrap())
    );
}

#[test]
fn images_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights();
    let args = ["predict", "--model", "lenet5", "--weights", &weights];
    let path = image(folder.path(), 0, false);
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
    let text = done(&[&args[..], &["--top", "1", &path]].concat());
    assert_eq!(text, format!("{path}: {} {:.1} %\n", classes[0]["class"].as_str().unwrap(), 100.0 * probabilities[0]));
    // A negative, turned back, is the same image.
    let negative = image(folder.path(), 0, true);
    assert_eq!(done(&[&args[..], &["--top", "1", "--invert", &negative]].concat()), text);
}

#[test]
fn a_folder_of_idx_files_is_trained_on_and_profiled() {
    let data = idx_folder();
    let folder = tempfile::tempdir().unwrap();
    let (name, out) = (format!("idx:{}", data.path().display()), folder.path().join("run"));
    let args = [
        "train", "--model", "lenet5", "--data", &name, "--epochs", "3", "--batch", "8", "--optim", "sgd", "--lr",
        "0.02",
    ];
    let rest = ["--momentum", "0.8", "--weight-decay", "0.001", "--schedule", "one-cycle", "--profile", "--out"];
    let output = kiln(&[&args[..], &rest, &[out.to_str().unwrap()]].concat());
    let said = self::out(&output);
    if !output.status.success() {
        // Only for want of timestamps.
        assert!(err(&output).contains("has no timestamp queries"), "{}", err(&output));
        return;
    }
    assert!(said.contains("features.0 ") && said.contains("optimizer ") && said.contains("backward "), "{said}");
    let trace: Value = serde_json::from_str(&fs::read_to_string(out.join("trace.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 100);
    assert_eq!(fs::read_to_string(out.join("metrics.jsonl")).unwrap().lines().count(), 3);
    let weights = out.join("model.safetensors");
    let args = ["eval", "--model", "lenet5", "--data", "fashion-mnist", "--weights", weights.to_str().unwrap()];
    assert_eq!(
        failed(&args),
        "error: the data has 10 classes, the weights know 2; pass the data that they were trained on"
    );
}

#[test]
fn damaged_input_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights();
    let predict = |weights: &str, image: &Path| {
        failed(&["predict", "--model", "lenet5", "--weights", weights, image.to_str().unwrap()])
    };
    let text = folder.path().join("text.png");
    fs::write(&text, "This is no picture.").unwrap();
    assert_eq!(
        predict(&weights, &text),
        format!(
            "error: {}: starts with \"This is no pictu\", which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or \
             TIFF file",
            text.display()
        )
    );
    let missing = folder.path().join("missing.png");
    let told = predict(&weights, &missing);
    assert!(told.starts_with(&format!("error: {}: ", missing.display())), "{told}");
    assert_eq!(told.matches("No such file").count(), usize::from(cfg!(unix)), "{told}");

    let cut = folder.path().join("cut.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        predict(cut.to_str().unwrap(), &text),
        format!(
            "error: {}: holds {} bytes, its header declares {}; it is cut off: copy or save it again",
            cut.display(),
            whole.len() / 2,
            whole.len()
        )
    );

    let data = idx_folder();
    let name = format!("idx:{}", data.path().display());
    let labels = data.path().join("train-labels-idx1-ubyte.gz");
    idx(&labels, &[0, 0, 8, 1, 0, 0, 0, 40], &[0; 30]);
    let train = ["train", "--model", "lenet5", "--data", &name, "--steps", "1"];
    let told = failed(&train);
    assert!(told.contains("train-labels-idx1-ubyte.gz: holds ") && told.contains("its header declares"), "{told}");
    // Images of another size than the model's.
    for part in ["train", "t10k"] {
        let path = data.path().join(format!("{part}-images-idx3-ubyte.gz"));
        idx(&path, &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5], &[7; 30]);
        idx(&data.path().join(format!("{part}-labels-idx1-ubyte.gz")), &[0, 0, 8, 1, 0, 0, 0, 2], &[0, 1]);
    }
    assert_eq!(
        failed(&train),
        "error: lenet5 takes images of [1, 28, 28] (channels, height, width), the data has [1, 3, 5]; pass another set"
    );
}

#[test]
fn an_adapter_that_is_not_there_is_told_with_those_that_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(["train", "--model", "lenet5", "--data", "fashion-mnist", "--steps", "1"])
        .env("KILN_ADAPTER", "no such adapter")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = err(&output);
    assert!(told.starts_with("error: no GPU adapter matches adapter \"no such adapter\": seen: [0] "), "{told}");
    assert!(told.contains("set KILN_ADAPTER to an index or a part of a name above"), "{told}");
}

#[test]
fn results_that_cannot_be_written_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let told = failed(&[
        "train",
        "--model",
        "lenet5",
        "--data",
        "fashion-mnist",
        "--steps",
        "1",
        "--out",
        taken.to_str().unwrap(),
    ]);
    assert!(told.starts_with(&format!("error: {}: cannot make this folder: ", taken.display())), "{told}");
}

#[test]
fn a_training_step_is_measured() {
    let args = ["bench", "step", "--net", "mlp", "--batch", "4", "--steps", "2"];
    let said = done(&[&args[..], &["--json"]].concat());
    assert_eq!(said.lines().count(), 1, "{said}");
    let line: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&line["net"], &line["batch"], &line["program"]), (&"mlp".into(), &4.into(), &"kiln".into()));
    for key in ["adapter", "driver", "version"] {
        assert!(line[key].is_string(), "{key} in {line}");
    }
    for key in ["first_step_ms", "median_ms", "best_ms", "images_per_s", "launches_per_step", "device_bytes_peak"] {
        assert!(line[key].as_f64().is_some_and(|value| value > 0.0), "{key} in {line}");
    }
    assert!(line["best_ms"].as_f64() <= line["median_ms"].as_f64(), "{line}");
    // Weights, gradients and momentum, of 535,818 numbers each.
    assert!(line["device_bytes_peak"].as_u64().unwrap() > 3 * 4 * 535_818, "{line}");
    assert_eq!(line["resident_bytes_peak"].is_u64(), cfg!(any(target_os = "linux", target_os = "macos")), "{line}");
    let losses: Vec<f64> = line["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    // Ten classes at first, and less with every step.
    assert!((losses[0] - 10f64.ln()).abs() < 0.3 && losses.is_sorted_by(|a, b| a > b), "{losses:?}");
    assert!(done(&args).contains("launches a step"));
}

#[test]
fn first_weights_are_written_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    for name in ["one", "two"] {
        done(&["bench", "step", "--net", "lenet5", "--save-weights", &file(name)]);
    }
    let bytes = fs::read(file("one")).unwrap();
    assert!(bytes.len() > 4 * 61_706 && bytes == fs::read(file("two")).unwrap());
    let refused = kiln(&["bench", "step", "--net", "lenet5", "--save-weights", &file("one"), "--json"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn products_are_measured_against_the_ceiling() {
    let said = done(&["bench", "conv", "--only", "5x5", "--json"]);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passes: Vec<&str> = lines.iter().map(|line| line["pass"].as_str().unwrap()).collect();
    assert_eq!(passes, ["forward", "data gradient", "weight gradient", "forward and gradients"]);
    for line in &lines {
        assert_eq!(line["problem"], "5x5 1-6 28x28 n64");
        assert!(line["plan"].as_str().is_some_and(|plan| !plan.is_empty()), "{line}");
        for key in ["median_ms", "best_ms", "gflops", "share", "ceiling_gflops", "copy_gb_per_s"] {
            assert!(line[key].as_f64().is_some_and(|value| value > 0.0), "{key} in {line}");
        }
        let share = line["gflops"].as_f64().unwrap() / line["ceiling_gflops"].as_f64().unwrap();
        assert!((line["share"].as_f64().unwrap() - share).abs() < 1e-9, "{line}");
    }
    let table = done(&["bench", "gemm", "--only", "256x256x256"]);
    assert!(table.contains("\nproblem ") && table.contains("\n256x256x256 "), "{table}");
    let said = failed(&["bench", "gemm", "--only", "3x3"]);
    assert!(said.starts_with("error: no problem's name contains 3x3; there are 256x256x256, "), "{said}");
}

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
fn a_tuned_network_runs_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let kiln = |args: &[&str], plan: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(args).env("KILN_CACHE_DIR", folder.path()).env("KILN_PLAN", plan).output().unwrap()
    };
    let step = ["bench", "step", "--net", "lenet5", "--batch", "2", "--steps", "1", "--json"];
    let losses = |output: &Output| {
        assert!(output.status.success(), "{}", err(output));
        serde_json::from_str::<Value>(&out(output)).unwrap()["losses"].clone()
    };
    assert!(out(&kiln(&["devices"], "")).contains("\n    not tuned: see `kiln tune --help`\n"));
    assert!(out(&kiln(&["tune", "--show"], "")).contains("nothing measured: "));

    let tuned = kiln(&["tune", "--model", "lenet5", "--batch", "2", "--json"], "tiles");
    assert!(tuned.status.success(), "{}", err(&tuned));
    let lines: Vec<Value> = out(&tuned).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Five layers in three directions, without the first one's data gradient.
    assert_eq!(lines.len(), 14);
    for line in &lines {
        let (times, chosen) = (&line["best_ms"], line["chosen"].as_str().unwrap());
        assert!(times[chosen].as_f64().is_some_and(|ms| ms > 0.0) && times["tiles"].is_f64(), "{line}");
        assert!(times[line["rule"].as_str().unwrap()].is_f64(), "{line}");
    }
    let file = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("tuning-"));
    let file = file.unwrap();
    let shown = out(&kiln(&["tune", "--show"], ""));
    assert!(shown.ends_with(&format!("\n14 problems in {}\n", file.display())), "{shown}");
    assert!(out(&kiln(&["devices"], "")).contains(&format!("\n    tuned: 14 problems in {}\n", file.display())));
    let (first, second) = (kiln(&step, ""), kiln(&step, ""));
    assert_eq!((losses(&first), err(&first)), (losses(&second), String::new()));

    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let warned = kiln(&step, "");
    losses(&warned);
    let start = format!("warning: {}: this tuning file is damaged and is not used: ", file.display());
    assert!(err(&warned).starts_with(&start), "{}", err(&warned));

    let refused = kiln(&step, "fastest");
    assert_eq!(refused.status.code(), Some(1));
    let needed = "needs one of tiles, quads, direct, depthwise, winograd2, winograd4";
    let told = format!("KILN_PLAN: \"fastest\" is no algorithm; {needed}\n");
    assert!(err(&refused).ends_with(&told), "{}", err(&refused));
}
