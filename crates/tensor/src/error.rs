//! What can be wrong with a tensor operation.

use kiln_gpu::GpuError;
use kiln_shaders::LinkError;

/// The result of a tensor operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a tensor operation. Its text names the op, what was given, what is needed and what to change.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit the op or each other.
    #[error("{op}: {message}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// A dtype that the op or the adapter does not have.
    #[error("{op}: {message}")]
    DType {
        /// The operation.
        op: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// Any other argument out of its range.
    #[error("{op}: {message}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
    /// The GPU failed or is full.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A kernel's source could not be put together: a user's own op names a file that is not there.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Error {
    pub(crate) fn shape(op: &'static str, message: impl Into<String>) -> Error {
        Error::Shape { op, message: message.into() }
    }

    pub(crate) fn dtype(op: &'static str, message: impl Into<String>) -> Error {
        Error::DType { op, message: message.into() }
    }

    pub(crate) fn argument(op: &'static str, message: impl Into<String>) -> Error {
        Error::Argument { op, message: message.into() }
    }
}
