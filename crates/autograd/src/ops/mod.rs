//! The operations of [`Var`](crate::Var) with their derivatives, a file per family.
//!
//! In the formulas, `dy` is the gradient of the result `y`, and `dx` that of the input `x`.

mod activation;
mod adaptive_pool;
mod batch_norm;
mod class_loss;
mod compare;
mod concat;
mod conv;
mod conv_transpose;
mod elementwise_loss;
mod interpolate;
mod local_response_norm;
mod loss;
mod matmul;
mod operator;
mod pointwise;
mod pool;
mod random;
mod reduce;
mod softmax;
mod view;

use kiln_tensor::Tensor;

use crate::error::Result;
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// Records an op of one input. Its rule runs only if the gradient is wanted.
    fn record_unary(
        &self,
        op: &'static str,
        y: Tensor,
        rule: impl FnOnce(&Tensor) -> Result<Tensor> + Send + 'static,
    ) -> Result<Var> {
        self.tape().record(op, &[self], y, move |dy, _| Ok(vec![Gradient::Tensor(rule(dy)?)]))
    }

    /// Records an op of two inputs with a rule for each, of which those run whose gradient is wanted.
    fn record_binary(
        &self,
        op: &'static str,
        other: &Var,
        y: Tensor,
        rule: impl FnOnce(&Tensor) -> Result<Tensor> + Send + 'static,
        other_rule: impl FnOnce(&Tensor) -> Result<Tensor> + Send + 'static,
    ) -> Result<Var> {
        self.tape().record(op, &[self, other], y, move |dy, wants| {
            Ok(vec![Gradient::when(wants[0], || rule(dy))?, Gradient::when(wants[1], || other_rule(dy))?])
        })
    }
}
