//! Optimizers.

mod adam;
mod sgd;
mod slots;

pub use adam::Adam;
pub use sgd::Sgd;

use std::collections::BTreeMap;

use kiln_autograd::Gradients;
use kiln_tensor::Tensor;

use crate::error::Result;

/// What a training loop needs of an optimizer. The optimizers have the same methods of their own, so the trait is only needed
/// where one is chosen at run time.
pub trait Optimizer: Send {
    /// Changes every parameter that is not frozen by one step, in place. Nothing waits for the GPU.
    ///
    /// # Errors
    /// [`Error::NoGradient`](crate::Error::NoGradient) with the name of a parameter that got none,
    /// [`Error::Argument`](crate::Error::Argument) for a setting out of its range. Nothing is changed then.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

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

/// The trait, from the methods that an optimizer has of its own.
macro_rules! optimizer {
    ($optimizer:ident) => {
        impl $crate::optim::Optimizer for $optimizer {
            fn step(&mut self, gradients: &kiln_autograd::Gradients) -> $crate::error::Result<()> {
                $optimizer::step(self, gradients)
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
