//! Softmax and its logarithm.

use kiln_tensor::Axis;
use kiln_tensor::ops::softmax::{log_softmax_grad, softmax_grad};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// `y_i = e^x_i / sum_j e^x_j` along one axis: [`Tensor::softmax`](kiln_tensor::Tensor::softmax).
    /// `dx_i = y_i (dy_i - sum_j dy_j y_j)`.
    ///
    /// # Errors
    /// As [`Tensor::softmax`](kiln_tensor::Tensor::softmax).
    pub fn softmax(&self, dim: impl Into<Axis>) -> Result<Var> {
        let dim = dim.into().of("softmax", self.shape())?;
        let y = self.tensor().softmax(dim)?;
        let saved = Saved::new(&y);
        self.record_unary("softmax", y, move |dy| Ok(softmax_grad(saved.get()?, dy, dim)?))
    }

    /// `y_i = x_i - ln sum_j e^x_j` along one axis: [`Tensor::log_softmax`](kiln_tensor::Tensor::log_softmax).
    /// `dx_i = dy_i - e^y_i sum_j dy_j`.
    ///
    /// # Errors
    /// As [`Tensor::log_softmax`](kiln_tensor::Tensor::log_softmax).
    pub fn log_softmax(&self, dim: impl Into<Axis>) -> Result<Var> {
        let dim = dim.into().of("log_softmax", self.shape())?;
        let y = self.tensor().log_softmax(dim)?;
        let saved = Saved::new(&y);
        self.record_unary("log_softmax", y, move |dy| Ok(log_softmax_grad(saved.get()?, dy, dim)?))
    }
}
