//! Cross-entropy with options.

use kiln_tensor::Tensor;
use kiln_tensor::ops::class_loss::{CrossEntropyOptions, class_loss, class_loss_grad};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The cross-entropy with class weights, ignored targets and label smoothing: [`Tensor::cross_entropy_with`].
    /// `dx_k = dy (softmax(x)_k sum_j c_j - c_k)` with the coefficient `c_k` of `-ln softmax(x)_k` in the loss. The target is
    /// a constant, also where it is probabilities.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`].
    pub fn cross_entropy_with(&self, targets: &Tensor, options: &CrossEntropyOptions) -> Result<Var> {
        let found = class_loss(self.tensor(), targets, options)?;
        let (x, targets, options) = (Saved::new(self.tensor()), Saved::new(targets), options.clone());
        self.record_unary("cross_entropy_with", found.loss.clone(), move |dy| {
            Ok(class_loss_grad(x.get()?, targets.get()?, &found, dy, &options)?)
        })
    }
}
