//! The training loop.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use kiln_autograd::{Gradients, Tape};
use kiln_data::{Batch, Loader, Skipped, Splits};
use kiln_nn::{
    Ema, GradientAccumulator, Module, Optimizer, ReduceLrOnPlateau, StateDict, StateFile, clip_grad_norm,
    clip_grad_value,
};

use crate::batch::{Feed, ToDevice};
use crate::checkpoint::Checkpoint;
use crate::early_stopping::EarlyStopping;
use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, evaluate};
use crate::folder::{BEST_FILE, CHECKPOINT_FILE, EPOCH_KEY, Folder, with_weights};
use crate::groups::{Group, Groups};
use crate::hook::{EpochEnd, Flow, Hook, Run, StepEnd, StepReport};
use crate::lock::FolderLock;
use crate::measure::Measure;
use crate::metrics::EpochMetrics;
use crate::objective::Objective;
use crate::outcome::{Outcome, Stopped};
use crate::resume::{Position, settings};
use crate::tally::{Sums, Tally};
use crate::trainer::{Length, Trainer};

/// A run in progress.
pub(crate) struct Training<'a> {
    trainer: &'a Trainer,
    model: &'a dyn Module,
    optim: &'a mut dyn Optimizer,
    data: &'a Splits,
    feed: &'a Feed,
    hooks: &'a mut dyn Hook,
    loader: Loader,
    run: Run,
    best_by: Measure,
    objective: Objective,
    folder: Option<Folder>,
    /// What a run that goes on from this one's checkpoint has to have in common with it.
    settings: BTreeMap<String, String>,
    /// The step of the last checkpoint.
    saved: Option<u64>,
    ema: Option<Ema>,
    plateau: Option<(ReduceLrOnPlateau, Measure)>,
    early: Option<EarlyStopping>,
    /// The optimizer's own learning rate.
    base_lr: f64,
    /// The learning rate that the schedule starts from: lower where a plateau was met.
    peak_lr: f64,
    tally: Tally,
    epoch: Epoch,
    history: Vec<EpochMetrics>,
    best: Option<EpochMetrics>,
    evaluation: Option<Evaluation>,
    /// That of the best epoch.
    best_evaluation: Option<Evaluation>,
    /// The training samples that could not be read, with the reasons.
    skipped: BTreeMap<usize, String>,
    /// Whether the steps of the epoch are done and its evaluation has failed.
    unmeasured: bool,
}

/// What is known of the epoch in progress.
struct Epoch {
    sums: Sums,
    /// Since the last report.
    window: Sums,
    /// How long it took before the run was interrupted.
    before: f64,
    started: Instant,
}

impl Epoch {
    fn start() -> Epoch {
        Epoch { sums: Sums::default(), window: Sums::default(), before: 0.0, started: Instant::now() }
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    fn images_per_s(&self) -> f64 {
        self.sums.samples as f64 / self.seconds()
    }
}

impl<'a> Training<'a> {
    /// Checks all that can be checked before the first step.
    pub(crate) fn new(
        trainer: &'a Trainer,
        model: &'a dyn Module,
        optim: &'a mut dyn Optimizer,
        data: &'a Splits,
        feed: &'a Feed,
        hooks: &'a mut dyn Hook,
    ) -> Result<Training<'a>> {
        let mut loader = feed.loader(&data.train).shuffle(trainer.seed);
        if let Some(alpha) = trainer.mixup {
            loader = loader.mixup(alpha);
        }
        if let Some(alpha) = trainer.cutmix {
            loader = loader.cutmix(alpha);
        }
        let run = plan(data, feed, trainer, loader.batches_per_epoch() as u64)?;
        let objective = Objective::new(
            &feed.device,
            trainer.label_smoothing,
            trainer.class_weights.as_deref(),
            data.train.classes().len(),
        )?;
        let ema = trainer.ema.map(|decay| Ema::new(model, decay)).transpose()?;
        let ema = ema.map(|ema| ema.warmup(trainer.ema_warmup));
        let mut training = Training {
            trainer,
            model,
            data,
            feed,
            hooks,
            loader,
            run,
            best_by: best_by(trainer, data)?,
            objective,
            folder: None,
            settings: settings(trainer, optim, data, feed),
            saved: None,
            ema,
            plateau: trainer.plateau.clone(),
            early: trainer.early_stopping.clone(),
            base_lr: optim.lr(),
            peak_lr: optim.lr(),
            optim,
            tally: Tally::default(),
            epoch: Epoch::start(),
            history: Vec::new(),
            best: None,
            evaluation: None,
            best_evaluation: None,
            skipped: BTreeMap::new(),
            unmeasured: false,
        };
        training.loader.check()?;
        feed.loader(data.validation().0).check()?;
        if let Some(path) = &trainer.out {
            // Before the checkpoint is read: another run may be about to replace it.
            let lock = trainer.lock.clone().map_or_else(|| FolderLock::take(path), Ok)?;
            let resumed = training.resume(&path.join(CHECKPOINT_FILE)).map_err(|error| with_weights(error, path))?;
            training.folder = Some(Folder::create(lock, resumed.then_some(&training.history))?);
        }
        Ok(training)
    }

