//! Learning-rate schedules: the factor of each step.

use std::f64::consts::PI;

use crate::error::{Error, Result};

/// How the learning rate changes over a run. It is a function of the step alone, so a run that goes on from a checkpoint
/// needs no state of it. A rate that follows a measure instead is [`ReduceLrOnPlateau`](crate::ReduceLrOnPlateau).
///
/// Steps are whatever is counted: batches, or epochs where the rate is set once in each.
///
/// ```
/// use kiln_nn::Schedule;
/// let schedule = Schedule::cosine(10);
/// let rate = |step| schedule.lr(0.1, step, 110);
/// assert!(rate(0) < rate(9) && (rate(10) - 0.1).abs() < 1e-12);
/// assert!((rate(60) - 0.05).abs() < 1e-12 && rate(109) < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// `lr gamma^(step / step_size)`, rounded down: PyTorch's `StepLR`.
    Step {
        /// How long a rate stays.
        step_size: u64,
        /// The factor from one rate to the next.
        gamma: f64,
    },
    /// `lr` times `gamma` for each milestone that the step has reached: PyTorch's `MultiStepLR`.
    MultiStep {
        /// The steps at which the rate changes, in rising order.
        milestones: Vec<u64>,
        /// The factor at each.
        gamma: f64,
    },
    /// `lr gamma^step`: PyTorch's `ExponentialLR`.
    Exponential {
        /// The factor of each step.
        gamma: f64,
    },
    /// `lr (1 - step / total)^power`: PyTorch's `PolynomialLR` over the whole run.
    Polynomial {
        /// The power; 1 for a straight line.
        power: f64,
    },
    /// Half a cosine from `lr` down to 0: `lr (1 + cos(pi t)) / 2`, where `t` goes from 0 to 1 over the run. PyTorch's
    /// `CosineAnnealingLR` (Loshchilov & Hutter 2017, "SGDR").
    CosineAnnealing,
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
    /// A straight line from `start_factor` times the first rate of another schedule up to it, and then that schedule over
    /// what is left of the run: PyTorch's `LinearLR` before any other, in `SequentialLR`.
    Warmup {
        /// The steps of the rise.
        steps: u64,
        /// Where the rise starts, from 0 to 1.
        start_factor: f64,
        /// What follows.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// [`Schedule::CosineAnnealing`] after these steps of rise from `lr / (warmup + 1)`.
    pub fn cosine(warmup: u64) -> Schedule {
        Schedule::CosineAnnealing.after_warmup(warmup)
    }

    /// [`Schedule::OneCycle`] with PyTorch's numbers: 30 % rise from a 25th, down to a 10,000th of that.
    pub fn one_cycle() -> Schedule {
        Schedule::OneCycle { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }

    /// This schedule after `steps` steps of rise, each by the same amount: the first is `lr / (steps + 1)`. Of 0 steps,
    /// itself.
    #[must_use]
    pub fn after_warmup(self, steps: u64) -> Schedule {
        match steps {
            0 => self,
            _ => Schedule::Warmup { steps, start_factor: 1.0 / (steps + 1) as f64, then: Box::new(self) },
        }
    }

    /// Checks the numbers against a run of `total` steps.
    ///
    /// # Errors
    /// [`Error::Argument`] where the rise takes the whole run, or a number is out of its range.
    pub fn check(&self, total: u64) -> Result<()> {
        let positive = |number: f64| number > 0.0 && number.is_finite();
        match self {
            Schedule::Constant | Schedule::CosineAnnealing => Ok(()),
            Schedule::Step { step_size, gamma } if *step_size == 0 || !positive(*gamma) => Err(Error::argument(
                "Schedule::Step",
                format!(
                    "step_size = {step_size}, gamma = {gamma}; needs a step_size of at least 1 and a gamma above 0"
                ),
            )),
            Schedule::MultiStep { milestones, gamma } if !milestones.is_sorted() || !positive(*gamma) => {
                Err(Error::argument(
                    "Schedule::MultiStep",
                    format!(
                        "milestones = {milestones:?}, gamma = {gamma}; needs rising milestones and a gamma above 0"
                    ),
                ))
            }
            Schedule::Exponential { gamma } if !positive(*gamma) => {
                Err(Error::argument("Schedule::Exponential", format!("gamma = {gamma}; pass a finite number above 0")))
            }
            Schedule::Polynomial { power } if !positive(*power) => {
                Err(Error::argument("Schedule::Polynomial", format!("power = {power}; pass a finite number above 0")))
            }
            Schedule::Step { .. }
            | Schedule::MultiStep { .. }
            | Schedule::Exponential { .. }
            | Schedule::Polynomial { .. } => Ok(()),
            Schedule::Warmup { steps, start_factor, then } => {
                if *steps >= total {
                    return Err(Error::argument(
                        "Schedule::Warmup",
                        format!("{steps} steps of warm-up in a run of {total} steps; pass fewer, or train longer"),
                    ));
                }
                if !(0.0..=1.0).contains(start_factor) {
                    return Err(Error::argument(
                        "Schedule::Warmup",
                        format!("start_factor = {start_factor}; pass a number from 0 to 1"),
                    ));
                }
                then.check(total - steps)
            }
            Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
                let factors = [div_factor, final_div_factor];
                if !(0.0..=1.0).contains(pct_start)
                    || factors.iter().any(|factor| !(**factor >= 1.0 && factor.is_finite()))
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
        let (at, length) = (step as f64, total as f64);
        match self {
            Schedule::Constant => lr,
            Schedule::Step { step_size, gamma } => lr * gamma.powf((step / (*step_size).max(1)) as f64),
            Schedule::MultiStep { milestones, gamma } => {
                lr * gamma.powf(milestones.iter().filter(|&&milestone| milestone <= step).count() as f64)
            }
            Schedule::Exponential { gamma } => lr * gamma.powf(at),
            Schedule::Polynomial { power } => lr * (1.0 - at / length.max(1.0)).max(0.0).powf(*power),
            Schedule::CosineAnnealing => cosine(lr, 0.0, at / length.max(1.0)),
            Schedule::Warmup { steps, start_factor, then } => {
                let left = total.saturating_sub(*steps);
                match step.checked_sub(*steps) {
                    Some(step) => then.lr(lr, step, left),
                    None => {
                        let risen = start_factor + (1.0 - start_factor) * at / (*steps).max(1) as f64;
                        then.lr(lr, 0, left) * risen
                    }
                }
            }
            Schedule::OneCycle { pct_start, div_factor, final_div_factor } => {
                let first = lr / div_factor;
                // PyTorch puts the peak on this step, and the end on the last.
                let peak = pct_start * length - 1.0;
                if at <= peak {
                    cosine(first, lr, at / peak.max(1.0))
                } else {
                    cosine(lr, first / final_div_factor, (at - peak.max(0.0)) / (length - 1.0 - peak.max(0.0)).max(1.0))
                }
            }
        }
    }
}

/// Half a cosine from `start` to `end` as `t` goes from 0 to 1.
fn cosine(start: f64, end: f64, t: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * t.clamp(0.0, 1.0)).cos()) / 2.0
}
