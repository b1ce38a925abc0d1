//! The `kiln` program: trains, evaluates and uses networks from the command line.

// They panic where a stream is closed or full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod augment;
mod bench;
mod completions;
mod convert;
mod data;
mod devices;
mod ended;
mod eval;
mod features;
mod models;
mod note;
mod npy;
mod options;
mod os_text;
mod paths;
mod predict;
mod profile;
mod summary;
mod table;
mod train;
mod weights;
mod words;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use ended::Ended;
use note::note;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let cli = Cli::parse();
    if cli.command.opens_devices() {
        kiln_gpu::quiet_drivers();
    }
    let outcome = match &cli.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Features(args) => features::run(args),
        Command::Models(args) => models::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Tune(args) => bench::tune(args),
        Command::Completions(args) => completions::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let Some(ended) = error.downcast_ref::<Ended>() else {
                note(format_args!("error: {}", in_one_line(&error)));
                return ExitCode::FAILURE;
            };
            match ended {
                Ended::Usage(message) => note(format_args!("error: {message}")),
                Ended::Interrupted(message) => note(message),
            }
            ExitCode::from(ended.code())
        }
    }
}

/// Whether all that failed is that nobody reads the output any more, as behind `| head -1`.
fn reader_left(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes in one line, in the program's words; only the two columns of weights that do not fit keep their lines.
/// Causes that an earlier text already contains are not repeated.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = match cause.downcast_ref() {
            Some(kiln_nn::Error::Mismatch { .. }) => cause.to_string(),
            _ => cause.to_string().replace('\n', " "),
        };
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    options::in_options(&line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_are_told_once() {
        let cause = io::Error::other("no room");
        let outer = anyhow::Error::new(cause).context("cannot write").context("a.txt: cannot write: no room");
        assert_eq!(in_one_line(&outer), "a.txt: cannot write: no room");
        let outer = anyhow::Error::new(io::Error::other("no room")).context("cannot write");
        assert_eq!(in_one_line(&outer), "cannot write: no room");
    }
}
