//! Losses and logits that stay on the GPU until someone looks.

use kiln_autograd::Var;
use kiln_data::Batch;
use kiln_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::scores;

/// The most logits that wait: 16 MiB of them.
const MOST_LOGITS: usize = 4 << 20;

/// The losses and logits of some batches, still on the GPU.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    losses: Vec<Tensor>,
    logits: Vec<Tensor>,
    batches: Vec<Seen>,
    waiting: usize,
}

/// What is known of a batch without its results.
#[derive(Debug)]
struct Seen {
    step: u64,
    labels: Vec<u32>,
    weight: f64,
}

impl Tally {
    /// Adds a batch of step `step` with its mean loss, in which it has this weight.
    pub(crate) fn add(&mut self, step: u64, logits: &Var, batch: &Batch, loss: &Var, weight: f64) {
        self.waiting += logits.tensor().numel();
        self.losses.push(loss.tensor().clone());
        self.logits.push(logits.tensor().clone());
        self.batches.push(Seen { step, labels: batch.labels.clone(), weight });
    }

    /// Whether it is time to read, so that memory is not held for too long.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= MOST_LOGITS
    }

    /// Waits for the GPU and sums up every batch since the last time.
    pub(crate) fn read(&mut self) -> Result<Sums> {
        let mut sums = Sums::default();
        if self.batches.is_empty() {
            return Ok(sums);
        }
        let losses = Tensor::stack(&self.losses.iter().collect::<Vec<_>>(), 0)?.to_dtype(DType::F32)?;
        let logits = Tensor::cat(&self.logits.iter().collect::<Vec<_>>(), 0)?.to_dtype(DType::F32)?;
        let [_, classes] = logits.dims::<2>()?;
        let (losses, logits) = (losses.to_vec::<f32>()?, logits.to_vec::<f32>()?);
        for (seen, &loss) in self.batches.iter().zip(&losses) {
            if !loss.is_finite() {
                return Err(Error::Diverged { step: seen.step + 1, loss });
            }
            sums.loss += f64::from(loss) * seen.weight;
            sums.weight += seen.weight;
        }
        let labels = self.batches.iter().flat_map(|seen| &seen.labels);
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let rank = scores::rank(row, label as usize);
            sums.samples += 1;
            sums.hits += u64::from(rank == 0);
            sums.hits5 += u64::from(rank < 5);
        }
        *self = Tally::default();
        Ok(sums)
    }
}

/// Sums of what was read, in f64 since there may be millions of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    loss: f64,
    weight: f64,
    hits: u64,
    hits5: u64,
    pub(crate) samples: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, other: &Sums) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.hits += other.hits;
        self.hits5 += other.hits5;
        self.samples += other.samples;
    }

    /// Whether they can be sums, as those of a file may not be.
    pub(crate) fn is_plausible(&self) -> bool {
        let numbers = self.loss.is_finite() && self.weight.is_finite() && self.weight >= 0.0;
        numbers && self.samples < 1 << 53 && self.hits <= self.hits5 && self.hits5 <= self.samples
    }

    /// The mean loss of a sample; NaN without samples.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// The part of the samples that were right; NaN without samples.
    pub(crate) fn accuracy(&self) -> f64 {
        self.hits as f64 / self.samples as f64
    }

    /// The part of the samples whose class was among the first five.
    pub(crate) fn top5(&self) -> f64 {
        self.hits5 as f64 / self.samples as f64
    }
}
