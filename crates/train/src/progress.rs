//! What a person sees of a run.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use kiln_data::Part;

use crate::error::Result;
use crate::hook::{EpochEnd, Flow, Hook, Run, StepReport};
use crate::metrics::EpochMetrics;
use crate::outcome::Outcome;

/// Between two plain lines within an epoch.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Shows a run: on a terminal a bar for the epochs and one for the steps of the epoch, with loss, accuracy, images per second, GPU memory
/// and time left; elsewhere (a file, CI) plain lines. A line per epoch goes to standard output, all else to standard error. A stream that
/// nobody reads any more, or whose disk is full, does not end the run: the other stream says it, once.
#[derive(Debug)]
pub struct Progress {
    bars: Option<Bars>,
    run: Option<Run>,
    started: Instant,
    /// When the last plain line within an epoch was written.
    spoke: Option<Instant>,
    /// Whether a stream has failed.
    unheard: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    fn write(self, line: &str) -> io::Result<()> {
        match self {
            Stream::Output => writeln!(io::stdout(), "{line}"),
            Stream::Error => writeln!(io::stderr(), "{line}"),
        }
    }
}

#[derive(Debug)]
struct Bars {
    both: MultiProgress,
    epochs: ProgressBar,
    steps: ProgressBar,
}

impl Bars {
    fn new() -> Bars {
        let both = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = |template: &str| {
            let bar = both.add(ProgressBar::no_length());
            // The templates are constants that are understood; the default bar is the harmless alternative.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        };
        // Short enough for all of the words in 80 columns, and for the loss in 40.
        let epochs = bar("epochs {bar:12.cyan/blue} {pos}/{len}  {wide_msg}");
        let steps = bar("steps  {bar:12.cyan/blue} {pos}/{len}  {wide_msg}");
        Bars { both, epochs, steps }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl Progress {
    /// Bars if standard error is a terminal, lines otherwise.
    pub fn new() -> Progress {
        let bars = std::io::stderr().is_terminal().then(Bars::new);
        Progress { bars, run: None, started: Instant::now(), spoke: None, unheard: false }
    }

    fn say(&mut self, stream: Stream, line: &str) {
        let Err(error) = stream.write(line) else { return };
        if !std::mem::replace(&mut self.unheard, true) {
            let (name, other) = match stream {
                Stream::Output => ("output", Stream::Error),
                Stream::Error => ("error", Stream::Output),
            };
            // Where neither can be written to, the run's files are what is left.
            let _ = other.write(&format!("warning: cannot write to standard {name}: {error}; the run goes on"));
        }
    }

    /// The time that the run will still take, as long as steps take what they took so far.
    fn left(&self, step: u64) -> Option<HumanDuration> {
        let run = self.run?;
        let made = step.saturating_sub(run.done).max(1);
        let per_step = self.started.elapsed().as_secs_f64() / made as f64;
        Duration::try_from_secs_f64(per_step * run.steps.saturating_sub(step) as f64).ok().map(HumanDuration)
    }
}

impl Hook for Progress {
    fn start(&mut self, run: &Run) -> Result<()> {
        self.run = Some(*run);
        self.started = Instant::now();
        if let Some(Bars { epochs, steps, .. }) = &self.bars {
            epochs.set_length(run.epochs);
            epochs.set_position(run.done / run.steps_per_epoch.max(1));
            steps.set_length(run.steps_per_epoch);
            steps.set_message("compiling kernels");
            epochs.tick();
        }
        Ok(())
    }

    fn before_step(&mut self, step: u64) -> Result<Flow> {
        if let (Some(bars), Some(run)) = (&self.bars, &self.run) {
            bars.steps.set_position(step % run.steps_per_epoch.max(1));
        }
        Ok(Flow::Continue)
    }

    fn report(&mut self, report: &StepReport) -> Result<Flow> {
        let left = self.left(report.step).map(|left| format!("{left:#} left")).unwrap_or_default();
        let words = format!(
            "loss {:.4}  acc {:.1} %  {:.0} images/s",
            report.loss,
            100.0 * report.accuracy,
            report.images_per_s,
        );
        let memory = format!("{:.1} MiB", report.memory as f64 / f64::from(1 << 20));
        let (epochs, steps) = self.run.map_or((0, 0), |run| (run.epochs, run.steps));
        if let Some(bars) = &self.bars {
            // While the test set is evaluated, the epoch's steps are all done.
            let steps = self.run.map_or(1, |run| run.steps_per_epoch.max(1));
            bars.steps.set_position((report.step.max(1) - 1) % steps + 1);
            bars.steps.set_message(words);
            bars.epochs.set_message(format!("{left}  {memory}"));
        } else if self.spoke.is_none_or(|spoke| spoke.elapsed() >= PLAIN_PAUSE) {
            self.spoke = Some(Instant::now());
            let line =
                format!("epoch {}/{epochs}  step {}/{steps}  {words}  {memory}  {left}", report.epoch, report.step);
            self.say(Stream::Error, &line);
        }
        Ok(Flow::Continue)
    }

    fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
        let line = epoch_line(self.run.as_ref(), end.metrics);
        match &self.bars {
            Some(bars) => {
                bars.epochs.set_position(end.metrics.epoch);
                bars.both.clone().suspend(|| self.say(Stream::Output, &line));
            }
            None => self.say(Stream::Output, &line),
        }
        Ok(Flow::Continue)
    }

    fn finish(&mut self, _outcome: &Outcome) -> Result<()> {
        if let Some(Bars { epochs, steps, .. }) = &self.bars {
            steps.finish_and_clear();
            epochs.finish_and_clear();
        }
        Ok(())
    }
}

/// What a person reads of an epoch.
fn epoch_line(run: Option<&Run>, metrics: &EpochMetrics) -> String {
    let (epochs, tested) = run.map_or((0, Part::Test), |run| (run.epochs, run.test_part));
    let part = |what: &str, loss: f64, accuracy: Option<f64>, top5: Option<f64>| {
        let percent = |name: &str, part: f64| format!(", {name} {:.2} %", 100.0 * part);
        let accuracy = accuracy.map(|part| percent("acc", part)).unwrap_or_default();
        let top5 = top5.map(|part| percent("top-5", part)).unwrap_or_default();
        format!("{what} loss {loss:.4}{accuracy}{top5}; ")
    };
    let train = part("train", metrics.train_loss, Some(metrics.train_acc), None);
    let test = metrics
        .test_loss
        .map(|loss| part(&tested.to_string(), loss, metrics.test_acc, metrics.test_top5))
        .unwrap_or_default();
    let skipped = match metrics.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} unreadable"),
    };
    format!(
        "epoch {}/{epochs}: {train}{test}{:.1} s, {:.0} images/s{skipped}",
        metrics.epoch, metrics.seconds, metrics.images_per_s
    )
}
