//! Hooks: what follows a run, and what may end it.

use kiln_autograd::Gradients;
use kiln_data::{Part, Skipped};
use kiln_nn::Module;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::evaluation::Evaluation;
use crate::metrics::EpochMetrics;
use crate::outcome::Outcome;

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// All steps.
    pub steps: u64,
    /// All epochs, the last of which may be cut short.
    pub epochs: u64,
    /// The steps of a whole epoch.
    pub steps_per_epoch: u64,
    /// The steps that were done before: those of the checkpoint that the run goes on from, or 0.
    pub done: u64,
    /// All steps as they were planned when that checkpoint was saved: others than `steps` where the run was made longer or
    /// shorter.
    pub planned: u64,
    /// The samples of the training set.
    pub train_samples: usize,
    /// The samples that evaluations are of.
    pub test_samples: usize,
    /// The part of the data that they are of: [`Part::Val`] where the data has one, or else the test set.
    pub test_part: Part,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The steps that are done.
    pub step: u64,
    /// The mean loss since the last report.
    pub loss: f64,
    /// The part of the samples that were right since the last report.
    pub accuracy: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Training samples per second in this epoch.
    pub images_per_s: f64,
    /// Bytes of GPU memory in use.
    pub memory: u64,
}

/// What a step computed, before the optimizer uses it.
#[derive(Clone, Copy)]
pub struct StepEnd<'a> {
    /// The step, from 0.
    pub step: u64,
    /// The model, as it was for this step.
    pub model: &'a dyn Module,
    /// The gradients of its parameters, as the optimizer gets them.
    pub gradients: &'a Gradients,
}

/// What an epoch came to.
#[derive(Clone, Copy)]
pub struct EpochEnd<'a> {
    /// Its numbers.
    pub metrics: &'a EpochMetrics,
    /// The test set at the weights after the epoch; `None` where the run has no test set, or does not evaluate in this epoch.
    pub evaluation: Option<&'a Evaluation>,
    /// The model with the weights that were evaluated.
    pub model: &'a dyn Module,
    /// Whether it is the best epoch so far.
    pub best: bool,
    /// All epochs so far, this one last, with those before the checkpoint that the run went on from.
    pub history: &'a [EpochMetrics],
    /// The best of them.
    pub best_epoch: Option<EpochMetrics>,
    /// The test set at the weights of the best epoch, also of one before the checkpoint that the run went on from; `None` where
    /// that epoch was not evaluated, or its weights are gone.
    pub best_evaluation: Option<&'a Evaluation>,
    /// The training samples that could not be read so far.
    pub skipped: &'a [Skipped],
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// It goes on.
    #[default]
    Continue,
    /// It ends here as [`Stopped::Hook`](crate::Stopped::Hook).
    Stop,
    /// It ends here as [`Stopped::Interrupted`](crate::Stopped::Interrupted): a person, or the system, wants it to.
    Interrupt,
}

/// Follows a run of a [`Trainer`](crate::Trainer). Each method does nothing unless it is written.
///
/// Several hooks are one: a tuple of up to four, a `Vec` of boxes, an `Option`; `()` is none. Each is asked, also where another
/// one stops the run.
///
/// ```
/// use kiln_train::{EpochEnd, Flow, Hook, Result};
///
/// /// Ends the run as soon as it is good enough.
/// struct GoodEnough(f64);
///
/// impl Hook for GoodEnough {
///     fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
///         let reached = end.evaluation.is_some_and(|evaluation| evaluation.top1 >= self.0);
///         Ok(if reached { Flow::Stop } else { Flow::Continue })
///     }
/// }
/// ```
pub trait Hook {
    /// The run begins.
    ///
    /// # Errors
    /// Whatever shall keep it from beginning.
    fn start(&mut self, _run: &Run) -> Result<()> {
        Ok(())
    }

    /// Step `step`, from 0, is about to be recorded. Where a hook stops the run here, the step is not made.
    ///
    /// # Errors
    /// Whatever shall end the run as failed. The same holds for the other methods.
    fn before_step(&mut self, _step: u64) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// Whether [`Hook::after_backward`] is to be called for this step.
    fn wants_gradients(&self, _step: u64) -> bool {
        false
    }

