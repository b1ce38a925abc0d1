//! Kiln's development tasks, called as `cargo xtask TASK`.
//!
//! `demo` trains LeNet-5 on the embedded Fashion-MNIST images; `test` runs every test of the workspace; `compare` measures Kiln
//! against other frameworks. All first see to it that the machine has a GPU adapter, if need be a software one ([`adapter`]).

mod adapter;
mod cargo;
mod compare;
mod demo;
mod install;
mod search;
#[cfg(test)]
mod testdir;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Kiln's development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build in release, train LeNet-5 on the embedded Fashion-MNIST images and print its test accuracy
    Demo,
    /// Run every test of the workspace, documentation examples included
    Test {
        /// Run only the tests whose name contains this
        filter: Option<String>,
        /// Passed on to the test programs
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Measure Kiln against other frameworks and write the result into docs/benchmarks.md
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo => demo::run(),
        Task::Compare(args) => compare::run(&args),
        Task::Test { filter, args } => cargo::test(filter.as_deref(), &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `{:#}` gives the causes and, unlike a returned error, no stack trace: what failed is a command, not a line here.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
