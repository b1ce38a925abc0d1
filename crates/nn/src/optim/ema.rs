//! Means of weights over a run.

use std::collections::BTreeMap;

use kiln_tensor::ops::foreach;
use kiln_tensor::ops::optim::Update;
use kiln_tensor::{DType, Tensor};

use crate::buffer::Entry;
use crate::error::{Error, Result};
use crate::module::Module;

/// An exponential moving average of a network's weights (Polyak & Juditsky 1992): `mean = decay mean + (1 - decay) weight`
/// after each step. Networks with averaged weights often generalise better.
///
/// Parameters are averaged; buffers, such as the running statistics of batch norm, are averaged too, and counts are not kept.
///
/// With a constant decay the mean of a short run is mostly the first weights: after `t` updates they still count `decay^t`.
/// [`Ema::warmup`] lets the decay rise from 0 instead.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_nn::{Ema, Init, Linear, Module};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = Linear::builder(1, 1).bias(false);
/// # use kiln_nn::Build;
/// let model = model.build(&device, &Init::seed(1))?;
/// model.weight().set(Tensor::zeros(&device, [1, 1], DType::F32)?)?;
/// let mut ema = Ema::new(&model, 0.75)?;
/// model.weight().set(Tensor::ones(&device, [1, 1], DType::F32)?)?;
/// ema.update(&model)?;
/// ema.swap(&model)?; // evaluate with the means
/// assert_eq!(model.weight().value().item::<f32>()?, 0.25);
/// ema.swap(&model)?; // and train on
/// assert_eq!(model.weight().value().item::<f32>()?, 1.0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    warmup: bool,
    updates: u64,
    means: BTreeMap<String, Tensor>,
}

/// What an [`Ema`] remembers, for a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct EmaState {
    /// The updates so far.
    pub updates: u64,
    /// The means, by the names of what they are means of.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The tensors of a module that are averaged.
fn tensors(model: &dyn Module) -> impl Iterator<Item = (String, Tensor, Entry)> {
    model.entries().into_iter().filter_map(|(name, entry)| {
        let value = match &entry {
            Entry::Parameter(parameter) => parameter.value(),
            Entry::Buffer(buffer) => buffer.value(),
            Entry::Count(_) => return None,
        };
        (value.dtype() == DType::F32).then_some((name, value, entry))
    })
}

/// The same elements in memory of their own, to the bit: arithmetic would turn -0 into 0.
fn copy(tensor: &Tensor) -> Result<Tensor> {
    Ok(Tensor::cat(&[&tensor.reshape(tensor.numel())?], 0)?.reshape(*tensor.shape())?)
}

impl Ema {
    /// Starts from the weights as they are.
    ///
    /// # Errors
    /// [`Error::Argument`] where `decay` is not from 0 to 1; the device's errors.
    pub fn new(model: &dyn Module, decay: f64) -> Result<Ema> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(Error::argument("Ema", format!("decay = {decay}; pass a number from 0 to 1")));
        }
        let own = |(name, value, _): (String, Tensor, Entry)| Ok((name, copy(&value)?));
        let means = tensors(model).map(own).collect::<Result<_>>()?;
        Ok(Ema { decay, warmup: false, updates: 0, means })
    }

    /// Whether the decay rises from 0 as [`Ema::warmup_decay`] says, so that the first update takes the weights as they are.
    /// False unless called.
    #[must_use]
    pub fn warmup(mut self, warmup: bool) -> Ema {
        self.warmup = warmup;
        self
    }

    /// The decay of the update after `updates` others, with warm-up: `min(decay, 1 - (1 + updates)^(-2/3))`. It rises to 0.9 in
    /// 31 updates, to 0.99 in 999 and to 0.999 in 31,622. The formula is that of timm's `ModelEmaV3` with `use_warmup`,
    /// `warmup_gamma = 1` and `warmup_power = 2/3`, timm's defaults (`timm/utils/model_ema.py`).
    pub fn warmup_decay(decay: f64, updates: u64) -> f64 {
        decay.min(1.0 - (1.0 + updates as f64).powf(-2.0 / 3.0))
    }

    /// Moves the means toward the weights, in a few launches. To be called after the optimizer's step.
    ///
    /// # Errors
    /// [`Error::Argument`] for a model with other names or shapes; the device's errors.
    pub fn update(&mut self, model: &dyn Module) -> Result<()> {
        let current = self.matched("update", model)?;
        let pairs: Vec<Update<'_>> =
            current.iter().map(|(parameter, gradient, _)| Update { parameter, gradient }).collect();
        let decay = if self.warmup { Ema::warmup_decay(self.decay, self.updates) } else { self.decay };
        foreach::lerp(&pairs, 1.0 - decay)?;
        self.updates += 1;
        Ok(())
    }

    /// Exchanges the model's weights with the means: once before an evaluation, and again behind it. Nothing is copied.
    ///
    /// # Errors
    /// As [`Ema::update`].
    pub fn swap(&mut self, model: &dyn Module) -> Result<()> {
        let current = self.matched("swap", model)?;
        let names: Vec<String> = self.means.keys().cloned().collect();
        for (name, (mean, value, entry)) in names.into_iter().zip(current) {
            match entry {
                Entry::Parameter(parameter) => parameter.set(mean)?,
                Entry::Buffer(buffer) => buffer.set(mean)?,
                Entry::Count(_) => {}
            }
            self.means.insert(name, value);
        }
        Ok(())
    }

    /// The means and the number of updates, for a checkpoint. The tensors are copies.
    ///
    /// # Errors
    /// Those of the device.
    pub fn state(&self) -> Result<EmaState> {
        let tensors = self.means.iter().map(|(name, mean)| Ok((name.clone(), copy(mean)?))).collect::<Result<_>>()?;
        Ok(EmaState { updates: self.updates, tensors })
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// [`Error::Argument`] where names or shapes are others. Nothing is changed then.
    pub fn load_state(&mut self, state: &EmaState) -> Result<()> {
        let same = |(a, b): ((&String, &Tensor), (&String, &Tensor))| {
            a.0 == b.0 && a.1.shape() == b.1.shape() && a.1.dtype() == b.1.dtype()
        };
        let EmaState { updates, tensors } = state;
        if tensors.len() != self.means.len() || !tensors.iter().zip(&self.means).all(same) {
            return Err(Error::argument("Ema", "the state has other names or shapes; pass that of this model"));
        }
        self.means = tensors.iter().map(|(name, mean)| Ok((name.clone(), copy(mean)?))).collect::<Result<_>>()?;
        self.updates = *updates;
        Ok(())
    }

    /// Mean, value and entry of each tensor, in the order of the names.
    fn matched(&self, what: &str, model: &dyn Module) -> Result<Vec<(Tensor, Tensor, Entry)>> {
        let mut current: BTreeMap<String, (Tensor, Entry)> =
            tensors(model).map(|(name, value, entry)| (name, (value, entry))).collect();
        let mut found = Vec::new();
        for (name, mean) in &self.means {
            match current.remove(name) {
                Some((value, entry)) if value.shape() == mean.shape() => found.push((mean.clone(), value, entry)),
                _ => {
                    let message =
                        format!("{what}: the model has no {name} of shape {}; pass the same model", mean.shape());
                    return Err(Error::argument("Ema", message));
                }
            }
        }
        Ok(found)
    }
}
