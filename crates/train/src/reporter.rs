//! What a run leaves for people: the report and the curves.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kiln_data::{Dataset, Skipped};
use kiln_nn::{Summary, write_atomically};
use kiln_tensor::Device;

use crate::curves::{CURVES_FILE, curves_svg};
use crate::error::{Error, Result};
use crate::evaluation::Evaluation;
use crate::hook::{EpochEnd, Flow, Hook, Run, StepReport};
use crate::metrics::EpochMetrics;
use crate::outcome::{Outcome, Stopped};
use crate::report::{Filters, HtmlReport, REPORT_FILE};

/// Leaves [`REPORT_FILE`] and [`CURVES_FILE`] in a run's folder. They are written anew after every epoch and
/// when the run is over, so that one that fails or is killed has them too; a run that goes on from a checkpoint shows the epochs
/// before it as well.
///
/// ```no_run
/// # use kiln_tensor::Device; use kiln_data::{FashionMnist, Splits}; use kiln_nn::{Init, Module, Sgd};
/// use kiln_train::{Feed, Length, Reporter, Trainer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?;
/// # let data = FashionMnist::embedded()?;
/// # let data = Splits::new(data.train().clone(), data.test().clone());
/// let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
/// let mut optim = Sgd::new(model.parameters(), 0.1);
/// let mut reporter = Reporter::new("runs/first", "lenet5 on Fashion-MNIST").data(&data.test).device(&device);
/// Trainer::new(Length::Epochs(3)).run(&model, &mut optim, &data, &Feed::new(&device), &mut reporter)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reporter {
    folder: PathBuf,
    title: String,
    config: String,
    adapter: String,
    summary: Option<Summary>,
    data: Option<Dataset>,
    run: Option<Run>,
    steps: Vec<StepReport>,
    /// Those of the best epoch, or of the first since the run went on.
    filters: Option<Filters>,
    /// The latest.
    evaluation: Option<Evaluation>,
    /// Whether an epoch has ended since the run began or went on.
    ended: bool,
}

impl Reporter {
    /// Writes into this folder, under this heading: model and data.
    pub fn new(folder: impl Into<PathBuf>, title: impl Into<String>) -> Reporter {
        Reporter {
            folder: folder.into(),
            title: title.into(),
            config: String::new(),
            adapter: String::new(),
            summary: None,
            data: None,
            run: None,
            steps: Vec::new(),
            filters: None,
            evaluation: None,
            ended: false,
        }
    }

    /// The configuration as text.
    #[must_use]
    pub fn config(mut self, config: impl Into<String>) -> Reporter {
        self.config = config.into();
        self
    }

    /// Names the adapter of this device.
    #[must_use]
    pub fn device(mut self, device: &Device) -> Reporter {
        self.adapter = device.info().to_string();
        self
    }

    /// The layers, from [`kiln_nn::summary`].
    #[must_use]
    pub fn summary(mut self, summary: Summary) -> Reporter {
        self.summary = Some(summary);
        self
    }

    /// The evaluated dataset, for the names of the classes and the pictures of the best and the worst predictions.
    #[must_use]
    pub fn data(mut self, test: &Dataset) -> Reporter {
        self.data = Some(test.clone());
        self
    }

    /// Writes all files, with what is known of the run.
    fn write(&self, run: &SoFar<'_>) -> Result<()> {
        let report = HtmlReport {
            title: &self.title,
            history: run.history,
            best: run.best,
            steps: &self.steps,
            stopped: run.stopped,
            planned: self.run.map(|run| run.epochs),
            evaluation: run.evaluation,
            evaluated: run.evaluated,
            data: self.data.as_ref(),
            part: self.run.map(|run| run.test_part),
            filters: self.filters.as_ref(),
            summary: self.summary.as_ref(),
            config: &self.config,
            adapter: &self.adapter,
            skipped: run.skipped,
        };
        let write = |file: &str, bytes: &[u8]| write_atomically(self.folder.join(file), bytes);
        write(REPORT_FILE, report.html()?.as_bytes())?;
        Ok(write(CURVES_FILE, curves_svg(run.history, &self.steps)?.as_bytes())?)
    }
}

/// What is known of a run.
struct SoFar<'a> {
    history: &'a [EpochMetrics],
    best: Option<EpochMetrics>,
    stopped: Option<Stopped>,
    evaluation: Option<&'a Evaluation>,
    /// The epoch that the evaluation is of.
    evaluated: Option<u64>,
    skipped: &'a [Skipped],
}

/// The evaluation that is shown, with its epoch: that of the best epoch, as `kiln eval` gives it, or else the latest.
fn shown<'a>(
    best: Option<(EpochMetrics, &'a Evaluation)>,
    latest: Option<&'a Evaluation>,
    history: &[EpochMetrics],
) -> (Option<&'a Evaluation>, Option<u64>) {
    let last = history.iter().rfind(|metrics| metrics.test_loss.is_some());
    match best {
        Some((epoch, evaluation)) => (Some(evaluation), Some(epoch.epoch)),
        None => (latest, latest.and(last).map(|last| last.epoch)),
    }
}

impl Hook for Reporter {
    /// Makes the folder before the first step, so that one that cannot be made is found at once. A new run's has no other run's report.
    fn start(&mut self, run: &Run) -> Result<()> {
        let failed = |file: &Path, action| {
            let file = file.display().to_string();
            move |source| Error::Io { file, action, source }
        };
        self.run = Some(*run);
        fs::create_dir_all(&self.folder).map_err(failed(&self.folder, "make this folder"))?;
        if run.done > 0 {
            return Ok(());
        }
        for file in [REPORT_FILE, CURVES_FILE].map(|file| self.folder.join(file)) {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed(&file, "remove this file of an earlier run")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn report(&mut self, report: &StepReport) -> Result<Flow> {
        self.steps.push(*report);
        Ok(Flow::Continue)
    }

    fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
        if end.best || self.filters.is_none() {
            self.filters = Filters::of(end.model)?.map(|filters| filters.after_epoch(end.metrics.epoch));
        }
        self.ended = true;
        if end.evaluation.is_some() {
            self.evaluation = end.evaluation.cloned();
        }
        let best = end.best_epoch.zip(end.best_evaluation);
        let (evaluation, evaluated) = shown(best, self.evaluation.as_ref(), end.history);
        self.write(&SoFar {
            history: end.history,
            best: end.best_epoch,
            stopped: None,
            evaluation,
            evaluated,
            skipped: end.skipped,
        })?;
        Ok(Flow::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<()> {
        let best = outcome.best.zip(outcome.best_evaluation.as_ref());
        let (evaluation, evaluated) = shown(best, outcome.evaluation.as_ref(), &outcome.history);
        if !self.ended && outcome.evaluation.is_none() && self.folder.join(REPORT_FILE).exists() {
            // The run went on and was interrupted in the same epoch: the report of the last one shows more.
            return Ok(());
        }
        self.write(&SoFar {
            history: &outcome.history,
            best: outcome.best,
            stopped: Some(outcome.stopped),
            evaluation,
            evaluated,
            skipped: &outcome.skipped,
        })
    }
}
