//! Losses, fused.

use kiln_tensor::Tensor;
use kiln_tensor::ops::loss::{cross_entropy, cross_entropy_grad};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The mean cross-entropy of logits `[batch, classes, ..]` and class indices `[batch, ..]`:
    /// [`Tensor::cross_entropy`]. `dx = dy (softmax(x) - onehot(target)) / rows`, in one launch from the logits and two
    /// numbers per row.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let logits = tape.leaf(Tensor::from_slice(&device, [1, 2], &[0.0f32, 0.0])?);
    /// let loss = logits.cross_entropy(&Tensor::from_slice(&device, [1], &[1u32])?)?;
    /// assert!((loss.item::<f32>()? - 2f32.ln()).abs() < 1e-6);
    /// let gradients = loss.backward()?;
    /// assert_eq!(gradients.get(&logits).map(|dx| dx.to_vec::<f32>()).transpose()?, Some(vec![0.5, -0.5]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy`].
    pub fn cross_entropy(&self, targets: &Tensor) -> Result<Var> {
        let found = cross_entropy(self.tensor(), targets)?;
        let (x, targets, stats) = (Saved::new(self.tensor()), Saved::new(targets), Saved::new(&found.stats));
        self.record_unary("cross_entropy", found.loss, move |dy| {
            Ok(cross_entropy_grad(x.get()?, targets.get()?, stats.get()?, dy)?)
        })
    }
}
