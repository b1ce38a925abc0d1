//! The learning-rate schedule of `kiln train`.

use clap::{Args, ValueEnum};
use kiln_nn::{ReduceLrOnPlateau, Schedule};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScheduleName {
    /// The same rate throughout
    Constant,
    /// Times --gamma every --step-size epochs (PyTorch's StepLR)
    Step,
    /// Times --gamma at each epoch of --milestones (PyTorch's MultiStepLR)
    MultiStep,
    /// Times --gamma in each epoch, a little in each step (PyTorch's ExponentialLR)
    Exponential,
    /// Half a cosine down to 0 (PyTorch's CosineAnnealingLR)
    Cosine,
    /// Up over the first 30 % of the steps and down again (PyTorch's OneCycleLR)
    OneCycle,
    /// Down to 0 as (1 - t)^power (PyTorch's PolynomialLR)
    Polynomial,
    /// Times --factor when the test loss has not fallen for --patience epochs (PyTorch's ReduceLROnPlateau)
    Plateau,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Learning-rate schedule")]
pub(crate) struct ScheduleArgs {
    /// How the learning rate changes over the run [default: cosine]
    #[arg(long, value_enum)]
    pub(crate) schedule: Option<ScheduleName>,
    /// The steps over which the rate first rises, before any schedule but one-cycle [default: for cosine a twentieth of the
    /// steps, at most 500; else 0]
    #[arg(long, value_name = "STEPS")]
    pub(crate) warmup: Option<u64>,
    /// The epochs between two changes, for step [default: a third of the run]
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) step_size: Option<u64>,
    /// The epochs at which the rate changes, for multi-step: 60,120,160
    #[arg(long, value_name = "EPOCHS", value_delimiter = ',', num_args = 1)]
    pub(crate) milestones: Option<Vec<u64>>,
    /// The factor of a change, for step, multi-step and exponential [default: 0.1; exponential 0.95]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) gamma: Option<f64>,
    /// The power, for polynomial [default: 1, a straight line]
    #[arg(long, value_name = "POWER", allow_negative_numbers = true)]
    pub(crate) power: Option<f64>,
    /// The part of the steps that rises, for one-cycle [default: 0.3]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) pct_start: Option<f64>,
    /// The epochs that may be no better, for plateau [default: 3]
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) patience: Option<u64>,
    /// The factor of a change, for plateau [default: 0.1]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) factor: Option<f64>,
    /// What the rate does not fall below, for plateau [default: 0]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) min_lr: Option<f64>,
}

impl ScheduleArgs {
    fn name(&self) -> ScheduleName {
        self.schedule.unwrap_or(ScheduleName::Cosine)
    }

    /// With defaults where nothing is given, for a run of so many steps and epochs.
    pub(crate) fn resolve(&self, steps: u64, epochs: u64) -> ScheduleArgs {
        let name = self.name();
        let of = |owner: ScheduleName| name == owner;
        let gamma = match name {
            ScheduleName::Step | ScheduleName::MultiStep => Some(0.1),
            ScheduleName::Exponential => Some(0.95),
            _ => None,
        };
        let warmup = match name {
            ScheduleName::Cosine => Some((steps / 20).min(500)),
            ScheduleName::OneCycle => None,
            _ => Some(0),
        };
        ScheduleArgs {
            schedule: Some(name),
            warmup: self.warmup.or(warmup),
            step_size: self.step_size.or(of(ScheduleName::Step).then_some((epochs / 3).max(1))),
            milestones: self.milestones.clone(),
            gamma: self.gamma.or(gamma),
            power: self.power.or(of(ScheduleName::Polynomial).then_some(1.0)),
            pct_start: self.pct_start.or(of(ScheduleName::OneCycle).then_some(0.3)),
            patience: self.patience.or(of(ScheduleName::Plateau).then_some(3)),
            factor: self.factor.or(of(ScheduleName::Plateau).then_some(0.1)),
            min_lr: self.min_lr.or(of(ScheduleName::Plateau).then_some(0.0)),
        }
    }

