//! Learning-rate schedules: the factor of each step.

use std::f64::consts::PI;

use crate::error::{Error, Result};

/// How the learning rate changes over a run. It is a function of the step alone, so a run that goes on from a checkpoint
/// needs no state of it.
///
/// ```
/// use kiln_nn::Schedule;
/// let schedule = Schedule::cosine(10);
/// let rate = |step| schedule.lr(0.1, step, 110);
/// assert!(rate(0) < rate(9) && (rate(10) - 0.1).abs() < 1e-12);
/// assert!((rate(60) - 0.05).abs() < 1e-12 && rate(109) < 1e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// A linear rise from `lr / (warmup + 1)` over `warmup` steps, then half a cosine from `lr` down to 0:
    /// `lr (1 + cos(pi t)) / 2`, where `t` goes from 0 to 1 over what is left. PyTorch's `LinearLR` before its
    /// `CosineAnnealingLR` (Loshchilov & Hutter 2017, "SGDR").
    CosineAnnealing {
        /// The steps of the rise.
        warmup: u64,
    },
    /// Half a cosine up from `lr / div_factor` to `lr` over the first `pct_start` of the steps, and half a cosine down to
    /// `lr / (div_factor final_div_factor)` over the others: PyTorch's `OneCycleLR` (Smith & Topin 2018, "Super-Convergence").
    OneCycle {
        /// The part of the steps that rises, from 0 to 1.
        pct_start: f64,
        /// How much smaller the first rate is than the largest.
        div_factor: f64,
        /// How much smaller the last rate is than the first.
        final_div_factor: f64,
    },
}

impl Schedule {
    /// [`Schedule::CosineAnnealing`] with these steps of rise.
    pub fn cosine(warmup: u64) -> Schedule {
        Schedule::CosineAnnealing { warmup }
    }

    /// [`Schedule::OneCycle`] with PyTorch's numbers: 30 % rise from a 25th, down to a 10,000th of that.
    pub fn one_cycle() -> Schedule {
        Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }

    /// Checks the numbers against a run of `total` steps.
    ///
    /// # Errors
    /// [`Error::Argument`] where the rise takes the whole run, or a number is out of its range.
    pub fn check(&self, total: u64) -> Result<()> {
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::CosineAnnealing { warmup } if warmup >= total => Err(Error::argument(
                "Schedule::CosineAnnealing",
                format!("{warmup} steps of warm-up in a run of {total} steps; pass fewer, or train longer"),
            )),
            Schedule::CosineAnnealing { .. } => Ok(()),
            Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
                let factors = [div_factor, final_div_factor];
                if !(0.0..=1.0).contains(&pct_start)
                    || factors.iter().any(|factor| !(*factor >= 1.0 && factor.is_finite()))
                {
                    return Err(Error::argument(
                        "Schedule::OneCycle",
                        format!(
                            "pct_start = {pct_start}, div_factor = {div_factor}, final_div_factor = {final_div_factor}; needs \
                             pct_start from 0 to 1 and factors of at least 1"
                        ),
                    ));
                }
                Ok(())
            }
        }
    }

    /// The rate of step `step`, counted from 0, in a run of `total` steps whose largest rate is `lr`.
    pub fn lr(&self, lr: f64, step: u64, total: u64) -> f64 {
        let (at, total) = (step as f64, total as f64);
        match *self {
            Schedule::Constant => lr,
            Schedule::CosineAnnealing { warmup } => {
                let warmup = warmup as f64;
                if at < warmup {
                    return lr * (at + 1.0) / (warmup + 1.0);
                }
                cosine(lr, 0.0, (at - warmup) / (total - warmup).max(1.0))
            }
            Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
                let first = lr / div_factor;
                // PyTorch puts the peak on this step, and the end on the last.
                let peak = pct_start * total - 1.0;
                if at <= peak {
                    cosine(first, lr, at / peak.max(1.0))
                } else {
                    cosine(lr, first / final_div_factor, (at - peak.max(0.0)) / (total - 1.0 - peak.max(0.0)).max(1.0))
                }
            }
        }
    }
}

/// Half a cosine from `start` to `end` as `t` goes from 0 to 1.
fn cosine(start: f64, end: f64, t: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * t.clamp(0.0, 1.0)).cos()) / 2.0
}
