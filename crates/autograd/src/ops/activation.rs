//! Activations beyond ReLU.

use kiln_tensor::ops::activation::{GeluApproximate, gelu_grad, leaky_relu_grad, prelu_grad, silu_grad};

use crate::error::Result;
use crate::saved::Saved;
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// `y` is `x` where `x > 0`, else `negative_slope x`; `dx` is `dy`, or `negative_slope dy`.
    ///
    /// # Errors
    /// As [`Tensor::leaky_relu`](kiln_tensor::Tensor::leaky_relu).
    pub fn leaky_relu(&self, negative_slope: f64) -> Result<Var> {
        let y = self.tensor().leaky_relu(negative_slope)?;
        let x = Saved::new(self.tensor());
        self.record_unary("leaky_relu", y, move |dy| Ok(leaky_relu_grad(x.get()?, dy, negative_slope)?))
    }

    /// `y` is `x` where `x > 0`, else `weight x`; `dx` is `dy`, or `weight dy`; `dweight` sums `x dy` where `x <= 0`.
    ///
    /// # Errors
    /// As [`Tensor::prelu`](kiln_tensor::Tensor::prelu); [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn prelu(&self, weight: &Var) -> Result<Var> {
        let y = self.tensor().prelu(weight.tensor())?;
        let (x, saved) = (Saved::new(self.tensor()), Saved::new(weight.tensor()));
        self.tape().record("prelu", &[self, weight], y, move |dy, _| {
            Ok(prelu_grad(x.get()?, saved.get()?, dy)?.map(Gradient::Tensor).into())
        })
    }

    /// `y = x s` with `s = sigmoid(x)`; `dx = dy s (1 + x (1 - s))`.
    ///
    /// # Errors
    /// As [`Tensor::silu`](kiln_tensor::Tensor::silu).
    pub fn silu(&self) -> Result<Var> {
        let y = self.tensor().silu()?;
        let x = Saved::new(self.tensor());
        self.record_unary("silu", y, move |dy| Ok(silu_grad(x.get()?, dy)?))
    }

    /// `y = x P(x)` with the share `P(x)` of normal numbers below `x`, or an approximation;
    /// `dx = dy (P(x) + x P'(x))`.
    ///
    /// # Errors
    /// As [`Tensor::gelu`](kiln_tensor::Tensor::gelu).
    pub fn gelu(&self, approximate: GeluApproximate) -> Result<Var> {
        let y = self.tensor().gelu(approximate)?;
        let x = Saved::new(self.tensor());
        self.record_unary("gelu", y, move |dy| Ok(gelu_grad(x.get()?, dy, approximate)?))
    }
}
