//! The demonstration: a network that learns, from a fresh clone, in a few minutes.

use crate::{adapter, cargo};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The schedule: at least 85 % test accuracy in under three minutes on two CPU cores with lavapipe.
const SCHEDULE: [(&str, &str); 8] = [
    ("--model", "lenet5"),
    ("--data", "fashion-mnist"),
    ("--epochs", "10"),
    ("--batch", "64"),
    ("--optim", "adam"),
    ("--lr", "0.005"),
    ("--schedule", "one-cycle"),
    ("--seed", "42"),
];

/// Where the results go, from the workspace's root.
const OUT: &str = "runs/demo";

/// Builds `kiln` in release, trains, and prints the test accuracy and where the results lie.
pub(crate) fn run() -> Result<()> {
    let prepared = adapter::prepare()?;
    let kiln = cargo::build_kiln(&["--release", "--package", "kiln-cli", "--bin", "kiln", "--locked"])?;
    adapter::check(&kiln, &prepared)?;

    let out = cargo::root().join(OUT);
    let metrics = out.join("metrics.jsonl");
    // A line of an earlier run must not pass for a result of this one.
    if metrics.exists() {
        fs::remove_file(&metrics).with_context(|| format!("cannot remove {}", metrics.display()))?;
    }
    let args: Vec<&str> = SCHEDULE.iter().flat_map(|&(option, value)| [option, value]).collect();
    eprintln!("$ kiln train {} --overwrite --out {OUT}", args.join(" "));
    let status = Command::new(&kiln)
        .current_dir(cargo::root())
        .arg("train")
        .args(&args)
        .args(["--overwrite", "--out", OUT])
        .status()
        .with_context(|| format!("cannot start {}", kiln.display()))?;
    if !status.success() {
        bail!("training failed ({status})");
    }
    println!("{}", summary(&metrics, &out)?);
    Ok(())
}

fn summary(metrics: &Path, out: &Path) -> Result<String> {
    let text = fs::read_to_string(metrics).with_context(|| format!("cannot read {}", metrics.display()))?;
    let accuracy = last_number(&text, "test_acc")
        .with_context(|| format!("{} has no line with a number under \"test_acc\"", metrics.display()))?;
    Ok(format!(
        "\nTest accuracy: {:.2} %\nResults: {} (metrics.jsonl, model.safetensors)",
        accuracy * 100.0,
        out.display()
    ))
}

/// The number under `key` in the last line that is not empty.
fn last_number(lines: &str, key: &str) -> Option<f64> {
    let line = lines.lines().rev().find(|line| !line.trim().is_empty())?;
    let (_, rest) = line.split_once(&format!("\"{key}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testdir::TestDir;

    const METRICS: &str = "{\"epoch\":1,\"train_acc\":0.5,\"test_acc\":0.61,\"seconds\":9}\n\
                           {\"epoch\":2,\"train_acc\":0.8, \"test_acc\" : 8.755e-1,\"seconds\":9}\n\n";

    #[test]
    fn the_last_line_counts() {
        assert_eq!(last_number(METRICS, "test_acc"), Some(0.8755));
        assert_eq!(last_number(METRICS, "epoch"), Some(2.0));
        assert_eq!(last_number(METRICS, "loss"), None);
        assert_eq!(last_number("{\"test_acc\":null}", "test_acc"), None);
        assert_eq!(last_number("", "test_acc"), None);
    }

    #[test]
    fn the_summary_names_accuracy_and_folder() {
        let dir = TestDir::new();
        let metrics = dir.file("metrics.jsonl", METRICS);
        let text = summary(&metrics, Path::new("runs/demo")).unwrap();
        assert_eq!(text, "\nTest accuracy: 87.55 %\nResults: runs/demo (metrics.jsonl, model.safetensors)");
        let empty = dir.file("empty.jsonl", "");
        assert!(
            summary(&empty, dir.path())
                .unwrap_err()
                .to_string()
                .ends_with("has no line with a number under \"test_acc\"")
        );
        assert!(summary(&dir.path().join("gone"), dir.path()).is_err());
    }
}
