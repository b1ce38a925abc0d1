//! What a person sees of a run.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Result;
use crate::metrics::EpochMetrics;

/// The size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// All steps.
    pub steps: u64,
    /// All epochs, the last of which may be cut short.
    pub epochs: u64,
    /// The steps of a whole epoch.
    pub steps_per_epoch: u64,
    /// The samples of the training set.
    pub train_samples: usize,
    /// The samples of the test set.
    pub test_samples: usize,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
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
}

/// Follows a run of [`fit`](crate::fit). Each method does nothing unless it is written.
pub trait Observer {
    /// The run begins.
    fn start(&mut self, _run: &Run) {}

    /// Step `step`, from 0, is about to be recorded.
    ///
    /// # Errors
    /// Whatever shall end the run.
    fn before_step(&mut self, _step: u64) -> Result<()> {
        Ok(())
    }

    /// Losses were read.
    fn report(&mut self, _report: &Report) {}

    /// An epoch is over, evaluation and files included.
    fn epoch(&mut self, _metrics: &EpochMetrics) {}

    /// The run is over. Not called where it failed.
    fn finish(&mut self) {}
}

/// Follows a run without a word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Between two plain lines within an epoch.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Shows a run: on a terminal a bar with loss, accuracy, images per second and time left; elsewhere (a file, CI) plain lines. A
/// line per epoch goes to standard output, all else to standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    run: Option<Run>,
    started: Instant,
    /// When the last plain line within an epoch was written.
    spoke: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl Progress {
    /// A bar if standard error is a terminal, lines otherwise.
    pub fn new() -> Progress {
        let bar =
            std::io::stderr().is_terminal().then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        Progress { bar, run: None, started: Instant::now(), spoke: None }
    }

    /// The time that the run will still take, as long as steps take what they took so far.
    fn left(&self, step: u64) -> Option<HumanDuration> {
        let run = self.run?;
        let per_step = self.started.elapsed().as_secs_f64() / step.max(1) as f64;
        Duration::try_from_secs_f64(per_step * run.steps.saturating_sub(step) as f64).ok().map(HumanDuration)
    }
}

impl Observer for Progress {
    fn start(&mut self, run: &Run) {
        self.run = Some(*run);
        self.started = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_length(run.steps);
            // The template is a constant that is understood; the default bar is the harmless alternative.
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24.cyan/blue} {pos}/{len} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(format!("epoch 1/{}", run.epochs));
            bar.set_message("compiling kernels");
            bar.tick();
        }
    }

    fn report(&mut self, report: &Report) {
        let left = self.left(report.step).map(|left| format!("{left:#} left")).unwrap_or_default();
        let words = format!(
            "loss {:.4}  acc {:.1} %  {:.0} images/s  {left}",
            report.loss,
            100.0 * report.accuracy,
            report.images_per_s
        );
        let (epochs, steps) = self.run.map_or((0, 0), |run| (run.epochs, run.steps));
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {}/{epochs}", report.epoch));
            bar.set_message(words);
            bar.set_position(report.step);
        } else if self.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_PAUSE) {
            self.spoke = Some(Instant::now());
            eprintln!("epoch {}/{epochs}  step {}/{steps}  {words}", report.epoch, report.step);
        }
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        let epochs = self.run.map_or(0, |run| run.epochs);
        let line = format!(
            "epoch {}/{epochs}: train loss {:.4}, acc {:.2} %; test loss {:.4}, acc {:.2} %; {:.1} s, {:.0} images/s",
            metrics.epoch,
            metrics.train_loss,
            100.0 * metrics.train_acc,
            metrics.test_loss,
            100.0 * metrics.test_acc,
            metrics.seconds,
            metrics.images_per_s
        );
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
