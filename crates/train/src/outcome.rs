//! What a run came to.

use kiln_data::Skipped;

use crate::evaluation::Evaluation;
use crate::metrics::EpochMetrics;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All steps are done.
    Finished,
    /// The measure had not got better for as many epochs as were allowed.
    EarlyStopping,
    /// A person wanted it to: see [`Flow::Interrupt`](crate::Flow::Interrupt).
    Interrupted,
    /// A hook wanted it to: see [`Flow::Stop`](crate::Flow::Stop).
    Hook,
}

/// What a run came to: the result of [`Trainer::run`](crate::Trainer::run).
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The metrics of all epochs.
    pub history: Vec<EpochMetrics>,
    /// Those of the best epoch, by the run's measure; `None` where no epoch came to an end.
    pub best: Option<EpochMetrics>,
    /// The steps that are done.
    pub steps: u64,
    /// Why it ended.
    pub stopped: Stopped,
    /// The latest evaluation; `None` where there was none.
    pub evaluation: Option<Evaluation>,
    /// The evaluation of the best epoch, whose weights are in [`BEST_FILE`](crate::BEST_FILE); `None` where that epoch was not
    /// evaluated.
    pub best_evaluation: Option<Evaluation>,
    /// The samples of the training set that could not be read and were left out.
    pub skipped: Vec<Skipped>,
}
