//! Adam and AdamW.

use kiln_autograd::Gradients;
use kiln_tensor::ops::optim::{AdamStep, adam_step};

use crate::error::Result;
use crate::module::Parameters;
use crate::optim::slots::Slots;
use crate::optim::{check_settings, optimizer};

macro_rules! adam {
    ($(#[$doc:meta])* $layer:ident, decoupled: $decoupled:literal, weight_decay: $decay:literal, $decay_doc:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $layer {
            slots: Slots,
            lr: f64,
            betas: [f64; 2],
            eps: f64,
            weight_decay: f64,
        }

        impl $layer {
            /// On these parameters, with PyTorch's settings: betas 0.9 and 0.999, eps 1e-8. One parameter that is there twice is
            /// updated once.
            pub fn new(parameters: Parameters, lr: f64) -> $layer {
                $layer {
                    slots: Slots::new(stringify!($layer), parameters, &["exp_avg", "exp_avg_sq"]),
                    lr,
                    betas: [0.9, 0.999],
                    eps: 1e-8,
                    weight_decay: $decay,
                }
            }

            /// How much of the running mean of gradients, and of their squares, is kept at each step.
            #[must_use]
            pub fn betas(mut self, beta1: f64, beta2: f64) -> $layer {
                self.betas = [beta1, beta2];
                self
            }

            /// Keeps the division from going to infinity.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> $layer {
                self.eps = eps;
                self
            }

            #[doc = $decay_doc]
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> $layer {
                self.weight_decay = weight_decay;
                self
            }

            fn settings(&self) -> String {
                let $layer { betas, eps, weight_decay, .. } = self;
                format!("{}(betas={betas:?}, eps={eps}, weight_decay={weight_decay})", stringify!($layer))
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
            /// [`Error::NoGradient`](crate::Error::NoGradient) with the name of a parameter that got none, [`Error::Argument`](crate::Error::Argument) for a setting out of its
            /// range. Nothing is changed then.
            pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
                self.check()?;
                let $layer { lr, betas, eps, weight_decay, .. } = *self;
                self.slots.step(gradients, 2, |steps, group| {
                    let step = AdamStep { lr, betas, eps, weight_decay, decoupled: $decoupled, step: steps + 1 };
                    Ok(adam_step(&group.updates(), [&group.states[0], &group.states[1]], &step)?)
                })
            }

            fn check(&self) -> Result<()> {
                check_settings(
                    stringify!($layer),
                    &[("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay)],
                    &[("beta1", self.betas[0]), ("beta2", self.betas[1])],
                )
            }
        }

        optimizer!($layer);
    };
}

adam! {
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
    /// # let device = Device::open_default()?;
    /// let p = Parameter::new(Tensor::full(&device, [1], 4.0, DType::F32)?);
    /// let mut optim = Adam::new(Parameters::from_iter([("p".to_string(), p.clone())]), 0.5);
    /// let loss = p.on(&Tape::train()).square()?.sum(..)?;
    /// optim.step(&loss.backward()?)?;
    /// // The first step has the length of the learning rate, whatever the gradient.
    /// assert!((p.value().item::<f32>()? - 3.5).abs() < 1e-5);
    /// # Ok(()) }
    /// ```
    Adam, decoupled: false, weight_decay: 0.0,
    "How strongly parameters are drawn to 0, by way of the gradient (L2); 0 unless called."
}

adam! {
    /// Adam with weights that decay by themselves (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"), as PyTorch
    /// computes it: first `p = p - lr weight_decay p`, then the step of [`Adam`] by the gradient alone.
    AdamW, decoupled: true, weight_decay: 0.01,
    "How strongly parameters are drawn to 0, as a part of them and of the learning rate; 0.01 unless called."
}
