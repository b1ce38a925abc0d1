//! Dropout.

use kiln_autograd::Var;

use crate::error::{Error, Result};
use crate::layers::parameterless;
use crate::module::{Module, Visitor};

/// In training, each element is 0 with probability `p` and `x / (1 - p)` otherwise; in evaluation `y = x` (Srivastava et al. 2014,
/// "Dropout"). The tape knows which of the two it is, and owns the random numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    p: f64,
}

impl Dropout {
    /// Drops each element with probability `p`.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `0 <= p <= 1`.
    pub fn new(p: f64) -> Result<Dropout> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument("Dropout", format!("p = {p}; pass a probability from 0 to 1")));
        }
        Ok(Dropout { p })
    }

    /// The probability.
    pub fn p(&self) -> f64 {
        self.p
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.dropout(self.p)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

parameterless!(Dropout);