    /// Goes on from a checkpoint, if that is asked for and there is one.
    fn resume(&mut self, path: &Path) -> Result<bool> {
        if !self.trainer.resume || !path.exists() {
            return Ok(false);
        }
        let checkpoint = Checkpoint::open(path, &self.feed.device)?;
        checkpoint.check(&self.settings)?;
        let position = Position::of(&checkpoint, &self.run)?;
        self.best = position.best_epoch;
        self.best_evaluation = self.evaluate_best(&path.with_file_name(BEST_FILE))?;
        checkpoint.load_model(self.model)?;
        checkpoint.load_optimizer(self.optim)?;
        if let Some(ema) = &mut self.ema {
            checkpoint.load_ema(ema)?;
        }
        if let (Some((plateau, _)), Some(state)) = (&mut self.plateau, &position.plateau) {
            let state = state.iter().map(|(name, bits)| (name.clone(), f64::from_bits(*bits)));
            plateau.load_state(&state.collect())?;
        }
        if let (Some(early), Some(state)) = (&mut self.early, position.early) {
            early.load_state(state);
        }
        self.epoch =
            Epoch { sums: position.sums, window: position.window, before: position.seconds, started: Instant::now() };
        self.run.done = checkpoint.step();
        self.run.planned = position.steps;
        self.peak_lr = position.peak_lr;
        self.history = position.history;
        self.skipped = position.skipped;
        let cut = !self.run.done.is_multiple_of(self.run.steps_per_epoch) && self.run.done < self.run.steps;
        // An epoch that goes on is measured at its end, if it was not when the run was to end.
        self.unmeasured = position.unmeasured && !cut;
        self.saved = (!self.unmeasured).then_some(self.run.done);
        if cut && self.history.last().is_some_and(|metrics| metrics.step == self.run.done) {
            // The run was to end within this epoch. Now the epoch goes on, and has its line at its end.
            self.history.pop();
        }
        Ok(true)
    }

    /// The evaluation of the best epoch, from its weights: reports of a run that goes on need it before there is a better epoch.
    /// The model's own weights are lost. `None` where the file is gone or damaged, which keeps no run from going on, or is of an
    /// epoch that the checkpoint does not know yet.
    fn evaluate_best(&self, file: &Path) -> Result<Option<Evaluation>> {
        let Some(best) = self.best.filter(|best| best.test_loss.is_some()) else { return Ok(None) };
        let Ok(weights) = StateFile::open(file) else { return Ok(None) };
        let other = weights.metadata().get(EPOCH_KEY).is_some_and(|epoch| *epoch != best.epoch.to_string());
        if other || self.model.load(file).is_err() {
            return Ok(None);
        }
        evaluate(self.model, self.data.validation().0, self.feed).map(Some)
    }

    /// Saves a checkpoint, unless the last one is of this step.
    fn save(&mut self) -> Result<()> {
        if self.folder.is_none() || self.saved == Some(self.run.done) {
            return Ok(());
        }
        self.read()?;
        let plateau = |(plateau, _): &(ReduceLrOnPlateau, Measure)| {
            plateau.state().into_iter().map(|(name, value)| (name, value.to_bits())).collect()
        };
        let position = Position {
            steps: self.run.steps,
            steps_per_epoch: self.run.steps_per_epoch,
            sums: self.epoch.sums,
            window: self.epoch.window,
            seconds: self.epoch.seconds(),
            peak_lr: self.peak_lr,
            history: self.history.clone(),
            best_epoch: self.best,
            best: None,
            early: self.early.as_ref().map(EarlyStopping::state),
            plateau: self.plateau.as_ref().map(plateau),
            skipped: self.skipped.clone(),
            unmeasured: self.unmeasured,
        };
        let mut checkpoint = Checkpoint::new(&self.feed.device, self.run.done)
            .model(self.model)
            .optimizer(self.optim)?
            .settings(self.settings.clone())
            .config(&self.trainer.config);
        if let Some(ema) = &self.ema {
            checkpoint = checkpoint.ema(ema)?;
        }
        let checkpoint = position.put(checkpoint)?;
        if let Some(folder) = &self.folder {
            folder.write_checkpoint(&checkpoint)?;
        }
        self.saved = Some(self.run.done);
        Ok(())
    }

