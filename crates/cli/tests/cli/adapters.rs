//! Adapters, benchmarks and tuning.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{done, err, failed, kiln, out};

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
    // One of them is used, and both forms say which.
    let used = list.iter().position(|device| device["chosen"] == true).unwrap();
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
    let marked = |(index, head): (usize, &&str)| head.ends_with(": used") == (index == used);
    assert!(heads.iter().enumerate().all(marked), "{text}");
}

/// An adapter that is not there is an error, but one that lists what can be chosen instead.
#[test]
fn devices_are_listed_whatever_the_environment_asks_for() {
    let devices = |variable: &str, value: &str, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.arg("devices").args(args).env(variable, value).output().unwrap()
    };
    let wrong = [
        ("KILN_ADAPTER", "no such adapter", "error: no GPU adapter matches adapter \"no such adapter\": seen: [0] "),
        ("KILN_ADAPTER", "99", "error: no GPU adapter matches adapter \"99\": seen: [0] "),
        ("KILN_BACKEND", "cuda", "error: KILN_BACKEND is \"cuda\"; needs one of vulkan, metal, dx12, gl\n"),
    ];
    for (variable, value, told) in wrong {
        let output = devices(variable, value, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(out(&output).starts_with("[0] ") && !out(&output).contains(": used\n"), "{}", out(&output));
        assert!(err(&output).starts_with(told), "{}", err(&output));
    }
    let output = devices("KILN_ADAPTER", "99", &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let list: Vec<Value> = serde_json::from_str(&out(&output)).unwrap();
    assert!(!list.is_empty() && list.iter().all(|device| device["chosen"] == false), "{list:?}");
    // The index of a list of one backend is the one that is taken with that backend.
    let backend = list[0]["backend"].as_str().unwrap();
    let output = devices("KILN_BACKEND", backend, &["--json"]);
    let own: Vec<Value> = serde_json::from_str(&out(&output)).unwrap();
    assert!(own.iter().all(|device| device["backend"] == backend), "{own:?}");
}

/// Mesa's device-select layer complains where there is no folder for a Wayland socket.
#[test]
fn drivers_are_quiet_with_and_without_a_runtime_folder() {
    let runtime = tempfile::tempdir().unwrap();
    let devices = |set: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command
            .arg("devices")
            .env_remove("NODEVICE_SELECT")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("WAYLAND_DISPLAY");
        if set {
            command.env("XDG_RUNTIME_DIR", runtime.path());
        }
        command.output().unwrap()
    };
    let (with, without) = (devices(true), devices(false));
    assert_eq!((err(&with), err(&without)), (String::new(), String::new()));
    assert_eq!(out(&with), out(&without));
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
    let needed = "needs one of tiles, tiles128x128, tiles64x128, tiles64x64, tiles32x128, tiles32x32, cooperative, quads, \
                  direct, depthwise, winograd2, winograd4";
    let told = format!("KILN_PLAN: \"fastest\" is no algorithm; {needed}\n");
    assert!(err(&refused).ends_with(&told), "{}", err(&refused));
}
