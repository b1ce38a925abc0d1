//! RMSprop.

use kiln_autograd::Gradients;
use kiln_tensor::Tensor;
use kiln_tensor::ops::optim::{RmspropStep, rmsprop_step};

use crate::error::Result;
use crate::module::Parameters;
use crate::optim::slots::Slots;
use crate::optim::{check_settings, optimizer};

/// RMSprop (Hinton 2012, lecture 6 of "Neural Networks for Machine Learning"), as PyTorch computes it:
///
/// - `g = gradient + weight_decay p`
/// - `s = alpha s + (1 - alpha) g^2`, from 0
/// - `d = g / (sqrt(s) + eps)`; centered, `d = g / (sqrt(s - a^2) + eps)` with `a = alpha a + (1 - alpha) g`
/// - with momentum `b = momentum b + d`, else `b = d`; then `p = p - lr b`
///
/// All parameters are updated by a few launches.
#[derive(Debug)]
pub struct RMSprop {
    slots: Slots,
    lr: f64,
    alpha: f64,
    eps: f64,
    weight_decay: f64,
    momentum: f64,
    centered: bool,
}

impl RMSprop {
    /// On these parameters, with PyTorch's settings: alpha 0.99, eps 1e-8. One that is there twice is updated once.
    pub fn new(parameters: Parameters, lr: f64) -> RMSprop {
        RMSprop {
            slots: Slots::new("RMSprop", parameters, &["square_avg"]),
            lr,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
        }
    }

    /// How much of the running means is kept at each step; 0.99 unless called.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> RMSprop {
        self.alpha = alpha;
        self
    }

    /// Keeps the division from going to infinity.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> RMSprop {
        self.eps = eps;
        self
    }

    /// How strongly parameters are drawn to 0, by way of the gradient (L2); 0 unless called.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> RMSprop {
        self.weight_decay = weight_decay;
        self
    }

    /// How much of the last step's direction is kept; 0 unless called.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> RMSprop {
        self.momentum = momentum;
        self.keeping()
    }

    /// Whether squares are taken about the mean (Graves 2013); false unless called.
    #[must_use]
    pub fn centered(mut self, centered: bool) -> RMSprop {
        self.centered = centered;
        self.keeping()
    }

    /// Keeps the state that the settings ask for.
    fn keeping(mut self) -> RMSprop {
        self.slots.keep(match (self.centered, self.momentum != 0.0) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "grad_avg"],
            (false, true) => &["square_avg", "momentum_buffer"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        });
        self
    }

    fn settings(&self) -> String {
        let RMSprop { alpha, eps, weight_decay, momentum, centered, .. } = self;
        format!(
            "RMSprop(alpha={alpha}, eps={eps}, weight_decay={weight_decay}, momentum={momentum}, centered={centered})"
        )
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
    /// [`Error::NoGradient`](crate::Error::NoGradient) with the name of a parameter that got none,
    /// [`Error::Argument`](crate::Error::Argument) for a setting out of its range. Nothing is changed then.
    pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
        let RMSprop { lr, alpha, eps, weight_decay, momentum, centered, .. } = *self;
        let settings = [("lr", lr), ("eps", eps), ("weight_decay", weight_decay), ("momentum", momentum)];
        check_settings("RMSprop", &settings, &[("alpha", alpha)])?;
        let states = 1 + usize::from(centered) + usize::from(momentum != 0.0);
        self.slots.step(gradients, states, |steps, group| {
            let step = RmspropStep { lr, alpha, eps, weight_decay, momentum, centered, first: steps == 0 };
            Ok(rmsprop_step(&group.updates(), &group.states.iter().collect::<Vec<&Tensor>>(), &step)?)
        })
    }
}

optimizer!(RMSprop);
