//! Evaluation.

use kiln_autograd::Tape;
use kiln_data::Dataset;
use kiln_nn::Module;
use serde::{Deserialize, Serialize};

use crate::batch::{Feed, ToDevice};
use crate::error::{Error, Result};
use crate::tally::{Sums, Tally};

/// How good a classifier is on a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The mean cross-entropy of a sample, in nats.
    pub loss: f64,
    /// The part of the samples whose most probable class is theirs, from 0 to 1.
    pub accuracy: f64,
    /// The number of samples.
    pub samples: u64,
}

/// Runs a classifier over a whole dataset, in order, on a tape for evaluation. Losses and hits stay on the GPU and are read
/// once, at the end.
///
/// # Errors
/// [`Error::Argument`] for an empty dataset; those of the data, the model and the device.
pub fn evaluate(model: &dyn Module, data: &Dataset, feed: &Feed) -> Result<Metrics> {
    if data.is_empty() {
        return Err(Error::argument("evaluate", "the dataset is empty; pass one with at least one sample"));
    }
    let mut tally = Tally::default();
    for batch in data.loader(feed.batch).workers(feed.workers).epochs(1) {
        let (images, labels) = batch?.to_normalized(&feed.device, &feed.normalize)?;
        let logits = model.forward(&Tape::eval().constant(images))?;
        let loss = logits.cross_entropy(&labels)?;
        tally.add(&logits, &labels, &loss)?;
    }
    let mut sums = Sums::default();
    for read in tally.read()? {
        sums.add(&read);
    }
    Ok(Metrics { loss: sums.mean_loss(), accuracy: sums.accuracy(), samples: sums.samples })
}
