//! `kiln train`.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tempfile::TempDir;

use crate::{done, err, failed, kiln, out, photos, text};

/// An IDX file, gzipped.
fn idx(path: &Path, header: &[u8], data: &[u8]) {
    let mut file = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    file.write_all(header).unwrap();
    file.write_all(data).unwrap();
    file.finish().unwrap();
}

/// A folder with a small set of IDX files: 40 training and 12 test images of two classes.
pub(crate) fn idx_folder() -> TempDir {
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

/// The lines of a run's metrics.
fn metrics(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The keys of a run's configuration.
fn config(run: &Path) -> toml::Table {
    fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap()
}

/// The weights of a run.
fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

#[test]
fn a_folder_of_idx_files_is_trained_on_and_profiled() {
    let data = idx_folder();
    let folder = tempfile::tempdir().unwrap();
    let (name, run) = (format!("idx:{}", data.path().display()), folder.path().join("run"));
    let args = [
        "train", "--model", "lenet5", "--data", &name, "--epochs", "3", "--batch", "8", "--optim", "sgd", "--lr",
        "0.02",
    ];
    let rest = ["--momentum", "0.8", "--weight-decay", "0.001", "--schedule", "one-cycle", "--profile", "--out"];
    let output = kiln(&[&args[..], &rest, &[text(&run)]].concat());
    let said = out(&output);
    if !output.status.success() {
        // Only for want of timestamps.
        assert!(err(&output).contains("has no timestamp queries"), "{}", err(&output));
        return;
    }
    assert!(
        said.contains("features.0 ") && said.contains("optimizer ") && said.contains("backward.features.0 "),
        "{said}"
    );
    let trace: Value = serde_json::from_str(&fs::read_to_string(run.join("trace.json")).unwrap()).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 100);
    assert_eq!(metrics(&run).len(), 3);
}

#[test]
fn a_folder_of_photos_is_learned_with_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("photos"), folder.path().join("run"));
    photos(&data, &["dark", "light"], 40);
    let output =
        kiln(&["train", "--model", "mlp", "--data", text(&data), "--epochs", "4", "--batch", "8", "--out", text(&run)]);
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    assert!(
        err(&output).contains(" parameters on 64 training images and 16 test images of 2 classes, 1x28x28\n"),
        "{}",
        err(&output)
    );
    assert_eq!(metrics(&run)[3]["test_acc"], 1.0, "{}", out(&output));
    let kept = ["config.toml", "best.safetensors", "model.safetensors", "checkpoint.safetensors", "curves.svg"];
    for file in kept {
        assert!(run.join(file).is_file(), "{file}");
    }
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains(&format!("mlp on {}", data.display())) && report.contains("weight-decay = 0.01"));
    // Every default is written down.
    let config = config(&run);
    let text = |key: &str| config[key].as_str().unwrap();
    assert_eq!([text("optim"), text("schedule"), text("augment")], ["adamw", "cosine", "crop-flip"]);
    assert_eq!((config["size"].as_integer(), config["grey"].as_bool()), (Some(28), Some(true)));
    assert_eq!((config["lr"].as_float(), config["seed"].as_integer()), (Some(0.001), Some(42)));
    assert!(!config.contains_key("steps") && !config.contains_key("out"), "{config}");
}

#[test]
fn the_same_configuration_gives_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("photos");
    photos(&data, &["dark", "light"], 12);
    let run = |name: &str| folder.path().join(name);
    let options =
        ["--data", text(&data), "--epochs", "2", "--batch", "8", "--optim", "rmsprop", "--label-smoothing", "0.1"];
    let more = [
        "--tensorboard",
        "--report=false",
        "--mixup",
        "0.2",
        "--clip-norm",
        "1",
        "--ema",
        "0.5",
        "--class-weights",
        "balanced",
        "--accumulate",
        "2",
    ];
    done(&[&["train", "--model", "mlp", "--out", text(&run("first"))], &options[..], &more].concat());
    let file = run("first").join("config.toml");
    done(&["train", "--config", text(&file), "--out", text(&run("second"))]);
    assert!(weights(&run("first")) == weights(&run("second")), "the weights differ");
    assert_eq!(config(&run("first")), config(&run("second")));
    let files = |run: &Path| fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let events = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("events.out.tfevents.");
    assert!(files(&run("second")).iter().any(events) && !run("second").join("report.html").exists());
    // Without any one of these settings they differ, so each is used.
    let without = |key: &str| {
        let mut config = config(&run("first"));
        config.remove(key).unwrap();
        if key == "ema" {
            config.remove("ema-warmup").unwrap();
        }
        let file = folder.path().join("without.toml");
        fs::write(&file, config.to_string()).unwrap();
        done(&["train", "--config", text(&file), "--out", text(&run("without")), "--overwrite"]);
        weights(&run("without")) != weights(&run("first"))
    };
    for key in ["label-smoothing", "mixup", "clip-norm", "ema", "accumulate"] {
        assert!(without(key), "{key} changes nothing");
    }
    // Options win over the file.
    done(&["train", "--config", text(&file), "--seed", "7", "--out", text(&run("seed"))]);
    assert!(weights(&run("seed")) != weights(&run("first")) && config(&run("seed"))["seed"].as_integer() == Some(7));

    fs::write(&file, "model = \"mlp\"\nlerning-rate = 0.1\n").unwrap();
    let refused = kiln(&["train", "--config", text(&file)]);
    assert_eq!(refused.status.code(), Some(2));
    let advice = "the keys are the long options of `kiln train --help`, without their dashes";
    assert_eq!(err(&refused), format!("error: {}: no setting is named lerning-rate; {advice}\n", file.display()));
}

