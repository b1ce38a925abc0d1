//! Operations that draw random numbers, from the tape's stream.

use crate::error::{Error, Result};
use crate::var::Var;

impl Var {
    /// Dropout: on a tape for training, each element is 0 with probability `p`, and `x / (1 - p)` otherwise, so that
    /// the expected value stays `x`. On one for evaluation, `x` itself. (Srivastava et al., "Dropout: a simple way to
    /// prevent neural networks from overfitting", 2014.)
    ///
    /// `dx` is the same selection and factor on `dy`. No mask is saved: it is drawn again, from the same
    /// [`Random`](kiln_tensor::Random) numbers.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{DType, Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ones = Tensor::ones(&Device::open_default()?, [1000], DType::F32)?;
    /// let kept = Tape::train_seeded(1).constant(ones.clone()).dropout(0.5)?;
    /// assert!(kept.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y == 2.0));
    /// let all = Tape::eval().constant(ones).dropout(0.5)?;
    /// assert!(all.to_vec::<f32>()?.iter().all(|&y| y == 1.0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where `p` is not from 0 to 1; as [`Tensor::dropout`](kiln_tensor::Tensor::dropout).
    pub fn dropout(&self, p: f64) -> Result<Var> {
        if !(0.0..=1.0).contains(&p) {
            let message = format!("p {p}; needs a probability from 0 to 1");
            return Err(Error::Argument { op: "dropout", message });
        }
        if !self.tape().is_training() || p == 0.0 {
            return Ok(self.clone());
        }
        let random = self.tape().next_random();
        let y = self.tensor().dropout(p, random)?;
        self.record_unary("dropout", y, move |dy| Ok(dy.dropout(p, random)?))
    }

    /// As [`Var::dropout`], of whole channels: [`Tensor::dropout2d`](kiln_tensor::Tensor::dropout2d). `dx` is the same
    /// selection and factor on `dy`.
    ///
    /// # Errors
    /// As [`Tensor::dropout2d`](kiln_tensor::Tensor::dropout2d).
    pub fn dropout2d(&self, p: f64) -> Result<Var> {
        if !self.tape().is_training() || p == 0.0 {
            return Ok(self.clone());
        }
        let random = self.tape().next_random();
        let y = self.tensor().dropout2d(p, random)?;
        self.record_unary("dropout2d", y, move |dy| Ok(dy.dropout2d(p, random)?))
    }
}
