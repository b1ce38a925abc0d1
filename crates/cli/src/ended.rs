//! Ends of the program other than done and failed.

/// Why a command ended early, with an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// Options or a configuration file that cannot be: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A person stopped it: exit code 130, as of a program that Ctrl-C ends.
    #[error("{0}")]
    Interrupted(String),
}

impl Ended {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Ended::Usage(_) => 2,
            Ended::Interrupted(_) => 130,
        }
    }
}

/// An error of usage.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Ended::Usage(message.into()).into()
}