    pub(crate) fn run(mut self) -> Result<Outcome> {
        self.hooks.start(&self.run)?;
        let stopped = self.steps()?;
        // An epoch that is over has saved one.
        self.save()?;
        self.optim.set_lr(self.base_lr);
        if let Some(ema) = &mut self.ema {
            ema.swap(self.model)?;
        }
        // A run that was over when it was resumed has none yet.
        let over = matches!(stopped, Stopped::Finished | Stopped::EarlyStopping);
        let (tested, _) = self.data.validation();
        if over && self.evaluation.is_none() && !tested.is_empty() {
            self.evaluation = Some(evaluate(self.model, tested, self.feed)?);
        }
        let outcome = Outcome {
            history: self.history,
            best: self.best,
            steps: self.run.done,
            stopped,
            evaluation: self.evaluation,
            best_evaluation: self.best_evaluation,
            skipped: skipped(&self.skipped),
        };
        self.hooks.finish(&outcome)?;
        Ok(outcome)
    }

    /// The steps that are left.
    fn steps(&mut self) -> Result<Stopped> {
        if std::mem::take(&mut self.unmeasured) {
            let last = self.run.done.saturating_sub(1);
            self.optim.set_lr(self.trainer.schedule.lr(self.peak_lr, last, self.run.planned));
            match self.end_epoch(self.run.done.div_ceil(self.run.steps_per_epoch))? {
                Flow::Continue => {}
                Flow::Stop => return Ok(Stopped::Hook),
                Flow::Interrupt => return Ok(Stopped::Interrupted),
            }
        }
        let (epoch, index) = (self.run.done / self.run.steps_per_epoch, self.run.done % self.run.steps_per_epoch);
        let first = usize::try_from(index * self.trainer.accumulate).unwrap_or(usize::MAX);
        let batches = self.loader.epochs_from(epoch, first, self.run.epochs);
        let mut groups = Groups::new(batches, self.trainer.accumulate, self.loader.batches_per_epoch() as u64);
        self.epoch.started = Instant::now();
        while self.run.done < self.run.steps {
            if self.early.as_ref().is_some_and(EarlyStopping::is_over) {
                return Ok(Stopped::EarlyStopping);
            }
            match self.hooks.before_step(self.run.done)? {
                Flow::Continue => {}
                Flow::Stop => return Ok(Stopped::Hook),
                Flow::Interrupt => return Ok(Stopped::Interrupted),
            }
            let Some(group) = groups.next().transpose()? else { break };
            let step = group.epoch * self.run.steps_per_epoch + group.index;
            self.step(step, &group)?;
            // The steps whose batches were all unreadable are passed by.
            let next = if group.last { (group.epoch + 1) * self.run.steps_per_epoch } else { step + 1 };
            self.run.done = next.min(self.run.steps);
            self.skipped.extend(groups.skipped().map(|skipped| (skipped.sample, skipped.reason.clone())));

            let ends = group.last || self.run.done == self.run.steps;
            let mut flow = Flow::Continue;
            if ends || self.run.done.is_multiple_of(self.trainer.report_every) {
                flow = self.report(group.epoch + 1)?;
            } else if self.tally.is_full() {
                self.read()?;
            }
            if ends {
                flow = flow.max(self.end_epoch(group.epoch + 1)?);
            } else if self.trainer.checkpoint_every.is_some_and(|every| self.run.done.is_multiple_of(every)) {
                self.save()?;
            }
            match flow {
                Flow::Continue => {}
                Flow::Stop => return Ok(Stopped::Hook),
                Flow::Interrupt => return Ok(Stopped::Interrupted),
            }
        }
        Ok(Stopped::Finished)
    }

    fn step(&mut self, step: u64, group: &Group) -> Result<()> {
        self.optim.set_lr(self.trainer.schedule.lr(self.peak_lr, step, self.run.steps));
        let mut gradients = self.gradients(step, group)?;
        let parameters = self.optim.parameters();
        if let Some(max_norm) = self.trainer.clip_norm {
            clip_grad_norm(&parameters, &mut gradients, max_norm, false)?;
        }
        if let Some(value) = self.trainer.clip_value {
            clip_grad_value(&parameters, &mut gradients, value)?;
        }
        if self.hooks.wants_gradients(step) {
            self.hooks.after_backward(&StepEnd { step, model: self.model, gradients: &gradients })?;
        }
        under(self.feed, "optimizer", || Ok(self.optim.step(&gradients)?))?;
        if let Some(ema) = &mut self.ema {
            under(self.feed, "ema", || Ok(ema.update(self.model)?))?;
        }
        Ok(())
    }

