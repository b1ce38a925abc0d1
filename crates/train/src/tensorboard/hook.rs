//! A run in an event file.

use std::path::PathBuf;

use kiln_data::Dataset;
use kiln_tensor::{DType, Tensor};

use super::{EventFile, Graph, Histogram};
use crate::error::Result;
use crate::evaluation::{Evaluation, Prediction};
use crate::hook::{EpochEnd, Flow, Hook, Run, StepEnd, StepReport};
use crate::outcome::{Outcome, Stopped};
use crate::picture::Picture;

/// How many pictures are written of a set.
const PICTURES: usize = 12;

/// Of a larger tensor, so many evenly spread elements make the histogram: all of VGG-16's weights would be half a gigabyte to read.
const MOST_VALUES: usize = 1 << 20;

/// Writes a run for TensorBoard, into the folder that it is given: numbers of steps and epochs (against steps), histograms of
/// weights and gradients at the end of epochs, and what else it is told to. A run that goes on from a checkpoint replaces what
/// TensorBoard knew of later steps.
///
/// | tag | |
/// |---|---|
/// | `step/loss`, `step/accuracy`, `step/learning rate`, `step/images per second`, `step/memory MiB` | of the reports |
/// | `loss/train`, `loss/test`, `accuracy/train`, `accuracy/test`, `top-5/train`, `top-5/test` | of the epochs |
/// | `weights/NAME`, `gradients/NAME` | histograms; of tensors of more than 2^20 elements, of that many at even distances |
/// | `training images/`, `mistakes/` | pictures at the start; the worst predictions of the best epoch at the end of a run that was not interrupted |
/// | `configuration` | text |
///
/// ```no_run
/// # use kiln_tensor::Device; use kiln_data::{FashionMnist, Splits}; use kiln_nn::{Init, Module, Sgd};
/// use kiln_train::{Feed, Graph, Length, TensorBoard, Trainer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?;
/// # let data = FashionMnist::embedded()?;
/// # let data = Splits::new(data.train().clone(), data.test().clone());
/// let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
/// let mut optim = Sgd::new(model.parameters(), 0.1);
/// let mut board = TensorBoard::new("runs/first")
///     .graph(Graph::of(&model, &device, [1, 1, 28, 28])?)
///     .training_images(&data.train)
///     .mistakes(&data.test);
/// Trainer::new(Length::Epochs(3)).run(&model, &mut optim, &data, &Feed::new(&device), &mut board)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    config: String,
    graph: Option<Graph>,
    train: Option<Dataset>,
    test: Option<Dataset>,
    histograms: u64,
    run: Option<Run>,
    events: Option<EventFile>,
}

impl TensorBoard {
    /// Numbers and histograms, into this folder.
    pub fn new(folder: impl Into<PathBuf>) -> TensorBoard {
        TensorBoard {
            folder: folder.into(),
            config: String::new(),
            graph: None,
            train: None,
            test: None,
            histograms: 1,
            run: None,
            events: None,
        }
    }

    /// The configuration as text.
    #[must_use]
    pub fn config(mut self, config: impl Into<String>) -> TensorBoard {
        self.config = config.into();
        self
    }

    /// The network's graph.
    #[must_use]
    pub fn graph(mut self, graph: Graph) -> TensorBoard {
        self.graph = Some(graph);
        self
    }

    /// Shows some images of the training set at the start, as its transforms give them.
    #[must_use]
    pub fn training_images(mut self, train: &Dataset) -> TensorBoard {
        self.train = Some(train.clone());
        self
    }

    /// Shows the images of the evaluated set that the network was most wrong about, at the end.
    #[must_use]
    pub fn mistakes(mut self, test: &Dataset) -> TensorBoard {
        self.test = Some(test.clone());
        self
    }

    /// Histograms at the end of every so many epochs; 0: none. Each waits for the device to read weights and gradients.
    #[must_use]
    pub fn histograms_every(mut self, epochs: u64) -> TensorBoard {
        self.histograms = epochs;
        self
    }

    /// Whether an epoch, from 1, has histograms.
    fn has_histograms(&self, epoch: u64) -> bool {
        self.histograms > 0 && epoch.is_multiple_of(self.histograms)
    }

    fn training_pictures(&mut self, step: u64) -> Result<()> {
        let (Some(train), Some(events)) = (&self.train, &mut self.events) else { return Ok(()) };
        let shown = train.len().min(PICTURES);
        for place in 0..shown {
            // Sets often come class by class, so the pictures are from all over.
            let sample = train.get(place * train.len() / shown)?;
            let class = plain(train.class_name(sample.label));
            let picture = Picture::of(&sample, train.shape())?;
            events.image(&format!("training images/{place:02} {class}"), step, &picture)?;
        }
        Ok(())
    }

