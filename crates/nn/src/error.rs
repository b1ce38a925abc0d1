//! What can be wrong with a network, an optimizer or a weights file.

use std::fmt;
use std::io;

use kiln_tensor::{DType, GpuError, Shape};

/// The result of an operation on networks.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a module, an optimizer or a weights file. Its text says what was given, what is needed and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] kiln_tensor::Error),
    /// The tape, or an operation on variables, failed.
    #[error(transparent)]
    Autograd(#[from] kiln_autograd::Error),
    /// A layer's forward failed.
    #[error("{layer}: {source}")]
    Layer {
        /// The layer's full name.
        layer: String,
        /// What failed in it.
        source: Box<Error>,
    },
    /// An argument out of its range.
    #[error("{what}: {message}")]
    Argument {
        /// The layer, initialiser, optimizer or function.
        what: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// A parameter was given a tensor of another shape or type.
    #[error(
        "Parameter::set: {given_dtype} {given} for a parameter of {needed_dtype} {needed}; pass a tensor of this shape and type"
    )]
    ParameterValue {
        /// The shape that was given.
        given: Shape,
        /// The type that was given.
        given_dtype: DType,
        /// The parameter's shape.
        needed: Shape,
        /// The parameter's type.
        needed_dtype: DType,
    },
    /// An optimizer's step without a gradient for one of its parameters.
    #[error(
        "{optimizer}: parameter {parameter} got no gradient, so the loss does not depend on it; use it in forward, freeze it, or \
         leave it out of the optimizer"
    )]
    NoGradient {
        /// The optimizer.
        optimizer: &'static str,
        /// The parameter's name.
        parameter: String,
    },
    /// A saved state of an optimizer that does not fit its parameters.
    #[error("{optimizer}: {message}")]
    OptimizerState {
        /// The optimizer.
        optimizer: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// A file could not be opened, read or written.
    #[error("{file}: cannot {action}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What was attempted.
        action: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The path of a weights file is a folder or a device.
    #[error("{file}: is not a regular file; pass the path of a .safetensors file")]
    NotAFile {
        /// The path.
        file: String,
    },
    /// A weights file that ends before what its header declares.
    #[error("{file}: holds {given} bytes, its header declares {needed}; it is cut off: copy or save it again")]
    Truncated {
        /// The file.
        file: String,
        /// Its bytes.
        given: u64,
        /// The bytes that it should have.
        needed: u64,
    },
    /// A weights file whose header is not that of a safetensors file.
    #[error("{file}: {message}; it is no safetensors file, or it is damaged: save it again")]
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A weights file whose content is not what its checksums were made of.
    #[error(
        "{file}: {message}; the file was damaged, or another program changed it: copy or save it again, or, to use it as it is, give it \
         new checksums by kiln convert --unverified {file} NEW.safetensors"
    )]
    Checksum {
        /// The file.
        file: String,
        /// What does not match its checksum: a tensor or the header.
        message: String,
    },
    /// A file of PyTorch whose tensors cannot be taken from it as it is: it holds no state dict, several, or what Kiln does not read.
    #[error("{file}: {message}; {advice}")]
    Torch {
        /// The file.
        file: String,
        /// What it holds.
        message: String,
        /// What to do.
        advice: String,
    },
    /// A file that is not as it was written.
    #[error("{file}: {message}; the file is damaged or cut off: copy or download it again")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of another kind.
    #[error("{file}: {message}; {advice}")]
    NotWeights {
        /// The file.
        file: String,
        /// What it seems to be.
        message: String,
        /// What to do.
        advice: String,
    },
    /// A weights file that is neither in the cache nor to be had from the Hugging Face Hub.
    #[cfg(feature = "hub")]
    #[error(
        "{file} of {repository} is not in the cache and cannot be fetched from the Hugging Face Hub: {message}; connect to the \
         network, check the names, or fetch the file elsewhere and pass its path"
    )]
    Hub {
        /// The repository, as OWNER/NAME.
        repository: String,
        /// The file in it.
        file: String,
        /// Why it cannot be fetched.
        message: String,
    },
    /// A weights file that does not fit the model.
    #[error("{file} does not fit the model:{}\n{}", side_by_side(.problems), advice(.problems))]
    Mismatch {
        /// The file.
        file: String,
        /// Every tensor that does not fit, in the model's order and then in the file's.
        problems: Vec<Problem>,
    },
}