#[test]
fn a_run_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let train = ["train", "--model", "mlp", "--data", "fashion-mnist", "--limit", "5", "--epochs", "1"];
    let kiln = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(train).args(more).current_dir(folder.path()).output().unwrap()
    };
    // Without a folder, a new one for each run.
    for name in ["mlp", "mlp-2"] {
        let output = kiln(&[]);
        assert!(output.status.success(), "{}", err(&output));
        assert!(folder.path().join("runs").join(name).join("best.safetensors").is_file(), "{}", out(&output));
    }
    let before = fs::read(folder.path().join("runs/mlp/model.safetensors")).unwrap();
    let refused = kiln(&["--out", "runs/mlp", "--seed", "3"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        err(&refused),
        "error: runs/mlp: holds a run; go on with it by --resume runs/mlp, replace it by --overwrite, or choose another --out\n"
    );
    assert!(before == fs::read(folder.path().join("runs/mlp/model.safetensors")).unwrap());
    assert!(kiln(&["--out", "runs/mlp", "--seed", "3", "--overwrite"]).status.success());
    assert!(before != fs::read(folder.path().join("runs/mlp/model.safetensors")).unwrap());
}

#[test]
fn weights_are_fine_tuned_for_other_classes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("photos"), folder.path().join("run"));
    photos(&data, &["dark", "light", "night"], 8);
    let first = crate::trained();
    let args = ["train", "--data", text(&data), "--epochs", "1", "--batch", "4", "--out", text(&run)];
    let output = kiln(&[&args[..], &["--pretrained", text(first), "--freeze", "features", "classifier.0"]].concat());
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    let said = err(&output);
    let file = first.join("best.safetensors");
    assert!(
        said.contains(&format!("weights of {}; classifier.4 is new, for the classes of the data\n", file.display())),
        "{said}"
    );
    assert!(said.contains("frozen: classifier.0, features\n"), "{said}");

    // What was frozen is the same, the rest is not.
    let (before, after) = (fs::read(&file).unwrap(), weights(&run));
    let [before, after] = [&before, &after].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    for (name, same) in [("features.0.weight", true), ("classifier.0.bias", true), ("classifier.2.weight", false)] {
        assert_eq!(before.tensor(name).unwrap().data() == after.tensor(name).unwrap().data(), same, "{name}");
    }
    assert_eq!(after.tensor("classifier.4.bias").unwrap().shape(), [3]);
    // Images are normalised as the first weights know them.
    let card = |run: &Path| kiln_nn::StateFile::open(run.join("model.safetensors")).unwrap().metadata()["mean"].clone();
    assert_eq!(card(&run), card(first));

    let told = failed(&[&args[..], &["--overwrite", "--pretrained", text(first), "--freeze", "feature"]].concat());
    assert!(told.contains("no parameter or layer is named \"feature\""), "{told}");
    let refused =
        kiln(&[&args[..], &["--overwrite", "--pretrained", text(first), "--freeze", "features,classifier"]].concat());
    assert_eq!(
        (refused.status.code(), err(&refused).lines().last().unwrap()),
        (Some(2), "error: --freeze leaves nothing to train; freeze fewer parts")
    );
}

#[test]
fn results_that_cannot_be_written_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "").unwrap();
    let train = ["train", "--model", "lenet5", "--data", "fashion-mnist", "--steps", "1", "--out"];
    let told = failed(&[&train[..], &[text(&taken)]].concat());
    assert!(told.starts_with(&format!("error: {}: cannot make this folder: ", taken.display())), "{told}");
}

