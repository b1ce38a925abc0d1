//! A learning rate that falls when a measure stops getting better.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::optim::Optimizer;

/// Lowers the learning rate when a measure has not got better for a while: PyTorch's `ReduceLROnPlateau`.
///
/// A value is better where it is below `best (1 - threshold)` (a loss), or with [`ReduceLrOnPlateau::maximize`] above
/// `best (1 + threshold)` (an accuracy). After more than `patience` values in a row that are not, the rate is multiplied by
/// `factor`, and `cooldown` values are let pass.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_nn::{Parameter, ReduceLrOnPlateau, Sgd};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// # let p = Parameter::new(Tensor::ones(&device, [1], DType::F32)?);
/// let mut optim = Sgd::new([("p".to_string(), p)].into_iter().collect(), 0.1);
/// let mut plateau = ReduceLrOnPlateau::new().patience(1).factor(0.5);
/// for loss in [1.0, 0.9, 0.9, 0.9] {
///     plateau.step(loss, &mut optim)?;
/// }
/// assert_eq!(optim.lr(), 0.05);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ReduceLrOnPlateau {
    maximize: bool,
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    min_lr: f64,
    best: f64,
    bad: u64,
    cooling: u64,
}

impl Default for ReduceLrOnPlateau {
    fn default() -> ReduceLrOnPlateau {
        ReduceLrOnPlateau::new()
    }
}

impl ReduceLrOnPlateau {
    /// With PyTorch's settings: a measure that should fall, factor 0.1, patience 10, threshold 1e-4, no cooldown.
    pub fn new() -> ReduceLrOnPlateau {
        ReduceLrOnPlateau {
            maximize: false,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min_lr: 0.0,
            best: f64::INFINITY,
            bad: 0,
            cooling: 0,
        }
    }

    /// Whether the measure should rise. To be called before the first step.
    #[must_use]
    pub fn maximize(mut self, maximize: bool) -> ReduceLrOnPlateau {
        self.maximize = maximize;
        self.best = if maximize { f64::NEG_INFINITY } else { f64::INFINITY };
        self
    }

    /// What the rate is multiplied by, below 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> ReduceLrOnPlateau {
        self.factor = factor;
        self
    }

    /// How many values in a row may be no better.
    #[must_use]
    pub fn patience(mut self, patience: u64) -> ReduceLrOnPlateau {
        self.patience = patience;
        self
    }

    /// By which part of the best a value must be better.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> ReduceLrOnPlateau {
        self.threshold = threshold;
        self
    }

    /// How many values are let pass after a change of the rate.
    #[must_use]
    pub fn cooldown(mut self, cooldown: u64) -> ReduceLrOnPlateau {
        self.cooldown = cooldown;
        self
    }

    /// What the rate does not fall below.
    #[must_use]
    pub fn min_lr(mut self, min_lr: f64) -> ReduceLrOnPlateau {
        self.min_lr = min_lr;
        self
    }

    /// Takes the next value of the measure, and lowers the optimizer's rate if it is time. Returns whether it was.
    ///
    /// # Errors
    /// [`Error::Argument`] for a setting out of its range.
    pub fn step(&mut self, value: f64, optim: &mut dyn Optimizer) -> Result<bool> {
        if !(0.0..1.0).contains(&self.factor) || self.threshold.is_nan() || self.threshold < 0.0 {
            let message = format!(
                "factor = {}, threshold = {}; needs a factor from 0 to below 1 and a threshold of at least 0",
                self.factor, self.threshold
            );
            return Err(Error::argument("ReduceLrOnPlateau", message));
        }
        let better = if self.maximize {
            value > self.best * (1.0 + self.threshold)
        } else {
            value < self.best * (1.0 - self.threshold)
        };
        if better || self.best.is_infinite() && value.is_finite() {
            self.best = value;
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad <= self.patience {
            return Ok(false);
        }
        self.cooling = self.cooldown;
        self.bad = 0;
        let (old, new) = (optim.lr(), (optim.lr() * self.factor).max(self.min_lr));
        // PyTorch leaves changes below this out.
        if old - new > 1e-8 {
            optim.set_lr(new);
            return Ok(true);
        }
        Ok(false)
    }

    /// What it remembers, for a checkpoint. The learning rate is the optimizer's.
    pub fn state(&self) -> BTreeMap<String, f64> {
        let numbers =
            [("best", self.best), ("num_bad_epochs", self.bad as f64), ("cooldown_counter", self.cooling as f64)];
        numbers.map(|(name, value)| (name.to_string(), value)).into()
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// [`Error::Argument`] where a number is missing. Nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, f64>) -> Result<()> {
        let get = |name: &str| {
            let missing =
                || Error::argument("ReduceLrOnPlateau", format!("the state has no {name}; pass one of its kind"));
            state.get(name).copied().ok_or_else(missing)
        };
        let (best, bad, cooling) = (get("best")?, get("num_bad_epochs")?, get("cooldown_counter")?);
        (self.best, self.bad, self.cooling) = (best, bad as u64, cooling as u64);
        Ok(())
    }
}
