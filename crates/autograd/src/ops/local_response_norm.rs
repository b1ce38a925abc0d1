//! Local response normalisation.

use kiln_tensor::ops::local_response_norm::{
    LocalResponseNorm, LocalResponseNormOptions, local_response_norm, local_response_norm_grad,
};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// Each element over a power of the squares around it:
    /// [`Tensor::local_response_norm`](kiln_tensor::Tensor::local_response_norm).
    /// `dx = dy scale^-beta - 2 alpha / size beta x sum(dy y / scale)`; saved are `x`, `y` and the scale.
    ///
    /// # Errors
    /// As [`Tensor::local_response_norm`](kiln_tensor::Tensor::local_response_norm).
    pub fn local_response_norm(&self, options: impl Into<LocalResponseNormOptions>) -> Result<Var> {
        let options = options.into();
        let found = local_response_norm(self.tensor(), &options)?;
        let (x, y, scale) = (Saved::new(self.tensor()), Saved::new(&found.y), Saved::new(&found.scale));
        self.record_unary("local_response_norm", found.y, move |dy| {
            let found = LocalResponseNorm { y: y.get()?.clone(), scale: scale.get()?.clone() };
            Ok(local_response_norm_grad(x.get()?, &found, dy, &options)?)
        })
    }
}
