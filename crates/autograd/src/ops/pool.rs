//! Pooling.

use kiln_tensor::ops::pool::{
    AvgPool2dOptions, MaxPool2dOptions, avg_pool2d_grad, max_pool2d, max_pool2d_grad, max_pool2d_relu,
    max_pool2d_relu_grad,
};

use crate::error::Result;
use crate::saved::Saved;
use crate::var::Var;

impl Var {
    /// The largest value of each window: [`Tensor::max_pool2d`](kiln_tensor::Tensor::max_pool2d). Each `dy` goes to
    /// where the largest was, the first of several; saved are those places and not `x`.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`](kiln_tensor::Tensor::max_pool2d).
    pub fn max_pool2d(&self, options: impl Into<MaxPool2dOptions>) -> Result<Var> {
        let options = options.into();
        let pooled = max_pool2d(self.tensor(), &options)?;
        let (shape, indices) = (*self.shape(), Saved::new(&pooled.indices));
        self.record_unary("max_pool2d", pooled.values, move |dy| {
            Ok(max_pool2d_grad(dy, indices.get()?, shape, &options)?)
        })
    }

    /// ReLU of max pooling, which is max pooling of ReLU, in one launch: [`max_pool2d_relu`]. Each `dy` whose result is above
    /// 0 goes to where the largest was.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`](kiln_tensor::Tensor::max_pool2d).
    pub fn max_pool2d_relu(&self, options: impl Into<MaxPool2dOptions>) -> Result<Var> {
        let options = options.into();
        let pooled = max_pool2d_relu(self.tensor(), &options)?;
        let shape = *self.shape();
        let (indices, y) = (Saved::new(&pooled.indices), Saved::new(&pooled.values));
        self.record_unary("max_pool2d_relu", pooled.values, move |dy| {
            Ok(max_pool2d_relu_grad(dy, indices.get()?, y.get()?, shape, &options)?)
        })
    }

    /// The mean of each window: [`Tensor::avg_pool2d`](kiln_tensor::Tensor::avg_pool2d). Each `dy` over its window's
    /// divisor goes to every element of the window.
    ///
    /// # Errors
    /// As [`Tensor::avg_pool2d`](kiln_tensor::Tensor::avg_pool2d).
    pub fn avg_pool2d(&self, options: impl Into<AvgPool2dOptions>) -> Result<Var> {
        let options = options.into();
        let y = self.tensor().avg_pool2d(options)?;
        let shape = *self.shape();
        self.record_unary("avg_pool2d", y, move |dy| Ok(avg_pool2d_grad(dy, shape, &options)?))
    }
}
