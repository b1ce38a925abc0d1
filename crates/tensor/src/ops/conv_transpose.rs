//! Transposed convolution: the data gradient of a convolution, as an operation of its own.

use super::conv::{Conv2dOptions, check_operands, conv2d_input_grad};
use crate::axis::Size2;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The options of [`Tensor::conv_transpose2d`], `[vertical, horizontal]`. As PyTorch's `conv_transpose2d`, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvTranspose2dOptions {
    /// Distance in the result from one input pixel's window to the next one's.
    pub stride: [usize; 2],
    /// What is cut from the result, on each side.
    pub padding: [usize; 2],
    /// Rows and columns that the result has more, at the bottom and on the right; less than the stride. It chooses among the sizes
    /// that a convolution makes the input's size of, and adds no zeros.
    pub output_padding: [usize; 2],
    /// Channels are cut into this many groups, each convolved on its own.
    pub groups: usize,
    /// Distance between the points of a window.
    pub dilation: [usize; 2],
}

impl Default for ConvTranspose2dOptions {
    /// Stride 1, no padding, one group, dilation 1.
    fn default() -> ConvTranspose2dOptions {
        ConvTranspose2dOptions { stride: [1; 2], padding: [0; 2], output_padding: [0; 2], groups: 1, dilation: [1; 2] }
    }
}

impl ConvTranspose2dOptions {
    /// Stride 1, no padding, one group, dilation 1.
    pub fn new() -> ConvTranspose2dOptions {
        ConvTranspose2dOptions::default()
    }

    /// The convolution whose data gradient it is. Its input is the transposed convolution's result.
    pub fn transposed(&self) -> Conv2dOptions {
        let ConvTranspose2dOptions { stride, padding, groups, dilation, .. } = *self;
        Conv2dOptions { stride, padding, dilation, groups }
    }

    /// Distance in the result from one input pixel's window to the next one's.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> ConvTranspose2dOptions {
        self.stride = stride.into().0;
        self
    }

    /// What is cut from the result, on each side.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> ConvTranspose2dOptions {
        self.padding = padding.into().0;
        self
    }

    /// Rows and columns that the result has more, at the bottom and on the right.
    #[must_use]
    pub fn output_padding(mut self, output_padding: impl Into<Size2>) -> ConvTranspose2dOptions {
        self.output_padding = output_padding.into().0;
        self
    }

    /// Distance between the points of a window.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> ConvTranspose2dOptions {
        self.dilation = dilation.into().0;
        self
    }

    /// The groups that the channels are cut into.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> ConvTranspose2dOptions {
        self.groups = groups;
        self
    }
}

/// Options by reference, as a layer keeps them.
impl From<&ConvTranspose2dOptions> for ConvTranspose2dOptions {
    fn from(options: &ConvTranspose2dOptions) -> ConvTranspose2dOptions {
        *options
    }
}

/// The shape of the result, where everything fits.
fn output_shape(op: &'static str, input: &Shape, weight: &Shape, options: &ConvTranspose2dOptions) -> Result<Shape> {
    let ConvTranspose2dOptions { stride, padding, output_padding, groups, dilation } = *options;
    let (Ok([n, channels, h, w]), Ok([in_channels, out_channels, r, s])) =
        (<[usize; 4]>::try_from(input.dims()), <[usize; 4]>::try_from(weight.dims()))
    else {
        return Err(Error::shape(
            op,
            format!(
                "input has shape {input}, weight {weight}; needs [batch, channels, height, width] and [channels, out_channels / \
                 groups, kernel height, kernel width]"
            ),
        ));
    };
    if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
        return Err(Error::argument(
            op,
            format!("stride {stride:?}, dilation {dilation:?}, groups {groups}; each must be at least 1"),
        ));
    }
    if (0..2).any(|axis| output_padding[axis] >= stride[axis]) {
        return Err(Error::argument(
            op,
            format!("output_padding {output_padding:?} with stride {stride:?}; needs less than the stride"),
        ));
    }
    if channels != in_channels || channels % groups != 0 || out_channels == 0 || channels == 0 {
        return Err(Error::shape(
            op,
            format!(
                "input has {channels} channels, weight {weight} with groups = {groups}; needs as many channels as the weight has \
                 first, a multiple of groups above 0, and at least one output channel"
            ),
        ));
    }
    // (size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1
    let along = |axis: usize, size: usize, kernel: usize| {
        let steps = size.checked_sub(1)?.checked_mul(stride[axis])?;
        let reach = dilation[axis].checked_mul(kernel.checked_sub(1)?)?.checked_add(output_padding[axis] + 1)?;
        steps.checked_add(reach)?.checked_sub(padding[axis].checked_mul(2)?).filter(|&size| size > 0)
    };
    let (Some(oh), Some(ow)) = (along(0, h, r), along(1, w, s)) else {
        return Err(Error::shape(
            op,
            format!(
                "an image of {h}x{w} and a kernel of {r}x{s} with stride {stride:?}, padding {padding:?} and dilation \
                 {dilation:?} leave no result; pass a larger image or less padding"
            ),
        ));
    };
    let shape = Shape::from([n, out_channels * groups, oh, ow]);
    shape.checked_numel(op)?;
    Ok(shape)
}

impl Tensor {
    /// Two-dimensional transposed convolution, which is the gradient of [`Tensor::conv2d`] to its input: every input pixel adds the
    /// kernel, times its value, to a window of the result.
    ///
    /// `y[n, k, i, j] = bias[k] + sum over c, r, s, y', x' of x[n, c, y', x'] weight[c, k, r, s]` where
    /// `y' stride - padding + r dilation = i`, and the same for `j`,
    /// with `x` `[batch, channels, height, width]`, `weight` `[channels, out_channels / groups, kernel height, kernel width]`, `bias`
    /// `[out_channels]` and a result of height `(height - 1) stride - 2 padding + dilation (kernel height - 1) + output_padding + 1`.
    /// `f32` or `f16`; sums are in `f32`, and the bias is added to their stored value.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::conv_transpose::ConvTranspose2dOptions};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::from_slice(&device, [1, 1, 1, 2], &[1.0f32, 10.0])?;
    /// let weight = Tensor::from_slice(&device, [1, 1, 1, 2], &[2.0f32, 3.0])?;
    /// let y = x.conv_transpose2d(&weight, None, ConvTranspose2dOptions::new().stride([1, 2]))?;
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 3.0, 20.0, 30.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where channels, groups or sizes do not fit; [`Error::Argument`] for a stride, dilation or group count of 0 and
    /// an output padding that is not below the stride; [`Error::DType`]; [`Error::Gpu`].
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: impl Into<ConvTranspose2dOptions>,
    ) -> Result<Tensor> {
        const OP: &str = "conv_transpose2d";
        let options = &options.into();
        check_operands(OP, (self, "input"), (weight, "weight"))?;
        let shape = output_shape(OP, self.shape(), weight.shape(), options)?;
        if let Some(bias) = bias {
            check_operands(OP, (self, "input"), (bias, "bias"))?;
            if bias.shape().dims() != [shape[1]] {
                return Err(Error::shape(
                    OP,
                    format!(
                        "bias has shape {}, weight {}; needs a bias of [{}], one value per output channel",
                        bias.shape(),
                        weight.shape(),
                        shape[1]
                    ),
                ));
            }
        }
        let y = conv2d_input_grad(self, weight, shape, &options.transposed())?;
        match bias {
            Some(bias) => y.add(&bias.reshape([shape[1], 1, 1])?),
            None => Ok(y),
        }
    }
}