    /// Options that the chosen schedule does not have, with those that do.
    pub(crate) fn misplaced(&self) -> Option<(&'static str, &'static str)> {
        use ScheduleName::{Exponential, MultiStep, OneCycle, Plateau, Polynomial, Step};
        let name = self.name();
        let none_of = |owners: &[ScheduleName]| !owners.contains(&name);
        [
            ("warmup", self.warmup.is_some() && name == OneCycle, "any --schedule but one-cycle, which has its own"),
            ("step-size", self.step_size.is_some() && none_of(&[Step]), "--schedule step"),
            ("milestones", self.milestones.is_some() && none_of(&[MultiStep]), "--schedule multi-step"),
            (
                "gamma",
                self.gamma.is_some() && none_of(&[Step, MultiStep, Exponential]),
                "--schedule step, multi-step or exponential",
            ),
            ("power", self.power.is_some() && none_of(&[Polynomial]), "--schedule polynomial"),
            ("pct-start", self.pct_start.is_some() && none_of(&[OneCycle]), "--schedule one-cycle"),
            ("patience", self.patience.is_some() && none_of(&[Plateau]), "--schedule plateau"),
            ("factor", self.factor.is_some() && none_of(&[Plateau]), "--schedule plateau"),
            ("min-lr", self.min_lr.is_some() && none_of(&[Plateau]), "--schedule plateau"),
        ]
        .into_iter()
        .find_map(|(option, misplaced, needed)| misplaced.then_some((option, needed)))
    }

    /// The schedule over steps, of settings that are resolved.
    pub(crate) fn build(&self, steps_per_epoch: u64) -> Schedule {
        let gamma = self.gamma.unwrap_or(0.1);
        let steps = |epochs: u64| epochs.saturating_mul(steps_per_epoch);
        let schedule = match self.name() {
            ScheduleName::Constant | ScheduleName::Plateau => Schedule::Constant,
            ScheduleName::Step => Schedule::Step { step_size: steps(self.step_size.unwrap_or(1)), gamma },
            ScheduleName::MultiStep => {
                let milestones = self.milestones.iter().flatten().map(|&epoch| steps(epoch)).collect();
                Schedule::MultiStep { milestones, gamma }
            }
            ScheduleName::Exponential => Schedule::Exponential { gamma: gamma.powf(1.0 / steps_per_epoch as f64) },
            ScheduleName::Cosine => Schedule::CosineAnnealing,
            ScheduleName::OneCycle => {
                let pct_start = self.pct_start.unwrap_or(0.3);
                Schedule::OneCycle { pct_start, div_factor: 25.0, final_div_factor: 1e4 }
            }
            ScheduleName::Polynomial => Schedule::Polynomial { power: self.power.unwrap_or(1.0) },
        };
        schedule.after_warmup(self.warmup.unwrap_or(0))
    }

    /// What lowers the rate by the test loss, if that is asked for.
    pub(crate) fn plateau(&self) -> Option<ReduceLrOnPlateau> {
        let plateau = ReduceLrOnPlateau::new().patience(self.patience?).factor(self.factor?).min_lr(self.min_lr?);
        (self.name() == ScheduleName::Plateau).then_some(plateau)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_become_steps() {
        let rates = |args: ScheduleArgs, steps: &[u64]| {
            let schedule = args.resolve(40, 4).build(10);
            steps.iter().map(|&step| schedule.lr(1.0, step, 40)).collect::<Vec<_>>()
        };
        let named = |name| ScheduleArgs { schedule: Some(name), ..ScheduleArgs::default() };
        let step = ScheduleArgs { step_size: Some(2), gamma: Some(0.5), ..named(ScheduleName::Step) };
        assert_eq!(rates(step, &[19, 20, 39]), [1.0, 0.5, 0.5]);
        let multi = ScheduleArgs { milestones: Some(vec![1, 3]), gamma: Some(0.5), ..named(ScheduleName::MultiStep) };
        assert_eq!(rates(multi, &[9, 10, 29, 30]), [1.0, 0.5, 0.5, 0.25]);
        let rate = rates(named(ScheduleName::Exponential), &[20])[0];
        assert!((rate - 0.95 * 0.95).abs() < 1e-12, "{rate}");
        // A twentieth of 40 steps rises.
        let cosine = rates(ScheduleArgs::default(), &[0, 1, 2]);
        assert!(cosine[0] < 0.4 && cosine[1] > cosine[0] && cosine[2] == 1.0, "{cosine:?}");
        assert!(named(ScheduleName::Plateau).resolve(40, 4).plateau().is_some());
        assert!(named(ScheduleName::Constant).resolve(40, 4).plateau().is_none());
    }
}
