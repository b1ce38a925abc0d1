//! What a step lowers.

use kiln_autograd::Var;
use kiln_data::Batch;
use kiln_tensor::ops::class_loss::CrossEntropyOptions;
use kiln_tensor::{Device, Tensor};

use crate::batch::ToDevice;
use crate::error::{Error, Result, counted};

/// Cross-entropy as a run asks for it: smoothed, weighted by class, against the shares of batches that are mixed.
#[derive(Debug)]
pub(crate) struct Objective {
    smoothing: f64,
    weights: Option<(Tensor, Vec<f32>)>,
}

impl Objective {
    pub(crate) fn new(device: &Device, smoothing: f64, weights: Option<&[f32]>, classes: usize) -> Result<Objective> {
        if !(0.0..1.0).contains(&smoothing) {
            let message = format!("label smoothing {smoothing}; pass a number from 0 to below 1");
            return Err(Error::argument("Trainer", message));
        }
        let weights = match weights {
            None => None,
            Some(weights) => {
                let fits = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
                    && weights.iter().any(|weight| *weight > 0.0);
                if weights.len() != classes || !fits {
                    return Err(Error::argument(
                        "Trainer",
                        format!(
                            "class weights {weights:?} for {}; pass one for each, finite, at least 0 and not all 0",
                            counted(classes, "class")
                        ),
                    ));
                }
                Some((Tensor::from_slice(device, weights.len(), weights)?, weights.to_vec()))
            }
        };
        Ok(Objective { smoothing, weights })
    }

    /// The mean loss of a batch.
    pub(crate) fn loss(&self, logits: &Var, labels: &Tensor, batch: &Batch) -> Result<Var> {
        if batch.mix.is_none() && self.smoothing == 0.0 && self.weights.is_none() {
            return Ok(logits.cross_entropy(labels)?);
        }
        let options = CrossEntropyOptions {
            weight: self.weights.as_ref().map(|(weight, _)| weight.clone()),
            label_smoothing: self.smoothing,
            ..CrossEntropyOptions::default()
        };
        if batch.mix.is_none() {
            return Ok(logits.cross_entropy_with(labels, &options)?);
        }
        let classes = logits.tensor().dim(1)?;
        let shares = batch.probabilities(labels.device(), classes)?.to_dtype(logits.tensor().dtype())?;
        Ok(logits.cross_entropy_with(&shares, &options)?)
    }

    /// What a batch's mean was divided by: batches in this proportion make one.
    pub(crate) fn weight(&self, batch: &Batch) -> f64 {
        match &self.weights {
            // As PyTorch does, a mean over shares is one over samples, whatever the weights.
            Some((_, weights)) if batch.mix.is_none() => {
                let of = |&label: &u32| weights.get(label as usize).map_or(0.0, |&weight| f64::from(weight));
                batch.labels.iter().map(of).sum()
            }
            _ => batch.labels.len() as f64,
        }
    }
}
