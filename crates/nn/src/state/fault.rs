//! Why a file of PyTorch cannot be read.

use crate::error::Error;

/// Damage, or what Kiln does not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file is not as it was written.
    Damaged(String),
    /// The file may be whole, but its tensors cannot be taken from it as it is.
    Unsuitable { message: String, advice: String },
}

/// What to do about most files that hold no state dict.
pub(super) const SAVE_STATE_DICT: &str = "needs a state dict: save it again by torch.save(model.state_dict(), path)";

impl Fault {
    pub(super) fn unsuitable(message: impl Into<String>, advice: impl Into<String>) -> Fault {
        Fault::Unsuitable { message: message.into(), advice: advice.into() }
    }

    /// A whole file that lacks a state dict.
    pub(super) fn no_state_dict(message: impl Into<String>) -> Fault {
        Fault::unsuitable(message, SAVE_STATE_DICT)
    }

    /// The error for a file.
    pub(super) fn of(self, file: &str) -> Error {
        let file = file.to_owned();
        match self {
            Fault::Damaged(message) => Error::Damaged { file, message },
            Fault::Unsuitable { message, advice } => Error::Torch { file, message, advice },
        }
    }

    /// The same fault, its message after `context`.
    pub(super) fn within(self, context: &str) -> Fault {
        match self {
            Fault::Damaged(message) => Fault::Damaged(format!("{context}{message}")),
            Fault::Unsuitable { message, advice } => {
                Fault::Unsuitable { message: format!("{context}{message}"), advice }
            }
        }
    }
}

/// Most of what can be wrong in a pickle or an archive is damage.
impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::Damaged(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Fault {
        Fault::Damaged(message.to_owned())
    }
}
