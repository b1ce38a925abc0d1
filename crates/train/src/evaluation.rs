//! Evaluation.

use std::collections::VecDeque;

use kiln_autograd::Tape;
use kiln_data::{Batch, Dataset, Skipped};
use kiln_nn::Module;
use kiln_tensor::{DType, Tensor};

use crate::batch::{Feed, ToDevice};
use crate::confusion::ConfusionMatrix;
use crate::error::{Error, Result, counted};
use crate::scores::Scores;

/// How many batches are under way before results are read: reading waits for the GPU.
const AHEAD: usize = 8;

/// How good a classifier is on a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The mean cross-entropy of a sample, in nats.
    pub loss: f64,
    /// The part of the samples whose most probable class is theirs, from 0 to 1.
    pub top1: f64,
    /// The part of the samples whose class is among the five most probable; `None` where there are no more than five classes.
    pub top5: Option<f64>,
    /// The number of samples.
    pub samples: u64,
    /// Which class was taken for which.
    pub confusion: ConfusionMatrix,
    /// What was predicted for each sample, in the dataset's order.
    pub predictions: Vec<Prediction>,
    /// The samples that could not be read and were left out: see [`Feed::unreadable`].
    pub skipped: Vec<Skipped>,
}

/// What a classifier predicts for a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The place of the sample in its dataset.
    pub sample: usize,
    /// Its class.
    pub label: u32,
    /// The most probable class.
    pub predicted: u32,
    /// The probability of the most probable class, from 0 to 1.
    pub probability: f64,
    /// The probability of its own class.
    pub label_probability: f64,
    /// Its cross-entropy, in nats.
    pub loss: f64,
}

/// Runs a classifier over a whole dataset, in order, on a tape for evaluation. Probabilities and losses are computed in 64 bits
/// from the model's logits `[n, classes]`.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::Init; use kiln_data::FashionMnist;
/// use kiln_train::{Feed, evaluate};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::open_default()?;
/// let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
/// let (some, _) = FashionMnist::embedded()?.test().split(0.05, 0)?;
/// let evaluation = evaluate(&model, &some, &Feed::new(&device))?;
/// let worst = evaluation.predictions.iter().max_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap();
/// println!("sample {} of {} was taken for {}", worst.sample, worst.label, worst.predicted);
/// # assert_eq!(evaluation.samples, 100);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] for an empty dataset, or a label that is beyond the model's classes; those of the data, the model and the
/// device.
pub fn evaluate(model: &dyn Module, data: &Dataset, feed: &Feed) -> Result<Evaluation> {
    if data.is_empty() {
        return Err(Error::argument("evaluate", "the dataset is empty; pass one with at least one sample"));
    }
    let mut batches = feed.loader(data).epochs(1);
    let mut sums = Sums { classes: data.classes().len(), ..Sums::default() };
    let mut ahead: VecDeque<(Batch, Tensor)> = VecDeque::with_capacity(AHEAD);
    for batch in batches.by_ref() {
        let mut batch = batch?;
        let (images, _) = batch.to_normalized(&feed.device, &feed.normalize)?;
        // They are on the device now.
        batch.images = Vec::new();
        let logits = model.forward(&Tape::eval().constant(images))?.tensor().to_dtype(DType::F32)?;
        ahead.push_back((batch, logits));
        if ahead.len() == AHEAD {
            sums.read(&mut ahead)?;
        }
    }
    sums.read(&mut ahead)?;
    sums.finish(batches.skipped().cloned().collect())
}

#[derive(Default)]
struct Sums {
    classes: usize,
    confusion: Option<ConfusionMatrix>,
    loss: f64,
    top5: u64,
    predictions: Vec<Prediction>,
}

impl Sums {
    /// Reads all batches that are under way.
    fn read(&mut self, ahead: &mut VecDeque<(Batch, Tensor)>) -> Result<()> {
        if ahead.is_empty() {
            return Ok(());
        }
        let all = Tensor::cat(&ahead.iter().map(|(_, logits)| logits).collect::<Vec<_>>(), 0)?;
        let [rows, classes] = all.dims::<2>()?;
        if classes < self.classes || rows != ahead.iter().map(|(batch, _)| batch.labels.len()).sum::<usize>() {
            return Err(Error::argument(
                "evaluate",
                format!(
                    "the model gives {} of {} for {}; pass a model with a logit for each class",
                    counted(rows, "row"),
                    counted(classes, "logit"),
                    counted(self.classes, "class")
                ),
            ));
        }
        let logits = all.to_vec::<f32>()?;
        let confusion = self.confusion.get_or_insert_with(|| ConfusionMatrix::new(classes));
        let samples = ahead.iter().flat_map(|(batch, _)| batch.samples.iter().zip(&batch.labels));
        for ((&sample, &label), row) in samples.zip(logits.chunks_exact(classes)) {
            let scores = Scores::of(row, label as usize);
            confusion.add(label as usize, scores.predicted)?;
            self.loss += scores.loss;
            self.top5 += u64::from(scores.rank < 5);
            self.predictions.push(Prediction {
                sample,
                label,
                predicted: scores.predicted as u32,
                probability: scores.probability,
                label_probability: scores.label_probability,
                loss: scores.loss,
            });
        }
        ahead.clear();
        Ok(())
    }

    fn finish(self, skipped: Vec<Skipped>) -> Result<Evaluation> {
        let samples = self.predictions.len() as u64;
        let confusion = self.confusion.unwrap_or_else(|| ConfusionMatrix::new(self.classes));
        Ok(Evaluation {
            loss: self.loss / samples as f64,
            top1: confusion.accuracy(),
            top5: (confusion.classes() > 5).then_some(self.top5 as f64 / samples as f64),
            samples,
            confusion,
            predictions: self.predictions,
            skipped,
        })
    }
}
