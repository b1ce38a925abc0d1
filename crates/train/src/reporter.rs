//! What a run leaves for people: the report and the curves.

use std::path::PathBuf;

use kiln_data::Dataset;
use kiln_nn::{Summary, write_atomically};
use kiln_tensor::Device;

use crate::curves::{CURVES_PNG_FILE, CURVES_SVG_FILE, curves_png, curves_svg};
use crate::error::{Error, Result};
use crate::hook::{EpochEnd, Flow, Hook, Run, StepReport};
use crate::outcome::Outcome;
use crate::report::{Filters, HtmlReport, REPORT_FILE};

/// Leaves [`REPORT_FILE`], [`CURVES_SVG_FILE`] and [`CURVES_PNG_FILE`] in a run's folder when the run is over, whether it finished,
/// stopped early or was interrupted.
///
/// ```no_run
/// # use kiln_tensor::Device; use kiln_data::{FashionMnist, Splits}; use kiln_nn::{Init, Module, Sgd};
/// use kiln_train::{Feed, Length, Reporter, Trainer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?;
/// # let data = FashionMnist::embedded()?;
/// # let data = Splits { train: data.train().clone(), test: data.test().clone() };
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
    steps: Vec<StepReport>,
    filters: Option<Filters>,
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
            steps: Vec::new(),
            filters: None,
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

    /// The evaluated dataset: names of the classes, and pictures of the best and the worst predictions.
    #[must_use]
    pub fn data(mut self, test: &Dataset) -> Reporter {
        self.data = Some(test.clone());
        self
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        Ok(write_atomically(&self.folder.join(file), bytes)?)
    }
}

impl Hook for Reporter {
    /// Made before the first step, so that a folder that cannot be made is found at once.
    fn start(&mut self, _run: &Run) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|source| Error::Io {
            file: self.folder.display().to_string(),
            action: "make this folder",
            source,
        })
    }

    fn report(&mut self, report: &StepReport) -> Result<Flow> {
        self.steps.push(*report);
        Ok(Flow::Continue)
    }

    fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
        self.filters = Filters::of(end.model)?;
        Ok(Flow::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<()> {
        let report = HtmlReport {
            title: &self.title,
            history: &outcome.history,
            best: outcome.best,
            steps: &self.steps,
            stopped: Some(outcome.stopped),
            evaluation: outcome.evaluation.as_ref(),
            data: self.data.as_ref(),
            filters: self.filters.as_ref(),
            summary: self.summary.as_ref(),
            config: &self.config,
            adapter: &self.adapter,
            skipped: &outcome.skipped,
        };
        self.write(REPORT_FILE, report.html()?.as_bytes())?;
        self.write(CURVES_SVG_FILE, curves_svg(&outcome.history, &self.steps)?.as_bytes())?;
        self.write(CURVES_PNG_FILE, &curves_png(&outcome.history, &self.steps)?)
    }
}
