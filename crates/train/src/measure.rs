//! What epochs are compared by.

use serde::{Deserialize, Serialize};

use crate::metrics::EpochMetrics;

/// The number of an epoch that decides: which is the best, when to stop, when to lower the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// The mean loss of the test set, which should fall.
    TestLoss,
    /// The accuracy on the test set, which should rise.
    TestAccuracy,
    /// The mean loss in training, which should fall.
    TrainLoss,
    /// The accuracy in training, which should rise.
    TrainAccuracy,
}

impl Measure {
    /// Its value in an epoch; `None` for one of the test set where the epoch has no evaluation.
    pub fn of(self, metrics: &EpochMetrics) -> Option<f64> {
        match self {
            Measure::TestLoss => metrics.test_loss,
            Measure::TestAccuracy => metrics.test_acc,
            Measure::TrainLoss => Some(metrics.train_loss),
            Measure::TrainAccuracy => Some(metrics.train_acc),
        }
    }

    /// Whether more is better.
    pub fn rises(self) -> bool {
        matches!(self, Measure::TestAccuracy | Measure::TrainAccuracy)
    }

    /// Whether it is of the test set.
    pub fn needs_test(self) -> bool {
        matches!(self, Measure::TestLoss | Measure::TestAccuracy)
    }

    /// Whether an epoch is better than the best one before it. Where the two are alike, the other number of the same set
    /// decides: of equally accurate epochs the one with the lower loss is the better.
    pub fn improves(self, metrics: &EpochMetrics, best: &EpochMetrics) -> bool {
        let other = match self {
            Measure::TestLoss => Measure::TestAccuracy,
            Measure::TestAccuracy => Measure::TestLoss,
            Measure::TrainLoss => Measure::TrainAccuracy,
            Measure::TrainAccuracy => Measure::TrainLoss,
        };
        let better = |measure: Measure| match (measure.of(metrics), measure.of(best)) {
            (Some(value), Some(than)) => measure.better(value, than, 0.0),
            (value, than) => value.is_some() && than.is_none(),
        };
        better(self) || self.of(metrics) == self.of(best) && better(other)
    }

    /// Whether a value is better than another by more than `delta`. A NaN never is, and anything is better than it.
    pub fn better(self, value: f64, than: f64, delta: f64) -> bool {
        let gain = if self.rises() { value - than } else { than - value };
        gain > delta || than.is_nan() && !value.is_nan()
    }
}
