//! Adam.

use kiln_autograd::Gradients;
use kiln_tensor::ops::optim::{AdamStep, adam_step};

use crate::error::{Error, Result};
use crate::module::Parameters;
use crate::optim::optimizer;
use crate::optim::slots::Slots;

/// Adam (Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization"), as PyTorch computes it at a parameter's step `t`:
///
/// - `g = gradient + weight_decay p`
/// - `m = beta1 m + (1 - beta1) g` and `v = beta2 v + (1 - beta2) g^2`, both from 0
/// - `p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`
///
/// All parameters are updated by a few launches.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape; use kiln_nn::{Adam, Parameter, Parameters};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default().map_err(kiln_tensor::Error::from)?;
/// let p = Parameter::new(Tensor::full(&device, [1], 4.0, DType::F32)?);
/// let mut optim = Adam::new(Parameters::from_iter([("p".to_string(), p.clone())]), 0.5);
/// let loss = p.on(&Tape::train()).square()?.sum(&[], false)?;
/// optim.step(&loss.backward()?)?;
/// // The first step has the length of the learning rate, whatever the gradient.
/// assert!((p.value().item::<f32>()? - 3.5).abs() < 1e-5);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Adam {
    slots: Slots,
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

impl Adam {
    /// Adam on these parameters, with betas 0.9 and 0.999 and eps 1e-8. One that is there twice is updated once.
    pub fn new(parameters: Parameters, lr: f64) -> Adam {
        Adam {
            slots: Slots::new("Adam", parameters, &["exp_avg", "exp_avg_sq"]),
            lr,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// How much of the running mean of gradients, and of their squares, is kept at each step.
    #[must_use]
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Adam {
        self.betas = [beta1, beta2];
        self
    }

    /// Keeps the division from going to infinity.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Adam {
        self.eps = eps;
        self
    }

    /// How strongly parameters are drawn to 0, by way of the gradient (L2); 0 unless called.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Adam {
        self.weight_decay = weight_decay;
        self
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Changes the learning rate, from the next step on.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// Changes every parameter that is not frozen by one step, in place. Nothing waits for the GPU.
    ///
    /// # Errors
    /// [`Error::NoGradient`] with the name of a parameter that got none, [`Error::Argument`] for a setting out of its range.
    /// Nothing is changed then.
    pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
        self.check()?;
        let Adam { lr, betas, eps, weight_decay, .. } = *self;
        self.slots.step(gradients, 2, |steps, group| {
            let step = AdamStep { lr, betas, eps, weight_decay, step: steps + 1 };
            Ok(adam_step(&group.updates(), [&group.states[0], &group.states[1]], &step)?)
        })
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay)] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::argument("Adam", format!("{name} = {value}; pass a finite number of at least 0")));
            }
        }
        for (name, value) in [("beta1", self.betas[0]), ("beta2", self.betas[1])] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::argument("Adam", format!("{name} = {value}; pass a number from 0 to below 1")));
            }
        }
        Ok(())
    }
}

optimizer!(Adam);
