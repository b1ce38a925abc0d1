//! Losses and hits that stay on the GPU until someone looks.

use kiln_autograd::Var;
use kiln_tensor::{DType, Tensor};

use crate::error::Result;

/// The losses and hits of some batches, still on the GPU.
#[derive(Default)]
pub(crate) struct Tally {
    /// The loss of each batch, then its hits: scalars.
    scalars: Vec<Tensor>,
    samples: Vec<usize>,
}

/// What was read of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    /// The mean loss of its samples.
    pub(crate) loss: f32,
    pub(crate) hits: u64,
    pub(crate) samples: usize,
}

impl Tally {
    /// Adds a batch with its mean loss.
    pub(crate) fn add(&mut self, logits: &Var, labels: &Tensor, loss: &Var) -> Result<()> {
        let chosen = logits.tensor().argmax(&[1], false)?;
        let hits = chosen.eq(labels)?.to_dtype(DType::F32)?.sum(&[], false)?;
        self.scalars.push(loss.tensor().clone());
        self.scalars.push(hits);
        self.samples.push(labels.numel());
        Ok(())
    }

    /// The batches since the last time.
    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Waits for the GPU and reads every batch since the last time, in order.
    pub(crate) fn read(&mut self) -> Result<Vec<Read>> {
        if self.scalars.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::stack(&self.scalars.iter().collect::<Vec<_>>(), 0)?.to_vec::<f32>()?;
        let reads = values.chunks_exact(2).zip(&self.samples);
        let reads = reads.map(|(pair, &samples)| Read { loss: pair[0], hits: pair[1] as u64, samples }).collect();
        self.scalars.clear();
        self.samples.clear();
        Ok(reads)
    }
}

/// Sums of what was read, in f64 since there may be millions of samples.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    loss: f64,
    hits: u64,
    pub(crate) samples: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, read: &Read) {
        self.loss += f64::from(read.loss) * read.samples as f64;
        self.hits += read.hits;
        self.samples += read.samples as u64;
    }

    /// The mean loss of a sample; NaN without samples.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// The part of the samples that were right; NaN without samples.
    pub(crate) fn accuracy(&self) -> f64 {
        self.hits as f64 / self.samples as f64
    }
}
