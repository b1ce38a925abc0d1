//! Adaptive pooling.

use kiln_tensor::Size2;
use kiln_tensor::ops::adaptive_pool::{adaptive_avg_pool2d_grad, adaptive_max_pool2d, adaptive_max_pool2d_grad};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The largest value of each of `output_size` windows:
    /// [`Tensor::adaptive_max_pool2d`](kiln_tensor::Tensor::adaptive_max_pool2d). Each `dy` goes to where the largest was;
    /// saved are those places.
    ///
    /// # Errors
    /// As [`Tensor::adaptive_max_pool2d`](kiln_tensor::Tensor::adaptive_max_pool2d).
    pub fn adaptive_max_pool2d(&self, output_size: impl Into<Size2>) -> Result<Var> {
        let pooled = adaptive_max_pool2d(self.tensor(), output_size.into().0)?;
        let (shape, indices) = (*self.shape(), Saved::new(&pooled.indices));
        self.record_unary("adaptive_max_pool2d", pooled.values, move |dy| {
            Ok(adaptive_max_pool2d_grad(dy, indices.get()?, shape)?)
        })
    }

    /// The mean of each of `output_size` windows:
    /// [`Tensor::adaptive_avg_pool2d`](kiln_tensor::Tensor::adaptive_avg_pool2d). Each `dy` over its window's size goes to
    /// every element of the window.
    ///
    /// # Errors
    /// As [`Tensor::adaptive_avg_pool2d`](kiln_tensor::Tensor::adaptive_avg_pool2d).
    pub fn adaptive_avg_pool2d(&self, output_size: impl Into<Size2>) -> Result<Var> {
        let y = self.tensor().adaptive_avg_pool2d(output_size)?;
        let shape = *self.shape();
        self.record_unary("adaptive_avg_pool2d", y, move |dy| Ok(adaptive_avg_pool2d_grad(dy, shape)?))
    }
}
