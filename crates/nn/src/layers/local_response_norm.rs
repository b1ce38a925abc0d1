//! Local response normalisation.

use kiln_autograd::Var;
use kiln_tensor::ops::local_response_norm::LocalResponseNormOptions;

use crate::error::Result;
use crate::layers::parameterless;
use crate::module::{Module, Visitor};

/// `y_c = x_c / (k + alpha / size sum x_j^2)^beta`, over a window of `size` channels around `c` (Krizhevsky et al. 2012,
/// "ImageNet Classification with Deep Convolutional Neural Networks"). PyTorch's numbers unless told: alpha 1e-4, beta 0.75,
/// k 1. Settings out of their range are told by the first forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResponseNorm {
    options: LocalResponseNormOptions,
}

impl LocalResponseNorm {
    /// Windows of `size` channels.
    pub fn new(size: usize) -> LocalResponseNorm {
        LocalResponseNorm { options: LocalResponseNormOptions::new(size) }
    }

    /// The factor on the mean of squares.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> LocalResponseNorm {
        self.options.alpha = alpha;
        self
    }

    /// The exponent.
    #[must_use]
    pub fn beta(mut self, beta: f64) -> LocalResponseNorm {
        self.options.beta = beta;
        self
    }

    /// What is added to the mean of squares.
    #[must_use]
    pub fn k(mut self, k: f64) -> LocalResponseNorm {
        self.options.k = k;
        self
    }
}

impl Module for LocalResponseNorm {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.local_response_norm(self.options)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(LocalResponseNorm);
