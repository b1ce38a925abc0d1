//! Interpolation.

use kiln_tensor::ops::interpolate::{InterpolateMode, InterpolateSize, interpolate_grad};

use crate::error::Result;
use crate::var::Var;

impl Var {
    /// The image in another size: [`Tensor::interpolate`](kiln_tensor::Tensor::interpolate). Each `dy` goes to the pixels that the
    /// result was made of, by their parts.
    ///
    /// # Errors
    /// As [`Tensor::interpolate`](kiln_tensor::Tensor::interpolate).
    pub fn interpolate(&self, size: InterpolateSize, mode: InterpolateMode) -> Result<Var> {
        let y = self.tensor().interpolate(size, mode)?;
        let shape = *self.shape();
        let op = match mode {
            InterpolateMode::Nearest => "upsample_nearest2d",
            InterpolateMode::Bilinear { .. } => "upsample_bilinear2d",
        };
        self.record_unary(op, y, move |dy| Ok(interpolate_grad(dy, shape, size, mode)?))
    }
}
