//! Losses of each element by itself.

use kiln_tensor::Tensor;
use kiln_tensor::ops::elementwise_loss::{
    BceOptions, Distance, bce_with_logits_grad, distance_loss, distance_loss_grad,
};
use kiln_tensor::ops::loss::Reduction;

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The squared error of each element, reduced: [`Tensor::mse_loss`]. `dx = 2 (x - target) dy`, over `n` for a mean, and
    /// the target gets the negative.
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn mse_loss(&self, target: &Var, reduction: Reduction) -> Result<Var> {
        self.distance("mse_loss", target, Distance::Squared, reduction)
    }

    /// The absolute error of each element, reduced: [`Tensor::l1_loss`]. `dx = sign(x - target) dy`, over `n` for a mean,
    /// and the target gets the negative.
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn l1_loss(&self, target: &Var, reduction: Reduction) -> Result<Var> {
        self.distance("l1_loss", target, Distance::Absolute, reduction)
    }

    /// The error of each element, squared below `beta` and absolute above, reduced: [`Tensor::smooth_l1_loss`].
    /// `dx = dy (x - target) / beta`, at most `dy` in size, over `n` for a mean; the target gets the negative.
    ///
    /// # Errors
    /// As [`Tensor::smooth_l1_loss`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn smooth_l1_loss(&self, target: &Var, reduction: Reduction, beta: f64) -> Result<Var> {
        self.distance("smooth_l1_loss", target, Distance::Smooth { beta }, reduction)
    }

    /// The error of each element, squared up to `delta` and absolute above, reduced: [`Tensor::huber_loss`].
    /// `dx = dy (x - target)`, at most `delta dy` in size, over `n` for a mean; the target gets the negative.
    ///
    /// # Errors
    /// As [`Tensor::huber_loss`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn huber_loss(&self, target: &Var, reduction: Reduction, delta: f64) -> Result<Var> {
        self.distance("huber_loss", target, Distance::Huber { delta }, reduction)
    }

    fn distance(&self, op: &'static str, target: &Var, distance: Distance, reduction: Reduction) -> Result<Var> {
        let loss = distance_loss(self.tensor(), target.tensor(), distance, reduction)?;
        let (x, t) = (Saved::new(self.tensor()), Saved::new(target.tensor()));
        let (x_again, t_again) = (x.clone(), t.clone());
        self.record_binary(
            op,
            target,
            loss,
            move |dy| Ok(distance_loss_grad(x.get()?, t.get()?, dy, distance, reduction)?),
            // Distances are the same both ways.
            move |dy| Ok(distance_loss_grad(t_again.get()?, x_again.get()?, dy, distance, reduction)?),
        )
    }

    /// The binary cross-entropy of logits and probabilities: [`Tensor::binary_cross_entropy_with_logits`].
    /// `dx = dy (sigmoid(x) - target)` without weights, over `n` for a mean. The target is a constant.
    ///
    /// # Errors
    /// As [`Tensor::binary_cross_entropy_with_logits`].
    pub fn binary_cross_entropy_with_logits(&self, target: &Tensor, options: &BceOptions) -> Result<Var> {
        let loss = self.tensor().binary_cross_entropy_with_logits(target, options)?;
        let (x, target, options) = (Saved::new(self.tensor()), Saved::new(target), options.clone());
        self.record_unary("binary_cross_entropy_with_logits", loss, move |dy| {
            Ok(bce_with_logits_grad(x.get()?, target.get()?, dy, &options)?)
        })
    }
}