/// So that `?` takes a device's error too.
impl From<GpuError> for Error {
    fn from(error: GpuError) -> Error {
        Error::Tensor(error.into())
    }
}

impl Error {
    pub(crate) fn argument(what: &'static str, message: impl Into<String>) -> Error {
        Error::Argument { what, message: message.into() }
    }

    /// Puts a layer's name before an error of its forward; names of nested layers grow to a path.
    #[must_use]
    pub fn in_layer(self, name: &str) -> Error {
        match self {
            Error::Layer { layer, source } => Error::Layer { layer: format!("{name}.{layer}"), source },
            other => Error::Layer { layer: name.to_string(), source: Box::new(other) },
        }
    }
}

/// What is wrong with one tensor of a weights file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The model has a parameter of this name, the file does not.
    Missing {
        /// The parameter's name.
        name: String,
        /// What the model needs: type and shape.
        needed: String,
    },
    /// The file has a tensor of this name, the model does not.
    Unexpected {
        /// The tensor's name.
        name: String,
        /// What the file has: type and shape.
        given: String,
    },
    /// The file's tensor has another shape or type than the parameter.
    Differs {
        /// The name.
        name: String,
        /// What the file has: type and shape.
        given: String,
        /// What the model needs: type and shape.
        needed: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing { name, .. } => write!(f, "{name} is missing in the file"),
            Problem::Unexpected { name, .. } => write!(f, "{name} is unexpected, the model has no such parameter"),
            Problem::Differs { name, given, needed } => {
                write!(f, "{name} is {given} in the file, the model needs {needed}")
            }
        }
    }
}

/// How many lines an error's text has for what does not fit.
const LISTED: usize = 8;

/// The most characters of a name and shape in a line.
const WIDEST: usize = 48;

/// What the file has and what the model needs, in two columns: first the tensors of other shapes, then, each in its order, what only
/// one of the two has.
fn side_by_side(problems: &[Problem]) -> String {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let (mut only_given, mut only_needed) = (Vec::new(), Vec::new());
    for problem in problems {
        match problem {
            Problem::Differs { name, given, needed } => {
                rows.push([format!("{name} {given}"), format!("{name} {needed}")]);
            }
            Problem::Unexpected { name, given } => only_given.push(format!("{name} {given}")),
            Problem::Missing { name, needed } => only_needed.push(format!("{name} {needed}")),
        }
    }
    for at in 0..only_given.len().max(only_needed.len()) {
        let side = |side: &[String]| side.get(at).cloned().unwrap_or_else(|| "-".to_owned());
        rows.push([side(&only_given), side(&only_needed)]);
    }
    let hidden = rows.len().saturating_sub(LISTED);
    rows.truncate(LISTED);
    rows.insert(0, ["the file has".to_owned(), "the model needs".to_owned()]);
    let short = |text: &str| match text.char_indices().nth(WIDEST) {
        // The shape, at the end, says most.
        Some(_) => {
            let end: Vec<char> = text.chars().rev().take(WIDEST - 3).collect();
            format!("...{}", end.into_iter().rev().collect::<String>())
        }
        None => text.to_owned(),
    };
    let width = rows.iter().map(|[given, _]| short(given).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for [given, needed] in &rows {
        text.push_str(&format!("\n  {:width$}  {}", short(given), short(needed)));
    }
    if hidden > 0 {
        text.push_str(&format!("\n  and {hidden} more"));
    }
    text
}

fn advice(problems: &[Problem]) -> &'static str {
    if problems.iter().any(|problem| matches!(problem, Problem::Differs { .. })) {
        "choose the model that the weights are of, with as many classes, or leave layers of other shapes out of the load"
    } else {
        "choose the model that the weights are of, or load weights of this model"
    }
}
