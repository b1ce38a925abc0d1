//! Transposed convolution.

use kiln_tensor::ops::conv::conv2d_weight_grad;
use kiln_tensor::ops::conv_transpose::ConvTranspose2dOptions;

use crate::error::Result;
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// Two-dimensional transposed convolution: [`Tensor::conv_transpose2d`](kiln_tensor::Tensor::conv_transpose2d), whose
    /// documentation has the formula and the shapes.
    ///
    /// As it is a convolution's data gradient, `dx` is that convolution of `dy`, `dw` its weight gradient with `dy` for
    /// the input and `x` for the gradient, and `db` the sum of `dy` over everything but the channels.
    ///
    /// ```
    /// # use kiln_autograd::Tape;
    /// # use kiln_tensor::{DType, Device, Tensor, ops::conv_transpose::ConvTranspose2dOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let maps = tape.constant(Tensor::ones(&device, [2, 4, 8, 8], DType::F32)?);
    /// let weight = tape.leaf(Tensor::ones(&device, [4, 3, 2, 2], DType::F32)?);
    /// let y = maps.conv_transpose2d(&weight, None, ConvTranspose2dOptions::new().stride(2))?;
    /// assert_eq!(y.dims::<4>()?, [2, 3, 16, 16]);
    /// let gradients = y.sum(..)?.backward()?;
    /// assert_eq!(gradients.get(&weight).map(|dw| dw.shape().to_vec()), Some(vec![4, 3, 2, 2]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::conv_transpose2d`](kiln_tensor::Tensor::conv_transpose2d);
    /// [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn conv_transpose2d(
        &self,
        weight: &Var,
        bias: Option<&Var>,
        options: impl Into<ConvTranspose2dOptions>,
    ) -> Result<Var> {
        let options = options.into();
        let y = self.tensor().conv_transpose2d(weight.tensor(), bias.map(Var::tensor), options)?;
        let (weight_shape, options) = (*weight.shape(), options.transposed());
        let (x, w) = self.saved_crosswise(weight);
        let mut inputs = vec![self, weight];
        inputs.extend(bias);
        self.tape().record("conv_transpose2d", &inputs, y, move |dy, wants| {
            let mut gradients = vec![
                Gradient::when(wants[0], || Ok(dy.conv2d(w.get()?, None, options)?))?,
                Gradient::when(wants[1], || Ok(conv2d_weight_grad(dy, x.get()?, weight_shape, &options)?))?,
            ];
            if let Some(&wanted) = wants.get(2) {
                gradients.push(Gradient::when(wanted, || Ok(dy.sum([0, 2, 3])?))?);
            }
            Ok(gradients)
        })
    }
}
