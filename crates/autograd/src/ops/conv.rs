//! Convolution.

use kiln_tensor::ops::conv::{
    Conv2dKept, Conv2dOptions, conv2d_grads, conv2d_input_grad, conv2d_keeping, conv2d_relu, conv2d_weight_bias_grad,
    conv2d_weight_grad,
};

use crate::error::Result;
use crate::rectifier::Rectifier;
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
    /// let y = images.conv2d(&weight, None, Conv2dOptions::new().padding(1))?;
    /// assert_eq!(y.dims::<4>()?, [2, 4, 8, 8]);
    /// let gradients = y.sum(..)?.backward()?;
    /// assert_eq!(gradients.get(&weight).map(|dw| dw.shape().to_vec()), Some(vec![4, 3, 3, 3]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::conv2d`](kiln_tensor::Tensor::conv2d); [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn conv2d(&self, weight: &Var, bias: Option<&Var>, options: impl Into<Conv2dOptions>) -> Result<Var> {
        self.convolve("conv2d", weight, bias, false, &options.into())
    }

    /// ReLU of [`Var::conv2d`], in the launches of the convolution:
    /// [`conv2d_relu`]. `dy` counts where the result is above 0.
    ///
    /// # Errors
    /// As [`Var::conv2d`].
    pub fn conv2d_relu(&self, weight: &Var, bias: Option<&Var>, options: impl Into<Conv2dOptions>) -> Result<Var> {
        self.convolve("conv2d_relu", weight, bias, true, &options.into())
    }

    fn convolve(
        &self,
        op: &'static str,
        weight: &Var,
        bias: Option<&Var>,
        relu: bool,
        options: &Conv2dOptions,
    ) -> Result<Var> {
        let (input, kernel, added) = (self.tensor(), weight.tensor(), bias.map(Var::tensor));
        // Where both gradients will be computed, transforms of the forward pass serve them.
        let both = self.wants_gradient() && weight.wants_gradient();
        let (y, kept) = match (both, relu) {
            (true, _) => conv2d_keeping(input, kernel, added, relu, options)?,
            (false, true) => (conv2d_relu(input, kernel, added, options)?, Conv2dKept::default()),
            (false, false) => (input.conv2d(kernel, added, options)?, Conv2dKept::default()),
        };
        let (input_shape, weight_shape, options) = (*self.shape(), *weight.shape(), *options);
        let (x, w) = self.saved_crosswise(weight);
        let rectifier = Rectifier::when(relu, &y);
        let before = both && self.is_rectified();
        let mut inputs = vec![self, weight];
        inputs.extend(bias);
        let ours = rectifier.clone();
        let y = self.tape().record(op, &inputs, y, move |dy, wants| {
            let dy = &Rectifier::before(ours.as_ref(), dy)?;
            let db_wanted = wants.get(2).copied();
            if both {
                let db = db_wanted == Some(true);
                let (dx, dw, db) = conv2d_grads(x.get()?, w.get()?, dy, &kept, db, before, &options)?;
                let db = db_wanted.map(|_| db.map_or(Gradient::Zero, Gradient::Tensor));
                return Ok([Gradient::Tensor(dx), Gradient::Tensor(dw)].into_iter().chain(db).collect());
            }
            let dx = Gradient::when(wants[0], || Ok(conv2d_input_grad(dy, w.get()?, input_shape, &options)?))?;
            let mut gradients = vec![dx];
            match db_wanted {
                Some(true) if wants[1] => {
                    let (dw, db) = conv2d_weight_bias_grad(x.get()?, dy, weight_shape, &options)?;
                    gradients.extend([dw, db].map(Gradient::Tensor));
                }
                db => {
                    let dw = || Ok(conv2d_weight_grad(x.get()?, dy, weight_shape, &options)?);
                    gradients.push(Gradient::when(wants[1], dw)?);
                    if let Some(wanted) = db {
                        gradients.push(Gradient::when(wanted, || Ok(dy.sum([0, 2, 3])?))?);
                    }
                }
            }
            Ok(gradients)
        })?;
        if before {
            self.passed();
        }
        Ok(y.rectified_by(rectifier))
    }
}
