//! Runs beside others, without a reader, and at their end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{done, err, failed, out, text};

/// A run of a few steps an epoch.
const TRAIN: [&str; 9] = ["train", "--model", "mlp", "--data", "fashion-mnist", "--limit", "8", "--batch", "8"];

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(TRAIN).args(args);
    command
}

/// Starts a run that does not end by itself, and waits for its first epoch.
fn endless(command: &mut Command, run: &Path) -> Child {
    let mut child = command.args(["--epochs", "1000000"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while fs::read_to_string(run.join("metrics.jsonl")).map_or(true, |lines| lines.is_empty()) {
        assert!(child.try_wait().unwrap().is_none(), "{}", err(&child.wait_with_output().unwrap()));
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_folder_has_one_run_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = endless(&mut command(&["--out", text(&run)]), &run);
    let others: [&[&str]; 3] =
        [&["--out", text(&run)], &["--out", text(&run), "--overwrite"], &["--resume", text(&run)]];
    for other in others {
        let args = if other[0] == "--resume" { [&["train"], other].concat() } else { [&TRAIN[..], other].concat() };
        let told = failed(&args);
        // Windows lets nobody read who it is.
        let holder = if cfg!(windows) { String::new() } else { format!(" (process {})", child.id()) };
        let shown = run.display();
        let words = "writes into this folder; wait until it is over, or choose another folder";
        assert_eq!(told, format!("error: {shown}: another run{holder} {words}"));
    }
    // A killed run leaves no lock.
    child.kill().unwrap();
    child.wait().unwrap();
    done(&[&TRAIN[..], &["--out", text(&run), "--overwrite", "--epochs", "1"]].concat());
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 1);
}

#[test]
fn runs_that_start_together_have_a_folder_each() {
    let folder = tempfile::tempdir().unwrap();
    let start =
        || command(&["--epochs", "1"]).current_dir(folder.path()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let children: Vec<Child> = (0..3).map(|_| start().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
    }
    for name in ["mlp", "mlp-2", "mlp-3"] {
        let run = folder.path().join("runs").join(name);
        let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert!(lines.lines().count() == 1 && run.join("model.safetensors").is_file(), "{name}: {lines}");
    }
}

/// Behind `| head -1` and on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_run_goes_on_where_nobody_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    // A pipe whose other end is closed.
    let closed = || {
        let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let pipe = reader.stdin.take().unwrap();
        reader.wait().unwrap();
        Stdio::from(pipe)
    };
    let cases =
        [("head", closed(), closed(), 0), ("error", Stdio::null(), full(), 0), ("full", full(), Stdio::piped(), 1)];
    for (name, stdout, stderr, code) in cases {
        let run = folder.path().join(name);
        let mut command = command(&["--epochs", "3", "--out", text(&run)]);
        let output = command.stdout(stdout).stderr(stderr).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {}", err(&output));
        assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 3, "{name}");
        assert!(run.join("model.safetensors").is_file() && run.join("report.html").is_file(), "{name}");
        if name == "full" {
            let told = err(&output);
            let warning =
                "warning: cannot write to standard output: No space left on device (os error 28); the run goes on\n";
            assert_eq!(told.matches("warning: ").count(), 1, "{told}");
            assert!(told.contains(warning), "{told}");
            assert!(
                told.ends_with("error: cannot print where the results are: No space left on device (os error 28)\n"),
                "{told}"
            );
        }
    }
    // Other commands too.
    for args in [&["models"][..], &["eval", "--help"], &["summary", "--model", "lenet5"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        let status = command.args(args).stdout(closed()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    let status = command.args(["eval", "--weights", "none"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn a_closed_terminal_ends_a_run_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let hang_up = |child: &Child| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    let run = folder.path().join("run");
    let child = endless(&mut command(&["--out", text(&run)]), &run);
    // The shell and the system both send one.
    hang_up(&child);
    hang_up(&child);
    let output = child.wait_with_output().unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(output.status.code(), Some(130), "{}", err(&output));
        assert!(err(&output).contains("; go on by: kiln train --resume "), "{}", err(&output));
    }
    assert!(run.join("checkpoint.safetensors").is_file());

    // nohup
    let run = folder.path().join("nohup");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_kiln")])
        .args(TRAIN)
        .args(["--out", text(&run)]);
    let child = endless(&mut shell, &run);
    hang_up(&child);
    let lines = || fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
    let before = lines();
    while lines() < before + 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}

#[cfg(unix)]
#[test]
fn a_configuration_has_a_size() {
    let told = failed(&["train", "--config", "/dev/zero"]);
    assert_eq!(told, "error: /dev/zero: cannot be read: it has more than 1048576 bytes; pass a TOML file of settings");
    let folder = tempfile::tempdir().unwrap();
    let latin = folder.path().join("latin.toml");
    fs::write(&latin, b"data = \"K\xf6ln\"\n").unwrap();
    let told = failed(&["train", "--config", text(&latin)]);
    assert_eq!(
        told,
        format!("error: {}: cannot be read: it is not UTF-8; pass a TOML file of settings", latin.display())
    );
}

/// Paths are what the system takes, not what is UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_utf_8() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let (data, run) = (at(b"K\xf6ln"), at(b"r\xfcn"));
    crate::photos(&data, &["dark", "light"], 8);
    let kiln = |args: &[&OsStr]| Command::new(env!("CARGO_BIN_EXE_kiln")).args(args).output().unwrap();
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let succeed = |args: &[OsString]| {
        let output = kiln(&args.iter().map(OsString::as_os_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{}", err(&output));
        output
    };
    let mut train = words(&["train", "--model", "lenet5", "--epochs", "1", "--batch", "4", "--data"]);
    train.extend([data.clone().into(), "--out".into(), run.clone().into()]);
    succeed(&train);
    // The configuration leads back to the same data.
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("Unix") && config.contains("246"), "{config}");
    let mut again = words(&["train", "--epochs", "2", "--schedule", "constant", "--config"]);
    again.extend([run.join("config.toml").into(), "--out".into(), at(b"again").into()]);
    succeed(&again);
    let mut eval = words(&["eval", "--weights"]);
    eval.push(run.clone().into());
    assert!(out(&succeed(&eval)).starts_with("accuracy "));

    let image = at(b"dr\xfcben.png");
    fs::copy(data.join("dark/0.png"), &image).unwrap();
    let mut predict = words(&["predict", "--json", "--weights"]);
    predict.extend([run.clone().into(), image.clone().into()]);
    let predictions: serde_json::Value = serde_json::from_str(&out(&succeed(&predict))).unwrap();
    assert!(predictions[0]["file"].as_str().unwrap().ends_with("dr\u{fffd}ben.png"), "{predictions}");
    let mut features = words(&["features", "--weights"]);
    features.extend([run.into(), at(b"f\xfc.npy").into(), image.into()]);
    succeed(&features);
    assert!(at(b"f\xfc.npy").is_file() && at(b"f\xfc.json").is_file());
}