    /// Gradients were computed, and clipped where that is asked for. Called where [`Hook::wants_gradients`].
    ///
    /// # Errors
    /// As [`Hook::before_step`].
    fn after_backward(&mut self, _end: &StepEnd<'_>) -> Result<()> {
        Ok(())
    }

    /// Losses were read.
    ///
    /// # Errors
    /// As [`Hook::before_step`].
    fn report(&mut self, _report: &StepReport) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// An epoch is over, evaluation and files included.
    ///
    /// # Errors
    /// As [`Hook::before_step`].
    fn epoch(&mut self, _end: &EpochEnd<'_>) -> Result<Flow> {
        Ok(Flow::Continue)
    }

    /// The run is over. Not called where it failed.
    ///
    /// # Errors
    /// As [`Hook::before_step`].
    fn finish(&mut self, _outcome: &Outcome) -> Result<()> {
        Ok(())
    }
}

/// A hook made of others: each is asked, and the strongest wish counts.
macro_rules! composed {
    (($($generics:tt)*) $type:ty, $hooks:ident => $parts:expr, $parts_mut:expr) => {
        impl<$($generics)*> Hook for $type {
            fn start(&mut self, run: &Run) -> Result<()> {
                let $hooks = self;
                $parts_mut.into_iter().try_for_each(|hook| hook.start(run))
            }

            fn before_step(&mut self, step: u64) -> Result<Flow> {
                let $hooks = self;
                strongest($parts_mut.into_iter().map(|hook| hook.before_step(step)))
            }

            fn wants_gradients(&self, step: u64) -> bool {
                let $hooks = self;
                $parts.into_iter().any(|hook| hook.wants_gradients(step))
            }

            fn after_backward(&mut self, end: &StepEnd<'_>) -> Result<()> {
                let $hooks = self;
                let mut wanting = $parts_mut.into_iter().filter(|hook| hook.wants_gradients(end.step));
                wanting.try_for_each(|hook| hook.after_backward(end))
            }

            fn report(&mut self, report: &StepReport) -> Result<Flow> {
                let $hooks = self;
                strongest($parts_mut.into_iter().map(|hook| hook.report(report)))
            }

            fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
                let $hooks = self;
                strongest($parts_mut.into_iter().map(|hook| hook.epoch(end)))
            }

            fn finish(&mut self, outcome: &Outcome) -> Result<()> {
                let $hooks = self;
                $parts_mut.into_iter().try_for_each(|hook| hook.finish(outcome))
            }
        }
    };
}

fn strongest(flows: impl Iterator<Item = Result<Flow>>) -> Result<Flow> {
    flows.into_iter().try_fold(Flow::Continue, |flow, next| Ok(flow.max(next?)))
}

type Member<'a> = &'a dyn Hook;
type MemberMut<'a> = &'a mut dyn Hook;

impl Hook for () {}

composed!((H: Hook + ?Sized) &mut H, hook => [&**hook], [&mut **hook]);
composed!((H: Hook + ?Sized) Box<H>, hook => [&**hook], [&mut **hook]);
composed!((H: Hook) Option<H>, hook => hook.iter(), hook.iter_mut());
composed!((H: Hook) Vec<H>, hooks => hooks.iter(), hooks.iter_mut());
composed!((A: Hook, B: Hook) (A, B), hooks => [&hooks.0 as Member<'_>, &hooks.1], [&mut hooks.0 as MemberMut<'_>, &mut hooks.1]);
composed!((A: Hook, B: Hook, C: Hook) (A, B, C), hooks =>
    [&hooks.0 as Member<'_>, &hooks.1, &hooks.2], [&mut hooks.0 as MemberMut<'_>, &mut hooks.1, &mut hooks.2]);
composed!((A: Hook, B: Hook, C: Hook, D: Hook) (A, B, C, D), hooks =>
    [&hooks.0 as Member<'_>, &hooks.1, &hooks.2, &hooks.3],
    [&mut hooks.0 as MemberMut<'_>, &mut hooks.1, &mut hooks.2, &mut hooks.3]);
