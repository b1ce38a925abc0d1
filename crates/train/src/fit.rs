//! The training loop.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use kiln_autograd::Tape;
use kiln_data::Splits;
use kiln_nn::{Module, Optimizer, Schedule};

use crate::batch::{Feed, ToDevice};
use crate::error::{Error, Result};
use crate::evaluate::evaluate;
use crate::metrics::{EpochMetrics, MetricsFile};
use crate::progress::{Observer, Report, Run};
use crate::tally::{Sums, Tally};

/// The file of a run's folder with a line of JSON per epoch: [`EpochMetrics`].
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The file of a run's folder with the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many times through the training set.
    Epochs(u64),
    /// So many batches.
    Steps(u64),
}

/// How [`fit`] trains.
#[derive(Debug, Clone)]
#[must_use]
pub struct FitOptions {
    length: Length,
    seed: u64,
    schedule: Schedule,
    report_every: u64,
    out: Option<PathBuf>,
    metadata: BTreeMap<String, String>,
}

impl FitOptions {
    /// A run of this length: seed 0, a constant learning rate, a report every 25 steps, and no files.
    pub fn new(length: Length) -> FitOptions {
        FitOptions {
            length,
            seed: 0,
            schedule: Schedule::Constant,
            report_every: 25,
            out: None,
            metadata: BTreeMap::new(),
        }
    }

    /// Decides the order of the samples and the random numbers of the steps (dropout).
    pub fn seed(mut self, seed: u64) -> FitOptions {
        self.seed = seed;
        self
    }

    /// How the learning rate changes from the optimizer's own, which is the largest.
    pub fn schedule(mut self, schedule: Schedule) -> FitOptions {
        self.schedule = schedule;
        self
    }

    /// After how many steps losses are read from the GPU and reported; at least 1. Reading waits for the GPU.
    pub fn report_every(mut self, steps: u64) -> FitOptions {
        self.report_every = steps.max(1);
        self
    }

    /// The folder for [`METRICS_FILE`] and [`WEIGHTS_FILE`], made where it is missing. Files of an earlier run are replaced.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> FitOptions {
        self.out = Some(folder.into());
        self
    }

    /// Text for the weights file: see [`ModelCard::to_metadata`](crate::ModelCard::to_metadata).
    pub fn metadata(mut self, metadata: BTreeMap<String, String>) -> FitOptions {
        self.metadata = metadata;
        self
    }
}

/// Trains a classifier: shuffled batches, cross-entropy, a step of the optimizer each; after every epoch an evaluation on the test
/// set, a line of metrics and the weights on disk. Returns the metrics of the epochs.
///
/// The same seed, data, settings and adapter give the same weights to the bit, whatever the number of reading threads and however
/// often reports are made.
///
/// # Errors
/// [`Error::Argument`] for an empty set or a run of no steps, [`Error::Diverged`] with the step whose loss is not finite,
/// [`Error::Io`] for the folder; those of the data, the model and the device.
pub fn fit(
    model: &dyn Module,
    optim: &mut dyn Optimizer,
    data: &Splits,
    feed: &Feed,
    options: &FitOptions,
    observer: &mut dyn Observer,
) -> Result<Vec<EpochMetrics>> {
    let loader = data.train.loader(feed.batch).shuffle(options.seed).workers(feed.workers);
    let run = plan(data, feed, options, loader.batches_per_epoch() as u64)?;
    options.schedule.check(run.steps)?;
    let mut files = Files::create(options)?;
    let peak_lr = optim.lr();
    observer.start(&run);

    let mut history = Vec::new();
    let mut tally = Tally::default();
    let mut epoch = Epoch::start();
    let take = usize::try_from(run.steps).unwrap_or(usize::MAX);
    for (step, batch) in (0..run.steps).zip(loader.epochs(run.epochs).take(take)) {
        let batch = batch?;
        observer.before_step(step)?;
        optim.set_lr(options.schedule.lr(peak_lr, step, run.steps));
        let (images, labels) = under(feed, "input", || batch.to_normalized(&feed.device, &feed.normalize))?;
        let tape = Tape::train_seeded(step_seed(options.seed, step));
        let logits = model.forward(&tape.constant(images))?;
        let loss = under(feed, "loss", || Ok(logits.cross_entropy(&labels)?))?;
        let gradients = under(feed, "backward", || Ok(loss.backward()?))?;
        under(feed, "optimizer", || Ok(optim.step(&gradients)?))?;
        under(feed, "metrics", || tally.add(&logits, &labels, &loss))?;

        let done = step + 1;
        let ends = batch.index as u64 + 1 == run.steps_per_epoch || done == run.steps;
        if ends || done % options.report_every == 0 {
            let first = done - tally.len() as u64;
            let mut window = Sums::default();
            for (read, step) in tally.read()?.iter().zip(first + 1..) {
                if !read.loss.is_finite() {
                    return Err(Error::Diverged { step, loss: read.loss });
                }
                window.add(read);
                epoch.sums.add(read);
            }
            let images_per_s = epoch.sums.samples as f64 / epoch.started.elapsed().as_secs_f64();
            observer.report(&Report {
                epoch: batch.epoch + 1,
                step: done,
                loss: window.mean_loss(),
                accuracy: window.accuracy(),
                lr: optim.lr(),
                images_per_s,
            });
            if ends {
                let metrics = epoch.finish(model, data, feed, batch.epoch + 1, images_per_s)?;
                files.write(model, options, &metrics)?;
                observer.epoch(&metrics);
                history.push(metrics);
                epoch = Epoch::start();
            }
        }
    }
    optim.set_lr(peak_lr);
    observer.finish();
    Ok(history)
}

