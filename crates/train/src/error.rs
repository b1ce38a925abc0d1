//! What can be wrong with training.

use std::io;
use std::path::PathBuf;

use kiln_tensor::GpuError;

/// So that `?` takes a device's error too.
impl From<GpuError> for Error {
    fn from(error: GpuError) -> Error {
        Error::Tensor(error.into())
    }
}

/// The result of training.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of training or evaluation. Its text says what was given, what is needed and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] kiln_data::Error),
    /// The model, the optimizer or a weights file failed.
    #[error(transparent)]
    Nn(#[from] kiln_nn::Error),
    /// The tape failed.
    #[error(transparent)]
    Autograd(#[from] kiln_autograd::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] kiln_tensor::Error),
    /// An argument out of its range.
    #[error("{what}: {message}")]
    Argument {
        /// The function or setting.
        what: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// The loss is no longer a number.
    #[error(
        "training diverged: the loss of step {step} is {loss}; use a smaller learning rate or a schedule with warm-up, and \
         check that the data holds what its labels say"
    )]
    Diverged {
        /// The first such step, from 1.
        step: u64,
        /// Its loss: NaN or infinite.
        loss: f32,
    },
    /// A file or folder could not be made or written.
    #[error("{file}: cannot {action}: {source}; choose another folder, or make room in it")]
    Io {
        /// The file or folder.
        file: String,
        /// What was attempted.
        action: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// Another run writes into the folder.
    #[error(
        "{folder}: another run{} writes into this folder; wait until it is over, or choose another folder",
        in_brackets(.holder)
    )]
    Locked {
        /// The folder.
        folder: String,
        /// Who holds it: `process 123`; empty where the system does not tell.
        holder: String,
    },
    /// A checkpoint of a run with another model, other data or other settings.
    #[error(
        "{file} is of another run: {what} is {saved} there and {given} here; go on with the same settings, or train into another \
         folder"
    )]
    OtherRun {
        /// The checkpoint.
        file: String,
        /// The setting, or the name of the tensor.
        what: String,
        /// What it is in the checkpoint.
        saved: String,
        /// What it is in this run.
        given: String,
    },
    /// A checkpoint that is damaged or not understood.
    #[error("{file} is damaged: {message}; {}", way_out(.weights))]
    Damaged {
        /// The checkpoint.
        file: String,
        /// What is wrong.
        message: String,
        /// The weights files of the same run that can be read.
        weights: Vec<PathBuf>,
    },
    /// A hook failed in its own way.
    #[error("{hook}: {source}")]
    Hook {
        /// Its name.
        hook: &'static str,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A weights file's text about its model that is not understood.
    #[error("{what} in the weights file is {given:?}; needs {needed}: save the weights again with kiln train")]
    Card {
        /// The key of the text.
        what: &'static str,
        /// The text.
        given: String,
        /// What it should be.
        needed: &'static str,
    },
    /// A picture or a curve could not be drawn.
    #[error("cannot draw {what}: {message}")]
    Drawing {
        /// What should be drawn.
        what: &'static str,
        /// Why it was not.
        message: String,
    },
}

/// What to do without a checkpoint.
fn way_out(weights: &[PathBuf]) -> String {
    let names: Vec<String> = weights.iter().map(|path| path.display().to_string()).collect();
    match names.as_slice() {
        [] => "go on from another checkpoint, or start again".to_string(),
        _ => format!(
            "go on from another checkpoint, or start a new run from the run's weights, which are whole: {}",
            names.join(" or ")
        ),
    }
}

fn in_brackets(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" ({holder})") }
}

impl Error {
    /// The error of a hook of one's own.
    pub fn hook(hook: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Hook { hook, source: source.into() }
    }

    pub(crate) fn argument(what: &'static str, message: impl Into<String>) -> Error {
        Error::Argument { what, message: message.into() }
    }

    pub(crate) fn drawing(what: &'static str, why: impl std::fmt::Display) -> Error {
        Error::Drawing { what, message: why.to_string() }
    }
}

/// A number of things, of which `one` names one: `1 class`, `2 classes`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    format!("{number} {}", plural(number == 1, one))
}

/// The word for one of a thing, or for several.
pub(crate) fn plural(single: bool, one: &str) -> String {
    match single {
        true => one.to_string(),
        false if one.ends_with('s') => format!("{one}es"),
        false => format!("{one}s"),
    }
}