    /// The gradients of the mean loss over all samples of the step.
    fn gradients(&mut self, step: u64, group: &Group) -> Result<Gradients> {
        if let [batch] = group.batches.as_slice() {
            return self.backward(step, batch, self.objective.weight(batch));
        }
        let weights: Vec<f64> = group.batches.iter().map(|batch| self.objective.weight(batch)).collect();
        let all: f64 = weights.iter().sum();
        let mut sums = GradientAccumulator::new();
        for (batch, weight) in group.batches.iter().zip(weights) {
            let gradients = self.backward(step, batch, weight)?;
            // Of classes that all weigh nothing, no batch counts more than another.
            let share = if all > 0.0 { weight / all } else { 1.0 / group.batches.len() as f64 };
            under(self.feed, "accumulate", || Ok(sums.add(&gradients, share)?))?;
        }
        Ok(sums.take())
    }

    fn backward(&mut self, step: u64, batch: &Batch, weight: f64) -> Result<Gradients> {
        let feed = self.feed;
        let (images, labels) = under(feed, "input", || batch.to_normalized(&feed.device, &feed.normalize))?;
        let number = batch.epoch * self.loader.batches_per_epoch() as u64 + batch.index as u64;
        let tape = Tape::train_seeded(step_seed(self.trainer.seed, number));
        let tape = if self.trainer.detect_anomaly { tape.detect_anomaly() } else { tape };
        let logits = self.model.forward(&tape.constant(images))?;
        let loss = under(feed, "loss", || self.objective.loss(&logits, &labels, batch))?;
        self.tally.add(step, &logits, batch, &loss, weight);
        under(feed, "backward", || Ok(loss.backward()?))
    }

    /// Reads what the steps since the last time came to.
    fn read(&mut self) -> Result<()> {
        let sums = self.tally.read()?;
        self.epoch.sums.add(&sums);
        self.epoch.window.add(&sums);
        Ok(())
    }

    fn report(&mut self, epoch: u64) -> Result<Flow> {
        self.read()?;
        let window = std::mem::take(&mut self.epoch.window);
        self.hooks.report(&StepReport {
            epoch,
            step: self.run.done,
            loss: window.mean_loss(),
            accuracy: window.accuracy(),
            lr: self.optim.lr(),
            images_per_s: self.epoch.images_per_s(),
            memory: self.feed.device.memory().in_use,
        })
    }

    /// Evaluates, writes the files and tells the hooks.
    fn end_epoch(&mut self, epoch: u64) -> Result<Flow> {
        let images_per_s = self.epoch.images_per_s();
        let measured = self.with_means(|this| this.measure(epoch, images_per_s));
        let (metrics, best, evaluated) = measured.inspect_err(|_| {
            // The steps are not lost. What keeps them from being saved follows from the same fault, or matters less.
            self.unmeasured = true;
            self.save().ok();
        })?;
        if let Some(folder) = &mut self.folder {
            folder.write_metrics(&metrics)?;
        }
        self.history.push(metrics);
        if let Some((plateau, measure)) = &mut self.plateau
            && let Some(value) = measure.of(&metrics)
        {
            // It lowers what the schedule starts from.
            self.optim.set_lr(self.peak_lr);
            plateau.step(value, self.optim)?;
            self.peak_lr = self.optim.lr();
        }
        if let Some(early) = &mut self.early
            && let Some(value) = early.measured().of(&metrics)
        {
            early.step(value);
        }
        // An epoch that the run's end cuts short goes on where the run is made longer. The time of what follows belongs to no epoch.
        if self.run.done.is_multiple_of(self.run.steps_per_epoch) {
            self.epoch = Epoch::start();
        }
        self.save()?;
        let flow = self.with_means(|this| {
            let evaluation = this.evaluation.as_ref().filter(|_| evaluated);
            this.hooks.epoch(&EpochEnd {
                metrics: &metrics,
                evaluation,
                model: this.model,
                best,
                history: &this.history,
                best_epoch: this.best,
                best_evaluation: this.best_evaluation.as_ref(),
                skipped: &skipped(&this.skipped),
            })
        });
        self.epoch.started = Instant::now();
        flow
    }