/// The length of the run in every unit.
fn plan(data: &Splits, feed: &Feed, options: &FitOptions, steps_per_epoch: u64) -> Result<Run> {
    if feed.batch == 0 {
        return Err(Error::argument("fit", "batches of 0 samples; pass at least 1"));
    }
    if data.train.is_empty() || data.test.is_empty() {
        return Err(Error::argument(
            "fit",
            format!("{} training and {} test samples; both sets need at least one", data.train.len(), data.test.len()),
        ));
    }
    let (steps, epochs) = match options.length {
        Length::Epochs(epochs) => (epochs.saturating_mul(steps_per_epoch), epochs),
        Length::Steps(steps) => (steps, steps.div_ceil(steps_per_epoch)),
    };
    if steps == 0 {
        return Err(Error::argument("fit", "a run of 0 steps; pass at least one step or epoch"));
    }
    Ok(Run { steps, epochs, steps_per_epoch, train_samples: data.train.len(), test_samples: data.test.len() })
}

/// Runs a part of a step under a name of its own in a GPU profile, beside the layers' names.
fn under<T>(feed: &Feed, part: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let _scope = feed.device.scope(part);
    run()
}

/// The seed of a step's random numbers: a run's steps have different ones, and step 0 has the run's own.
fn step_seed(seed: u64, step: u64) -> u64 {
    // The odd constant of the golden ratio spreads neighbouring steps over the whole range.
    seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What is known of the epoch in progress.
struct Epoch {
    started: Instant,
    sums: Sums,
}

impl Epoch {
    fn start() -> Epoch {
        Epoch { started: Instant::now(), sums: Sums::default() }
    }

    fn finish(
        &self,
        model: &dyn Module,
        data: &Splits,
        feed: &Feed,
        epoch: u64,
        images_per_s: f64,
    ) -> Result<EpochMetrics> {
        let test = evaluate(model, &data.test, feed)?;
        Ok(EpochMetrics {
            epoch,
            train_loss: self.sums.mean_loss(),
            train_acc: self.sums.accuracy(),
            test_loss: test.loss,
            test_acc: test.accuracy,
            seconds: self.started.elapsed().as_secs_f64(),
            images_per_s,
        })
    }
}

/// What a run leaves behind.
struct Files(Option<(MetricsFile, PathBuf)>);

impl Files {
    /// Made before the first step, so that a folder that cannot be written to is found at once.
    fn create(options: &FitOptions) -> Result<Files> {
        let Some(folder) = &options.out else { return Ok(Files(None)) };
        fs::create_dir_all(folder).map_err(|source| Error::Io {
            file: folder.display().to_string(),
            action: "make this folder",
            source,
        })?;
        Ok(Files(Some((MetricsFile::create(&folder.join(METRICS_FILE))?, folder.join(WEIGHTS_FILE)))))
    }

    fn write(&mut self, model: &dyn Module, options: &FitOptions, metrics: &EpochMetrics) -> Result<()> {
        if let Some((file, weights)) = &mut self.0 {
            model.save_with(weights, &options.metadata)?;
            file.append(metrics)?;
        }
        Ok(())
    }
}
