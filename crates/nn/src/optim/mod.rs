//! Optimizers.

mod accumulate;
mod adam;
mod clip;
mod ema;
mod groups;
mod rmsprop;
mod sgd;
mod slots;

pub use accumulate::GradientAccumulator;
pub use adam::{Adam, AdamW};
pub use clip::{clip_grad_norm, clip_grad_value};
pub use ema::{Ema, EmaState};
pub use groups::ParameterGroups;
pub use rmsprop::RMSprop;
pub use sgd::Sgd;

use std::collections::BTreeMap;

use kiln_autograd::Gradients;
use kiln_tensor::Tensor;

use crate::error::{Error, Result};
use crate::module::Parameters;

/// What a training loop needs of an optimizer. The optimizers have the same methods of their own, so the trait is only needed
/// where one is chosen at run time.
pub trait Optimizer: Send {
    /// Changes every parameter that is not frozen by one step, in place. Nothing waits for the GPU.
    ///
    /// # Errors
    /// [`Error::NoGradient`](crate::Error::NoGradient) with the name of a parameter that got none,
    /// [`Error::Argument`](crate::Error::Argument) for a setting out of its range. Nothing is changed then.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

    /// What it changes, each parameter once.
    fn parameters(&self) -> Parameters;

    /// Its name and its settings but for the learning rate, as text: two optimizers with the same text and rate make the same steps.
    fn settings(&self) -> String;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Changes the learning rate, from the next step on.
    fn set_lr(&mut self, lr: f64);

    /// What it remembers of past steps, by parameter name, for a checkpoint. The tensors are copies.
    ///
    /// # Errors
    /// Those of the device.
    fn state(&self) -> Result<OptimizerState>;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// [`Error::OptimizerState`](crate::Error::OptimizerState) where the state is not one of these parameters. Nothing is changed then.
    fn load_state(&mut self, state: &OptimizerState) -> Result<()>;
}

/// What an optimizer remembers.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    /// The steps that each parameter has made, by its name.
    pub steps: BTreeMap<String, u64>,
    /// The running means, by the parameter's name and PyTorch's name for them: `features.0.weight.momentum_buffer`,
    /// `features.0.weight.exp_avg`, `features.0.weight.exp_avg_sq`. Only those of parameters that made a step.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Checks settings that must be at least 0, and those that must be from 0 to below 1.
fn check_settings(optimizer: &'static str, positive: &[(&str, f64)], decays: &[(&str, f64)]) -> Result<()> {
    for (name, value) in positive {
        if !value.is_finite() || *value < 0.0 {
            return Err(Error::argument(optimizer, format!("{name} = {value}; pass a finite number of at least 0")));
        }
    }
    for (name, value) in decays {
        if !(0.0..1.0).contains(value) {
            return Err(Error::argument(optimizer, format!("{name} = {value}; pass a number from 0 to below 1")));
        }
    }
    Ok(())
}

/// The trait, from the methods that an optimizer has of its own.
macro_rules! optimizer {
    ($optimizer:ident) => {
        impl $crate::optim::Optimizer for $optimizer {
            fn step(&mut self, gradients: &kiln_autograd::Gradients) -> $crate::error::Result<()> {
                $optimizer::step(self, gradients)
            }

            fn parameters(&self) -> $crate::module::Parameters {
                self.slots.parameters()
            }

            fn settings(&self) -> String {
                $optimizer::settings(self)
            }

            fn lr(&self) -> f64 {
                $optimizer::lr(self)
            }

            fn set_lr(&mut self, lr: f64) {
                $optimizer::set_lr(self, lr);
            }

            fn state(&self) -> $crate::error::Result<$crate::optim::OptimizerState> {
                self.slots.state()
            }

            fn load_state(&mut self, state: &$crate::optim::OptimizerState) -> $crate::error::Result<()> {
                self.slots.load_state(state)
            }
        }
    };
}
pub(crate) use optimizer;