    /// Runs something while the model has the means of its weights, where they are kept.
    fn with_means<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(ema) = &mut self.ema {
            ema.swap(self.model)?;
        }
        let result = run(self);
        if let Some(ema) = &mut self.ema {
            ema.swap(self.model)?;
        }
        result
    }

    /// The epoch's metrics, whether it is the best, and whether the test set was evaluated. Writes the weights.
    fn measure(&mut self, epoch: u64, images_per_s: f64) -> Result<(EpochMetrics, bool, bool)> {
        let due = epoch.is_multiple_of(self.trainer.evaluate_every) || self.run.done == self.run.steps;
        let (tested, _) = self.data.validation();
        let evaluate_now = due && !tested.is_empty();
        if evaluate_now {
            self.evaluation = Some(evaluate(self.model, tested, self.feed)?);
        }
        let evaluation = self.evaluation.as_ref().filter(|_| evaluate_now);
        let sums = &self.epoch.sums;
        let metrics = EpochMetrics {
            epoch,
            step: self.run.done,
            lr: self.optim.lr(),
            train_loss: sums.mean_loss(),
            train_acc: sums.accuracy(),
            train_top5: (self.data.train.classes().len() > 5).then(|| sums.top5()),
            test_loss: evaluation.map(|evaluation| evaluation.loss),
            test_acc: evaluation.map(|evaluation| evaluation.top1),
            test_top5: evaluation.and_then(|evaluation| evaluation.top5),
            seconds: self.epoch.seconds(),
            images_per_s,
            skipped: self.skipped.len() as u64,
            memory: self.feed.device.memory().in_use,
        };
        let known = self.best_by.of(&metrics).is_some();
        let best = known && self.best.is_none_or(|best| self.best_by.improves(&metrics, &best));
        if let Some(folder) = &self.folder {
            folder.write_weights(self.model, self.trainer, epoch, best)?;
        }
        if best {
            self.best = Some(metrics);
            self.best_evaluation = evaluation.cloned();
        }
        Ok((metrics, best, evaluate_now))
    }
}

fn skipped(reasons: &BTreeMap<usize, String>) -> Vec<Skipped> {
    reasons.iter().map(|(&sample, reason)| Skipped { sample, reason: reason.clone() }).collect()
}

/// The length of the run in every unit.
fn plan(data: &Splits, feed: &Feed, trainer: &Trainer, batches_per_epoch: u64) -> Result<Run> {
    if feed.batch == 0 {
        return Err(Error::argument("Trainer", "batches of 0 samples; pass at least 1"));
    }
    if data.train.is_empty() {
        return Err(Error::argument("Trainer", "0 training samples; needs at least one"));
    }
    let steps_per_epoch = batches_per_epoch.div_ceil(trainer.accumulate).max(1);
    let (steps, epochs) = match trainer.length {
        Length::Epochs(epochs) => (epochs.saturating_mul(steps_per_epoch), epochs),
        Length::Steps(steps) => (steps, steps.div_ceil(steps_per_epoch)),
    };
    if steps == 0 {
        return Err(Error::argument("Trainer", "a run of 0 steps; pass at least one step or epoch"));
    }
    trainer.schedule.check(steps)?;
    let (tested, test_part) = data.validation();
    let (train_samples, test_samples) = (data.train.len(), tested.len());
    Ok(Run { steps, epochs, steps_per_epoch, done: 0, planned: steps, train_samples, test_samples, test_part })
}

/// What decides which epoch is the best. Measures of the test set need one.
fn best_by(trainer: &Trainer, data: &Splits) -> Result<Measure> {
    let asked = [
        ("best_by", trainer.best_by),
        ("reduce_lr_on_plateau", trainer.plateau.as_ref().map(|(_, measure)| *measure)),
        ("early_stopping", trainer.early_stopping.as_ref().map(EarlyStopping::measured)),
    ];
    let tested = !data.validation().0.is_empty();
    if !tested
        && let Some((what, Some(measure))) =
            asked.into_iter().find(|(_, measure)| measure.is_some_and(Measure::needs_test))
    {
        return Err(Error::argument(
            what,
            format!("{measure:?} without a test set; pass one, or choose TrainLoss or TrainAccuracy"),
        ));
    }
    let default = if tested { Measure::TestAccuracy } else { Measure::TrainLoss };
    Ok(trainer.best_by.unwrap_or(default))
}

/// Runs a part of a step under a name of its own in a GPU profile, beside the layers' names.
fn under<T>(feed: &Feed, part: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let _scope = feed.device.scope(part);
    run()
}

/// The seed of a batch's random numbers: a run's batches have different ones, and batch 0 has the run's own.
fn step_seed(seed: u64, number: u64) -> u64 {
    // The odd constant of the golden ratio spreads neighbouring batches over the whole range.
    seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
