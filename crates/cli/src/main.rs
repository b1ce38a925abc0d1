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

    /// Every command with its subcommands.
    fn commands(command: clap::Command) -> Vec<clap::Command> {
        let inner = command.get_subcommands().cloned().flat_map(commands).collect::<Vec<_>>();
        [command].into_iter().chain(inner).collect()
    }

    /// A paragraph of help is one line, which clap breaks at the terminal's width; a break in the source would be a second one.
    #[test]
    fn help_is_wrapped_once() {
        let mut seen = 0;
        for command in commands(Cli::command()) {
            let name = command.get_name().to_string();
            let texts = [command.get_after_help(), command.get_about()].map(|text| text.map(ToString::to_string));
            let arguments =
                command.get_arguments().flat_map(|argument| [argument.get_help(), argument.get_long_help()]);
            let arguments: Vec<String> = arguments.flatten().map(ToString::to_string).collect();
            let text = texts.iter().flatten().chain(&arguments);
            for (line, next) in text.flat_map(|text| text.lines().zip(text.lines().skip(1)).collect::<Vec<_>>()) {
                let flows = |line: &str| !line.is_empty() && !line.starts_with(' ');
                assert!(!flows(line) || !flows(next), "kiln {name}: broken in the source: {line:?}, {next:?}");
                // An explanation stands below its term, not beside it: clap could not indent the lines after the first.
                assert!(!next.starts_with("       "), "kiln {name}: {next:?}");
            }
            for width in [60, 80, 100, 140] {
                let help = command.clone().term_width(width).render_long_help().to_string();
                for paragraph in texts[0]
                    .iter()
                    .flat_map(|text| text.lines())
                    .filter(|line| line.len() > width && !line.trim_start().contains("  "))
                {
                    // As many lines as its words need, but for what is spaced on purpose.
                    let indent = paragraph.len() - paragraph.trim_start().len();
                    let mut filled = vec![String::new()];
                    for word in paragraph.split_whitespace() {
                        let last = filled.len() - 1;
                        match filled[last].len() {
                            0 => filled[last] = format!("{}{word}", " ".repeat(indent)),
                            length if length + 1 + word.len() <= width => filled[last] += &format!(" {word}"),
                            _ => filled.push(format!("{}{word}", " ".repeat(indent))),
                        }
                    }
                    let filled = filled.join("\n");
                    assert!(help.contains(&filled), "kiln {name} at {width}: {help}\nneeds\n{filled}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 50, "{seen}");
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