#[test]
fn a_run_that_fails_says_how_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (idx_folder(), folder.path().join("run"));
    let name = format!("idx:{}", data.path().display());
    let args = ["train", "--model", "lenet5", "--data", &name, "--schedule", "constant", "--epochs"];
    done(&[&args[..], &["1", "--out", text(&run)]].concat());
    // A file cannot take the place of a folder with something in it.
    let report = run.join("report.html");
    fs::remove_file(&report).unwrap();
    fs::create_dir_all(report.join("in the way")).unwrap();
    let longer = ["train", "--resume", text(&run), "--epochs", "2"];
    let told = failed(&longer);
    let hint = format!("; go on from the last checkpoint by: kiln train --resume {}", run.display());
    assert!(
        told.starts_with(&format!("error: {}: cannot rename", report.display())) && told.ends_with(&hint),
        "{told}"
    );
    assert_eq!(told.matches("cannot rename").count(), 1, "{told}");
    // What keeps a run from beginning is not mended by going on.
    let told = failed(&["train", "--resume", text(&run), "--lr", "0.5"]);
    assert!(!told.contains("go on from"), "{told}");
    fs::remove_dir_all(&report).unwrap();
    done(&["train", "--resume", text(&run)]);
    assert_eq!(metrics(&run).len(), 2);
}

#[test]
fn damaged_sets_are_told_in_one_line() {
    let data = idx_folder();
    let name = format!("idx:{}", data.path().display());
    let labels = data.path().join("train-labels-idx1-ubyte.gz");
    idx(&labels, &[0, 0, 8, 1, 0, 0, 0, 40], &[0; 30]);
    let told = failed(&["train", "--model", "lenet5", "--data", &name, "--steps", "1"]);
    assert!(told.contains("train-labels-idx1-ubyte.gz: holds ") && told.contains("its header declares"), "{told}");
}

/// As a person would: Ctrl-C, and on with what the message says.
#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_weights() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    let args = [
        "train",
        "--model",
        "mlp",
        "--data",
        "fashion-mnist",
        "--limit",
        "40",
        "--batch",
        "8",
        "--epochs",
        "12",
        "--out",
    ];
    done(&[&args[..], &[text(&run("whole"))]].concat());

    let stopped = run("stopped");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    let child = command.args(args).arg(&stopped).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while fs::read_to_string(stopped.join("metrics.jsonl")).map_or(0, |lines| lines.lines().count()) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", err(&output));
    let said = err(&output);
    let last = said.lines().last().unwrap();
    let (start, end) = ("stopped after step ", format!("; go on by: kiln train --resume {}", stopped.display()));
    let step: u64 = last.strip_prefix(start).and_then(|rest| rest.strip_suffix(&end)).unwrap().parse().unwrap();
    assert!((100..600).contains(&step), "{last}");

    // Other settings than the run's are refused, and spoil nothing.
    let before = fs::read(stopped.join("config.toml")).unwrap();
    let changed = [
        ("--lr", "0.5", "--lr is 0.001 there and 0.5 here"),
        ("--schedule", "step", "--schedule is \"cosine\" there and \"step\" here"),
    ];
    for (option, value, words) in changed {
        let told = failed(&["train", "--resume", text(&stopped), option, value]);
        assert!(told.starts_with(&format!("error: {}: is of another run: {words}; ", stopped.display())), "{told}");
    }
    assert!(fs::read(stopped.join("config.toml")).unwrap() == before);

    let output = kiln(&["train", "--resume", text(&stopped)]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(err(&output).contains(&format!("\nresumed after step {step} of 600\n")), "{}", err(&output));
    assert!(weights(&stopped) == weights(&run("whole")), "the weights differ");
    assert_eq!(metrics(&stopped).len(), 12);

    let missing = failed(&["train", "--resume", text(&run("none"))]);
    assert_eq!(
        missing,
        format!("error: {}: holds no run: there is no config.toml; pass a run's folder", run("none").display())
    );
}