    fn mistaken_pictures(&mut self, evaluation: &Evaluation, step: u64) -> Result<()> {
        let (Some(test), Some(events)) = (&self.test, &mut self.events) else { return Ok(()) };
        let mistakes = evaluation.predictions.iter().filter(|one| one.label != one.predicted);
        let mut mistakes: Vec<&Prediction> = mistakes.collect();
        mistakes.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.sample.cmp(&b.sample)));
        for (place, one) in mistakes.into_iter().take(PICTURES).enumerate() {
            let (label, taken) = (plain(test.class_name(one.label)), plain(test.class_name(one.predicted)));
            let tag = format!("mistakes/{place:02} {label} taken for {taken} with {:.2}", one.probability);
            events.image(&tag, step, &Picture::of(&test.get(one.sample)?, test.shape())?)?;
        }
        Ok(())
    }
}

/// A class in a tag. TensorBoard asks for pictures by an address that some signs in a tag break (`<`, `&`, `'`); they become `_`.
fn plain(class: Option<&str>) -> String {
    let kept = |c: char| if c.is_alphanumeric() || " -_.,()".contains(c) { c } else { '_' };
    class.unwrap_or_default().chars().map(kept).collect()
}

/// Writes the histogram of a tensor, and how many of its elements are not finite if there are such.
fn histogram(events: &mut EventFile, tag: &str, step: u64, tensor: &Tensor) -> Result<()> {
    let count = tensor.numel();
    let flat = tensor.reshape([count])?;
    let read = if count > MOST_VALUES { flat.slice(0, 0, count, count.div_ceil(MOST_VALUES))? } else { flat };
    let histogram = Histogram::of(&read.to_dtype(DType::F32)?.to_vec::<f32>()?);
    if histogram.not_finite() > 0 {
        events.scalar(&format!("not finite/{tag}"), step, histogram.not_finite() as f64)?;
    }
    events.histogram(tag, step, &histogram)
}

impl Hook for TensorBoard {
    fn start(&mut self, run: &Run) -> Result<()> {
        self.run = Some(*run);
        let mut events = EventFile::create(&self.folder)?;
        // The epoch that the checkpoint was saved after has its numbers at that step: they stay.
        events.start_at(if run.done == 0 { 0 } else { run.done + 1 })?;
        if !self.config.is_empty() {
            // Four spaces make it code, whatever is in it.
            let code: String = self.config.lines().map(|line| format!("    {line}\n")).collect();
            events.text("configuration", run.done, &code)?;
        }
        if let Some(graph) = &self.graph {
            events.graph(graph)?;
        }
        self.events = Some(events);
        self.training_pictures(run.done)?;
        self.events.as_mut().map_or(Ok(()), EventFile::flush)
    }

    fn wants_gradients(&self, step: u64) -> bool {
        let Some(run) = self.run else { return false };
        let ends = (step + 1).is_multiple_of(run.steps_per_epoch.max(1)) || step + 1 == run.steps;
        ends && self.has_histograms(step / run.steps_per_epoch.max(1) + 1)
    }

    fn after_backward(&mut self, end: &StepEnd<'_>) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        for (name, parameter) in end.model.parameters().unique() {
            // A frozen parameter has none.
            if let Some(gradient) = parameter.gradient(end.gradients) {
                histogram(events, &format!("gradients/{name}"), end.step + 1, gradient)?;
            }
        }
        Ok(())
    }

    fn report(&mut self, report: &StepReport) -> Result<Flow> {
        if let Some(events) = &mut self.events {
            let values = [
                ("step/loss", report.loss),
                ("step/accuracy", report.accuracy),
                ("step/learning rate", report.lr),
                ("step/images per second", report.images_per_s),
                ("step/memory MiB", report.memory as f64 / f64::from(1 << 20)),
            ];
            events.scalars(report.step, &values)?;
            events.flush()?;
        }
        Ok(Flow::Continue)
    }

    fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
        let histograms = self.has_histograms(end.metrics.epoch);
        let Some(events) = &mut self.events else { return Ok(Flow::Continue) };
        let metrics = end.metrics;
        let values = [
            ("loss/train", Some(metrics.train_loss)),
            ("loss/test", metrics.test_loss),
            ("accuracy/train", Some(metrics.train_acc)),
            ("accuracy/test", metrics.test_acc),
            ("top-5/train", metrics.train_top5),
            ("top-5/test", metrics.test_top5),
        ];
        let known: Vec<(&str, f64)> = values.iter().filter_map(|&(tag, value)| Some((tag, value?))).collect();
        events.scalars(metrics.step, &known)?;
        if histograms {
            for (name, parameter) in end.model.parameters().unique() {
                histogram(events, &format!("weights/{name}"), metrics.step, &parameter.value())?;
            }
        }
        events.flush()?;
        Ok(Flow::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<()> {
        // Those of a run that goes on later are not the last ones.
        if outcome.stopped != Stopped::Interrupted {
            match (outcome.best, &outcome.best_evaluation, &outcome.evaluation) {
                (Some(best), Some(evaluation), _) => self.mistaken_pictures(evaluation, best.step)?,
                (_, _, Some(evaluation)) => self.mistaken_pictures(evaluation, outcome.steps)?,
                _ => {}
            }
        }
        self.events.as_mut().map_or(Ok(()), EventFile::flush)
    }
}
