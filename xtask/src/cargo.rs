//! Calls cargo: builds, tests, and finds what was built.

use crate::adapter;
use crate::search::json_string;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's root, from which every command is run.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(manifest).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// This package is left out of builds of the workspace and tested by itself: built together with the others it would get
/// other features in its dependencies, so that cargo would replace this running program, which Windows refuses.
const WORKSPACE: [&str; 4] = ["--workspace", "--exclude", "xtask", "--locked"];

/// Builds all, checks the adapter, runs every test.
///
/// `filter` chooses tests by a part of their name, `args` go to the test programs.
pub(crate) fn test(filter: Option<&str>, args: &[String]) -> Result<()> {
    let prepared = adapter::prepare()?;
    // `--tests` makes cargo take the test build's dependencies and features, so that `cargo test` finds everything built.
    let kiln = build_kiln(&[&WORKSPACE[..], &["--bins", "--tests", "--examples"]].concat())?;
    adapter::check(&kiln, &prepared)?;
    let mut rest: Vec<&str> = filter.into_iter().collect();
    if !args.is_empty() {
        rest.push("--");
        rest.extend(args.iter().map(String::as_str));
    }
    let workspace = run(&[&["test"], &WORKSPACE[..], &["--no-fail-fast"], &rest].concat());
    let own = run(&[&["test", "--package", "xtask", "--locked"], rest.as_slice()].concat());
    workspace.and(own)
}

/// Runs cargo in the workspace's root, printing the command.
fn run(args: &[&str]) -> Result<()> {
    let status = cargo(args).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed ({status})", args.join(" "));
    }
    Ok(())
}

/// Runs `cargo build` with these arguments and gives the path of the `kiln` program it made, in whatever target folder.
pub(crate) fn build_kiln(args: &[&str]) -> Result<PathBuf> {
    build_program(args, "kiln")
}

/// As [`build_kiln`], for the program of this name.
pub(crate) fn build_program(args: &[&str], name: &str) -> Result<PathBuf> {
    let args = [&["build"], args].concat();
    let out = cargo(&args)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !out.status.success() {
        bail!("`cargo {}` failed ({})", args.join(" "), out.status);
    }
    built_program(&String::from_utf8_lossy(&out.stdout), name)
        .with_context(|| format!("cargo built no program named {name}"))
}

fn cargo(args: &[&str]) -> Command {
    eprintln!("$ cargo {}", args.join(" "));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Finds a program in cargo's messages, one JSON object a line. Test programs carry a hash in their name.
fn built_program(messages: &str, name: &str) -> Option<PathBuf> {
    let programs = messages.lines().filter_map(|line| json_string(line, "executable")).map(PathBuf::from);
    programs.rev().find(|path| path.file_stem().is_some_and(|stem| stem == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"kiln_cli"},"executable":null,"fresh":true}
{"reason":"compiler-artifact","target":{"name":"kiln"},"executable":"/t/debug/kiln","fresh":false}
{"reason":"compiler-artifact","target":{"name":"kiln"},"executable":"/t/debug/deps/kiln-0123456789abcdef","fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(built_program(messages, "kiln"), Some(PathBuf::from("/t/debug/kiln")));
        assert_eq!(built_program(messages, "other"), None);
    }

    #[test]
    fn the_root_is_where_the_workspace_is() {
        assert!(root().join("xtask/Cargo.toml").is_file() && root().join("Cargo.lock").is_file());
    }
}