#[test]
fn a_finished_run_is_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (idx_folder(), folder.path().join("run"));
    let name = format!("idx:{}", data.path().display());
    let args = [
        "train", "--model", "mlp", "--data", &name, "--batch", "10", "--warmup", "0", "--ema", "0.99", "--epochs", "2",
    ];
    let output = kiln(&[&args[..], &["--out", text(&run)]].concat());
    assert!(output.status.success(), "{}", err(&output));
    // Four steps an epoch; the mean of seven others and the first.
    assert!(
        err(&output).contains("\nweights are averaged: the decay rises to 0.750 at the last step\n"),
        "{}",
        err(&output)
    );

    let output = kiln(&["train", "--resume", text(&run), "--epochs", "4"]);
    assert!(output.status.success(), "{}", err(&output));
    // The last step of a cosine over 8 steps, and the one after it of one over 16.
    let said = "\nresumed after step 8 of 16\nwarning: the schedule depends on the length of the run, which was 8 steps: the learning rate \
                goes from 3.81e-5 to 5.00e-4\n";
    assert!(err(&output).contains(said), "{}", err(&output));
    assert_eq!((metrics(&run).len(), config(&run)["epochs"].as_integer()), (4, Some(4)));
    let told = failed(&["train", "--resume", text(&run), "--epochs", "3"]);
    assert!(
        told.ends_with("has made 16 steps already, 12 are asked for, of which an epoch has 4; ask for more"),
        "{told}"
    );

    // A run of a version that did not know of the rising decay goes on with a constant one.
    let mut old = config(&run);
    old.remove("ema-warmup").unwrap();
    fs::write(run.join("config.toml"), old.to_string()).unwrap();
    let told = failed(&["train", "--resume", text(&run), "--epochs", "5"]);
    assert!(told.contains("the EMA decay is 0.99 with warm-up there and 0.99 here"), "{told}");
}

/// As a person who is in another folder than the one that the run was started in.
#[test]
fn relative_paths_are_found_from_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    photos(&at("project/photos"), &["dark", "light"], 10);
    fs::create_dir_all(at("elsewhere")).unwrap();
    let kiln = |from: &str, args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_kiln")).args(args).current_dir(at(from)).output().unwrap()
    };
    let done = |from: &str, args: &[&str]| {
        let output = kiln(from, args);
        assert!(output.status.success(), "{}", err(&output));
        out(&output)
    };
    let told = |from: &str, args: &[&str]| {
        let output = kiln(from, args);
        assert_eq!(output.status.code(), Some(1), "{}{}", out(&output), err(&output));
        err(&output).lines().last().unwrap().to_string()
    };
    let first = [
        "train",
        "--model",
        "mlp",
        "--data",
        "photos",
        "--schedule",
        "constant",
        "--test-fraction",
        "0.5",
        "--batch",
        "5",
    ];
    done("project", &[&first[..], &["--epochs", "1", "--out", "runs/first"]].concat());
    let mut config = config(&at("project/runs/first"));
    assert_eq!(config["data"].as_str(), Some("photos"));
    // Weights by a relative path are needed again when the run goes on.
    let second = ["train", "--data", "photos", "--pretrained", "runs/first", "--schedule", "constant", "--epochs", "1"];
    done("project", &[&second[..], &["--out", "runs/second"]].concat());
    for run in ["first", "second"] {
        let run = at("project/runs").join(run);
        done("elsewhere", &["train", "--resume", text(&run), "--epochs", "2"]);
        assert_eq!(metrics(&run).len(), 2);
    }
    // The run's own settings count, by whatever path its data is named: half of the 20 images are for testing.
    for data in [&[][..], &["--data", "../project/photos"]] {
        let said = done("elsewhere", &[&["eval", "--weights", "../project/runs/first"], data].concat());
        assert!(said.contains(" on 10 images: "), "{said}");
    }
    done("elsewhere", &["train", "--config", "../project/runs/first/config.toml", "--out", "again"]);

    // All of it somewhere else, as on another machine: from the project's folder it is found as it was.
    fs::rename(at("project"), at("moved")).unwrap();
    let file = at("moved/runs/first/config.toml");
    fs::write(&file, config.to_string()).unwrap();
    done("moved", &["eval", "--weights", "runs/first"]);
    // From elsewhere it cannot be. The message says which path this is; so it does for a file without a folder.
    for keyed in [true, false] {
        if !keyed {
            config.remove("working-dir").unwrap();
            fs::write(&file, config.to_string()).unwrap();
        }
        let told = told("elsewhere", &["train", "--resume", "../moved/runs/first", "--epochs", "3"]);
        assert!(told.starts_with("error: photos: there is no such file or folder in "), "{told}");
        assert!(told.contains("elsewhere; ../moved/runs/first"), "{told}");
        assert!(told.contains("config.toml names it as the data: pass --data with "), "{told}");
    }
    let told = told("elsewhere", &["train", "--resume", "../moved/runs/second"]);
    let start = "error: pretrained = \"";
    assert!(told.starts_with(start) && told.contains("config.toml: "), "{told}");
}
