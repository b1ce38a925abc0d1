//! What a run keeps in its checkpoint besides tensors, and what it has to have in common with one.

use std::collections::BTreeMap;

use kiln_data::Splits;
use kiln_nn::Optimizer;
use serde::{Deserialize, Serialize};

use crate::batch::Feed;
use crate::checkpoint::Checkpoint;
use crate::early_stopping::EarlyStoppingState;
use crate::error::{Error, Result};
use crate::hook::Run;
use crate::metrics::EpochMetrics;
use crate::tally::Sums;
use crate::trainer::Trainer;

/// The key of [`Position`] in a checkpoint.
const KEY: &str = "trainer";

/// Where a run stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    /// All steps of the run as it was planned.
    pub(crate) steps: u64,
    pub(crate) steps_per_epoch: u64,
    /// The sums of the epoch in progress, and of the steps since the last report.
    pub(crate) sums: Sums,
    pub(crate) window: Sums,
    /// How long the epoch has taken so far.
    pub(crate) seconds: f64,
    /// The learning rate that the schedule starts from.
    pub(crate) peak_lr: f64,
    pub(crate) history: Vec<EpochMetrics>,
    /// The best epoch.
    #[serde(default)]
    pub(crate) best_epoch: Option<EpochMetrics>,
    /// Its number, in checkpoints that have that alone.
    #[serde(default, skip_serializing)]
    pub(crate) best: Option<u64>,
    pub(crate) early: Option<EarlyStoppingState>,
    /// The bits of the numbers of a plateau, which may be infinite.
    pub(crate) plateau: Option<BTreeMap<String, u64>>,
    /// The training samples that could not be read, with the reasons.
    pub(crate) skipped: BTreeMap<usize, String>,
    /// Whether all steps of the epoch are done, and its evaluation failed.
    #[serde(default)]
    pub(crate) unmeasured: bool,
}

impl Position {
    /// That of a checkpoint, as this run may go on from it.
    pub(crate) fn of(checkpoint: &Checkpoint, run: &Run) -> Result<Position> {
        let mut position: Position =
            checkpoint.get(KEY)?.ok_or_else(|| checkpoint.damaged("it was not written by a Trainer"))?;
        let done = checkpoint.step();
        let Position { steps, steps_per_epoch, sums, window, seconds, peak_lr, .. } = &position;
        let plausible = done <= *steps
            && *steps_per_epoch == run.steps_per_epoch
            && sums.is_plausible()
            && window.is_plausible()
            && seconds.is_finite()
            && peak_lr.is_finite();
        if !plausible {
            return Err(checkpoint.damaged("its numbers contradict each other"));
        }
        // One that goes on must have something left to do.
        if *steps != run.steps && (done > run.steps || done == run.steps && !position.unmeasured) {
            let message = format!(
                "the run of {} has made {done} steps already, {} are asked for, of which an epoch has {steps_per_epoch}; ask for more",
                checkpoint.file(),
                run.steps
            );
            return Err(Error::argument("Trainer", message));
        }
        let numbered = |number: u64| position.history.iter().find(|metrics| metrics.epoch == number).copied();
        position.best_epoch = position.best_epoch.or(position.best.and_then(numbered));
        Ok(position)
    }

    pub(crate) fn put(&self, checkpoint: Checkpoint) -> Result<Checkpoint> {
        checkpoint.put(KEY, self)
    }
}

/// The settings on which the numbers of a run depend.
pub(crate) fn settings(
    trainer: &Trainer,
    optim: &dyn Optimizer,
    data: &Splits,
    feed: &Feed,
) -> BTreeMap<String, String> {
    let trained = optim.parameters().iter().filter(|(_, parameter)| !parameter.is_frozen()).count();
    let number = |number: Option<f64>| number.map_or_else(|| "none".to_string(), |number| number.to_string());
    let warmup = if trainer.ema.is_some() && trainer.ema_warmup { " with warm-up" } else { "" };
    let list = [
        ("the seed", trainer.seed.to_string()),
        ("the schedule", format!("{:?}", trainer.schedule)),
        ("the plateau", format!("{:?}", trainer.plateau)),
        ("the label smoothing", trainer.label_smoothing.to_string()),
        ("the class weights", format!("{:?}", trainer.class_weights)),
        ("mixup", number(trainer.mixup)),
        ("cutmix", number(trainer.cutmix)),
        ("the clipped norm", number(trainer.clip_norm)),
        ("the clipped value", number(trainer.clip_value)),
        ("the batches of a step", trainer.accumulate.to_string()),
        ("the EMA decay", number(trainer.ema) + warmup),
        ("the optimizer", optim.settings()),
        ("the learning rate", optim.lr().to_string()),
        ("the number of trained parameters", trained.to_string()),
        ("the batch size", feed.batch.to_string()),
        ("the normalisation", format!("{:?}", feed.normalize)),
        ("the number of training samples", data.train.len().to_string()),
        ("the number of test samples", data.validation().0.len().to_string()),
        ("the shape of the images", format!("{:?}", data.train.shape())),
        ("the classes", data.train.classes().join(", ")),
    ];
    list.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
