//! Convolution.

use kiln_tensor::Tensor;
use kiln_tensor::ops::conv::{
    Conv2dOptions, conv2d_input_grad, conv2d_relu, conv2d_weight_bias_grad, conv2d_weight_grad,
};
use kiln_tensor::ops::pointwise::gradient::relu_grad;

use crate::error::Result;
use crate::saved::Saved;
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// Two-dimensional convolution: [`Tensor::conv2d`](kiln_tensor::Tensor::conv2d), whose documentation has the
    /// formula and the shapes.
    ///
    /// `dx` is the convolution of `dy` with the weight turned around ([`conv2d_input_grad`]), `dw` that of the input
    /// with `dy` ([`conv2d_weight_grad`]), `db` the sum of `dy` over everything but the channels. Each is computed only
    /// where it is wanted: the first layer of a network has no `dx`.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{DType, Device, Tensor, ops::conv::Conv2dOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let images = tape.constant(Tensor::ones(&device, [2, 3, 8, 8], DType::F32)?);
    /// let weight = tape.leaf(Tensor::ones(&device, [4, 3, 3, 3], DType::F32)?);
    /// let y = images.conv2d(&weight, None, &Conv2dOptions { padding: [1, 1], ..Default::default() })?;
    /// assert_eq!(y.dims::<4>()?, [2, 4, 8, 8]);
    /// let gradients = y.sum(&[], false)?.backward()?;
    /// assert_eq!(gradients.get(&weight).map(|dw| dw.shape().to_vec()), Some(vec![4, 3, 3, 3]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::conv2d`](kiln_tensor::Tensor::conv2d); [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn conv2d(&self, weight: &Var, bias: Option<&Var>, options: &Conv2dOptions) -> Result<Var> {
        let y = self.tensor().conv2d(weight.tensor(), bias.map(Var::tensor), options)?;
        self.record_conv2d("conv2d", weight, bias, options, y, None)
    }

    /// ReLU of [`Var::conv2d`], in the launches of the convolution:
    /// [`conv2d_relu`]. `dy` counts where the result is above 0.
    ///
    /// # Errors
    /// As [`Var::conv2d`].
    pub fn conv2d_relu(&self, weight: &Var, bias: Option<&Var>, options: &Conv2dOptions) -> Result<Var> {
        let y = conv2d_relu(self.tensor(), weight.tensor(), bias.map(Var::tensor), options)?;
        let saved = Saved::new(&y);
        self.record_conv2d("conv2d_relu", weight, bias, options, y, Some(saved))
    }

    /// Records a convolution, followed by a ReLU whose result was saved if there was one.
    fn record_conv2d(
        &self,
        op: &'static str,
        weight: &Var,
        bias: Option<&Var>,
        options: &Conv2dOptions,
        y: Tensor,
        rectified: Option<Saved>,
    ) -> Result<Var> {
        let (input_shape, weight_shape, options) = (*self.shape(), *weight.shape(), *options);
        let (x, w) = self.saved_crosswise(weight);
        let mut inputs = vec![self, weight];
        inputs.extend(bias);
        self.tape().record(op, &inputs, y, move |dy, wants| {
            let dy = &rectify_grad(rectified, dy)?;
            let dx = Gradient::when(wants[0], || Ok(conv2d_input_grad(dy, w.get()?, input_shape, &options)?))?;
            let mut gradients = vec![dx];
            match wants.get(2) {
                Some(true) if wants[1] => {
                    let (dw, db) = conv2d_weight_bias_grad(x.get()?, dy, weight_shape, &options)?;
                    gradients.extend([dw, db].map(Gradient::Tensor));
                }
                db => {
                    let dw = || Ok(conv2d_weight_grad(x.get()?, dy, weight_shape, &options)?);
                    gradients.push(Gradient::when(wants[1], dw)?);
                    if let Some(&wanted) = db {
                        gradients.push(Gradient::when(wanted, || Ok(dy.sum(&[0, 2, 3], false)?))?);
                    }
                }
            }
            Ok(gradients)
        })
    }
}

/// The gradient before a ReLU whose result was saved; `dy` itself where there was none.
pub(super) fn rectify_grad(rectified: Option<Saved>, dy: &Tensor) -> Result<Tensor> {
    match rectified {
        Some(y) => Ok(relu_grad(y.get()?, dy)?),
        None => Ok(dy.clone()),
    }
}
