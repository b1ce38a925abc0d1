//! Stochastic gradient descent.

use kiln_autograd::Gradients;
use kiln_tensor::ops::optim::{SgdStep, sgd_step};

use crate::error::{Error, Result};
use crate::module::Parameters;
use crate::optim::optimizer;
use crate::optim::slots::Slots;

/// Stochastic gradient descent with momentum, Nesterov's too (Sutskever et al. 2013, "On the importance of initialization and
/// momentum in deep learning"), as PyTorch computes it:
///
/// - `g = gradient + weight_decay p`
/// - with momentum, `b = g` at a parameter's first step and `b = momentum b + (1 - dampening) g` later; then `g = b`, or
///   `g = g + momentum b` with Nesterov's
/// - `p = p - lr g`
///
/// All parameters are updated by a few launches.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape; use kiln_nn::{Parameter, Parameters, Sgd};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let p = Parameter::new(Tensor::full(&device, [1], 4.0, DType::F32)?);
/// let parameters = Parameters::from_iter([("p".to_string(), p.clone())]);
/// let mut optim = Sgd::new(parameters, 0.25).momentum(0.5);
/// for expected in [2.0f32, 0.0, -1.0] {
///     let loss = p.on(&Tape::train()).square()?.sum(..)?; // gradient 2 p
///     optim.step(&loss.backward()?)?;
///     assert_eq!(p.value().item::<f32>()?, expected);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sgd {
    slots: Slots,
    lr: f64,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    weight_decay: f64,
}

impl Sgd {
    /// Plain gradient descent on these parameters. One that is there twice is updated once.
    pub fn new(parameters: Parameters, lr: f64) -> Sgd {
        Sgd {
            slots: Slots::new("Sgd", parameters, &["momentum_buffer"]),
            lr,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }
    }

    /// How much of the last step's direction is kept; 0 unless called.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// How much of the new gradient is left out of the momentum; 0 unless called.
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Sgd {
        self.dampening = dampening;
        self
    }

    /// Whether the step looks ahead by Nesterov's rule. Needs momentum and no dampening.
    #[must_use]
    pub fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.nesterov = nesterov;
        self
    }

    /// How strongly parameters are drawn to 0 (L2); 0 unless called.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    fn settings(&self) -> String {
        let Sgd { momentum, dampening, nesterov, weight_decay, .. } = self;
        format!("Sgd(momentum={momentum}, dampening={dampening}, nesterov={nesterov}, weight_decay={weight_decay})")
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
        let Sgd { lr, momentum, dampening, nesterov, weight_decay, .. } = *self;
        let states = usize::from(momentum != 0.0);
        self.slots.step(gradients, states, |steps, group| {
            let step = SgdStep { lr, momentum, dampening, nesterov, weight_decay, first: steps == 0 };
            Ok(sgd_step(&group.updates(), group.states.first(), &step)?)
        })
    }

    fn check(&self) -> Result<()> {
        let settings = [
            ("lr", self.lr),
            ("momentum", self.momentum),
            ("dampening", self.dampening),
            ("weight_decay", self.weight_decay),
        ];
        for (name, value) in settings {
            if !value.is_finite() || (value < 0.0 && name != "dampening") {
                return Err(Error::argument("Sgd", format!("{name} = {value}; pass a finite number of at least 0")));
            }
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::argument(
                "Sgd",
                format!(
                    "nesterov with momentum = {} and dampening = {}; it needs a momentum above 0 and no dampening",
                    self.momentum, self.dampening
                ),
            ));
        }
        Ok(())
    }
}

optimizer!(Sgd);
