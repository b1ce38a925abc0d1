//! The end of a run that gets no better.

use serde::{Deserialize, Serialize};

use crate::measure::Measure;

/// Ends a run after a number of evaluations in a row that were no better than the best before them.
///
/// ```
/// use kiln_train::{EarlyStopping, Measure};
/// let mut early = EarlyStopping::new(2).min_delta(0.01);
/// let stops: Vec<bool> = [1.0, 0.8, 0.795, 0.81].map(|loss| early.step(loss)).into();
/// assert_eq!(stops, [false, false, false, true]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct EarlyStopping {
    patience: u64,
    min_delta: f64,
    measure: Measure,
    state: EarlyStoppingState,
}

/// What [`EarlyStopping`] remembers, for a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EarlyStoppingState {
    /// The best value so far.
    pub best: Option<f64>,
    /// How many values in a row were no better.
    pub bad: u64,
}

impl EarlyStopping {
    /// By the loss of the test set, after `patience` values in a row that are not below the best; at least one.
    pub fn new(patience: u64) -> EarlyStopping {
        let state = EarlyStoppingState::default();
        EarlyStopping { patience: patience.max(1), min_delta: 0.0, measure: Measure::TestLoss, state }
    }

    /// By how much a value must be better than the best to count as better.
    pub fn min_delta(mut self, min_delta: f64) -> EarlyStopping {
        self.min_delta = min_delta;
        self
    }

    /// What is compared.
    pub fn measure(mut self, measure: Measure) -> EarlyStopping {
        self.measure = measure;
        self
    }

    /// What [`EarlyStopping::measure`] set.
    pub fn measured(&self) -> Measure {
        self.measure
    }

    /// Takes the next value. Returns whether it is time to stop.
    pub fn step(&mut self, value: f64) -> bool {
        let better = self.state.best.is_none_or(|best| self.measure.better(value, best, self.min_delta));
        if better && !value.is_nan() {
            self.state = EarlyStoppingState { best: Some(value), bad: 0 };
        } else {
            self.state.bad = self.state.bad.saturating_add(1);
        }
        self.is_over()
    }

    /// Whether it is time to stop.
    pub fn is_over(&self) -> bool {
        self.state.bad >= self.patience
    }

    /// What it remembers.
    pub fn state(&self) -> EarlyStoppingState {
        self.state
    }

    /// Goes on from a saved state.
    pub fn load_state(&mut self, state: EarlyStoppingState) {
        self.state = state;
    }
}
