//! Convolution by a kernel of 1x1, on processors: a dense product for each image.
//!
//! Where the pixels of an image are no multiple of 4, operands are first copied with channels innermost, which is little beside
//! the product. A stride leaves pixels out, so those that it keeps are copied, and a gradient's are put between zeros.

use kiln_gpu::Device;
use kiln_shaders::contract::Bias;
use kiln_shaders::pointwise::COPY;

use super::lanes;
use super::product::{Product, Strides};
use crate::error::Result;
use crate::ops::pointwise::pointwise_into;
use crate::plan::Direction;
use crate::tensor::Tensor;

/// A convolution with a kernel of 1x1, without padding and groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneByOne {
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) size: [usize; 2],
    pub(crate) out_size: [usize; 2],
    pub(crate) stride: [usize; 2],
}

/// A weight gradient's partial sums, one for each image, take at most these bytes.
const MOST_PARTS: usize = 64 << 20;

impl OneByOne {
    /// Whether the dense product that reads by four can compute this direction of operands that begin at a multiple of four elements.
    pub(crate) fn applies(&self, device: &Device, direction: Direction) -> bool {
        let OneByOne { images, inputs, outputs, .. } = *self;
        let four = |size: usize| size.is_multiple_of(4);
        let sizes = match direction {
            Direction::Forward => four(inputs),
            // The weight's rows are then columns: of fewer than 16, most of a tile would be empty.
            Direction::InputGrad => four(inputs) && four(outputs) && inputs >= 16,
            Direction::WeightGrad => self.by_image() || self.by_pixel(),
        };
        lanes(device) && images > 0 && sizes
    }

    fn pixels(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    /// Whether the weight gradient is a product for each image, summed over the images.
    fn by_image(&self) -> bool {
        let parts = self.images * self.inputs * self.outputs;
        let operands = self.images * (self.inputs + self.outputs) * self.pixels();
        self.pixels().is_multiple_of(4) && 4 * parts <= MOST_PARTS && (parts <= operands || !self.by_pixel())
    }

    /// Whether it can be one product over all pixels of all images.
    fn by_pixel(&self) -> bool {
        let sizes = [self.images * self.pixels(), self.inputs, self.outputs];
        sizes.iter().all(|size| size.is_multiple_of(4)) && self.outputs >= 16
    }

    /// What is kept of an image of the input's size.
    fn kept(&self, x: &Tensor) -> Result<Tensor> {
        let [h, w] = self.size;
        x.slice(2, 0, h, self.stride[0])?.slice(3, 0, w, self.stride[1])
    }

    /// `matrix [m, k]`, given by its strides, times every image of `[images, k, pixels]`.
    fn by_images(
        &self,
        matrix: &Tensor,
        [m, k]: [usize; 2],
        [row, column]: [usize; 2],
        images: &Tensor,
        bias: Option<&Tensor>,
        relu: bool,
    ) -> Result<Option<Tensor>> {
        let pixels = self.pixels();
        let quads = pixels.is_multiple_of(4);
        let images = if quads { images.clone() } else { images.permute([0, 2, 3, 1])?.contiguous()? };
        let [index, along] = if quads { [1, pixels] } else { [k, 1] };
        let product = Product {
            op: "conv2d",
            a: matrix,
            b: &images,
            m,
            n: pixels,
            k,
            batches: self.images,
            a_strides: Strides { batch: 0, index: row, k: column },
            b_strides: Strides { batch: k * pixels, index, k: along },
            bias: bias.map(|bias| (bias, Bias::Row)),
            rest: None,
            relu,
        };
        product.quads().map(|quads| Ok(product.by_quads(quads, false)?.0)).transpose()
    }

    /// `y = x * weight + bias`, then if `relu` no less than 0; `None` where the operands do not lie as needed.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        relu: bool,
    ) -> Result<Option<Tensor>> {
        let kept = self.kept(x)?.contiguous()?;
        let y = self.by_images(weight, [self.outputs, self.inputs], [self.inputs, 1], &kept, bias, relu)?;
        let [h, w] = self.out_size;
        y.map(|y| y.reshape([self.images, self.outputs, h, w])).transpose()
    }

    /// The data gradient.
    pub(crate) fn input_grad(&self, dy: &Tensor, weight: &Tensor) -> Result<Option<Tensor>> {
        let dx = self.by_images(weight, [self.inputs, self.outputs], [1, self.inputs], dy, None, false)?;
        let Some(dx) = dx else { return Ok(None) };
        let dx = dx.reshape([self.images, self.inputs, self.out_size[0], self.out_size[1]])?;
        if self.stride == [1, 1] {
            return Ok(Some(dx));
        }
        let shape = [self.images, self.inputs, self.size[0], self.size[1]];
        let whole = Tensor::zeros(dy.device(), shape, dy.dtype())?;
        pointwise_into(&COPY, &[&dx], &self.kept(&whole)?, [0.0; 2], false)?;
        Ok(Some(whole))
    }

    /// The gradients of the weight and, if wanted, of the bias.
    pub(crate) fn weight_grad(&self, x: &Tensor, dy: &Tensor, bias: bool) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let (pixels, by_image) = (self.pixels(), self.by_image());
        let side = |tensor: &Tensor| if by_image { Ok(tensor.clone()) } else { tensor.permute([0, 2, 3, 1]) };
        let (x, dy) = (side(&self.kept(x)?)?.contiguous()?, side(dy)?.contiguous()?);
        let batches = if by_image { self.images } else { 1 };
        let strides = |channels: usize| match by_image {
            true => Strides { batch: channels * pixels, index: pixels, k: 1 },
            false => Strides { batch: 0, index: 1, k: channels },
        };
        let product = Product {
            op: "conv2d_weight_grad",
            a: &dy,
            b: &x,
            m: self.outputs,
            n: self.inputs,
            k: self.images * pixels / batches,
            batches,
            a_strides: strides(self.outputs),
            b_strides: strides(self.inputs),
            bias: None,
            rest: None,
            relu: false,
        };
        let Some(quads) = product.quads() else { return Ok(None) };
        let (dw, db) = product.by_quads(quads, bias)?;
        let whole = |parts: Tensor| if batches > 1 { parts.sum(0) } else { parts.squeeze(0) };
        let dw = whole(dw)?.reshape([self.outputs, self.inputs, 1, 1])?;
        Ok(Some((dw, db.map(whole).transpose()?)))
    }
}
