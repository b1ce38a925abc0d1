//! Batches of bytes to what a network takes. None of this is differentiable: it comes before the first weight.

use kiln_shaders::image::{self as kernels, Images};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// The numbers of an image's row in [`Tensor::augment_image`]'s `adjust`.
pub const ADJUST_LEN: usize = 20;

/// How [`Tensor::augment_image`] mixes each image with the one before it, and the first with the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageMix {
    /// The image's own share, from 0 to 1; the other's is the rest.
    pub own: f32,
    /// The rectangle `[top, left, bottom, right]`, without bottom and right, in which the other's pixels are taken alone.
    pub region: [u32; 4],
}

impl ImageMix {
    /// Every image stays by itself.
    pub const NONE: ImageMix = ImageMix { own: 1.0, region: [0; 4] };
}

/// Bytes `[n, c, h, w]`, and means and deviations of as many channels.
fn check(op: &'static str, x: &Tensor, mean: &[f32], std: &[f32]) -> Result<Images> {
    let Ok([count, channels, height, width]) = <[usize; 4]>::try_from(x.shape().dims()) else {
        return Err(Error::shape(
            op,
            format!("the images have shape {}; needs [batch, channels, height, width]", x.shape()),
        ));
    };
    x.check_dtype(op, "the tensor", &[DType::U8])?;
    let usable = mean.iter().all(|mean| mean.is_finite()) && std.iter().all(|&std| std > 0.0 && std.is_finite());
    if mean.len() != channels || std.len() != channels || !usable {
        return Err(Error::argument(
            op,
            format!(
                "mean {mean:?} and std {std:?} for {channels} channels; needs one of each for every channel, finite, std above 0"
            ),
        ));
    }
    Ok(Images { count, channels, size: [height, width] })
}

fn too_large(op: &'static str, what: &str, x: &Tensor) -> Error {
    let limit = x.device().info().limits.binding_bytes;
    Error::shape(
        op,
        format!(
            "{what} of {} takes more than this adapter can bind at once ({limit} bytes); make it smaller",
            x.shape()
        ),
    )
}

/// The scales of all channels, then what is added to each.
fn factors(x: &Tensor, scale: f64, mean: &[f32], std: &[f32]) -> Result<Tensor> {
    let scales = std.iter().map(|&std| (scale / f64::from(std)) as f32);
    let added = mean.iter().zip(std).map(|(&mean, &std)| (-f64::from(mean) / f64::from(std)) as f32);
    Tensor::from_slice(x.device(), [2, mean.len()], &scales.chain(added).collect::<Vec<_>>())
}

impl Tensor {
    /// Bytes of images to normalised floats, in one pass: `y = (x / 255 - mean[c]) / std[c]` for `[n, c, h, w]` of u8, the result of
    /// f32. With mean 0 and std 1 this is torchvision's `ToTensor`, with others `ToTensor` and `Normalize`.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::from_slice(&Device::open_default()?, [1, 2, 1, 2], &[0u8, 255, 51, 102])?;
    /// let y = x.normalize_image(&[0.5, 0.0], &[0.5, 1.0])?.to_vec::<f32>()?;
    /// assert!(y.iter().zip([-1.0, 1.0, 0.2, 0.4]).all(|(a, b)| (a - b).abs() < 1e-6));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is not 4 or a single plane is too large for the adapter, [`Error::DType`] unless the elements
    /// are bytes, [`Error::Argument`] for means and deviations of another number or that are not finite; [`Error::Gpu`].
    pub fn normalize_image(&self, mean: &[f32], std: &[f32]) -> Result<Tensor> {
        const OP: &str = "normalize_image";
        let images = check(OP, self, mean, std)?;
        let x = self.quads()?;
        let out = Tensor::empty(x.device(), self.shape(), DType::F32, OP)?;
        if out.numel() == 0 {
            return Ok(out);
        }
        if !(x.fits() && out.fits()) {
            drop(out);
            let axis = usize::from(images.count == 1);
            let size = self.shape()[axis];
            if size == 1 {
                return Err(too_large(OP, "a plane", self));
            }
            let half = |start: usize, length: usize| {
                let channels = if axis == 1 { start..start + length } else { 0..mean.len() };
                x.narrow(axis, start, length)?.normalize_image(&mean[channels.clone()], &std[channels])
            };
            return Tensor::cat(&[&half(0, size / 2)?, &half(size / 2, size - size / 2)?], axis);
        }
        let factors = factors(&x, 1.0 / 255.0, mean, std)?;
        let windows = [x.window(), factors.window(), out.window()];
        let [from, own, to] = windows.map(|window| window.offset as usize);
        let plan = kernels::normalize(&images, [from / 4, own, to / 4]);
        launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
        Ok(out)
    }

    /// The arithmetic of augmentation on images `[n, c, h, w]` of u8, and normalising, in one pass. With `x` from 0 to 1:
    ///
    /// ```text
    /// seen[c] = (clamp(sum over k of color[c, k] * x[k] + color[c, 3], 0, 1) + light[c] - mean[c]) / std[c]
    /// erased  = 0 within the rectangle, else seen
    /// y       = own * erased + (1 - own) * erased of the image before; of that alone within the region
    /// ```
    ///
    /// `adjust` is `[n, 20]` of f32: twelve numbers of `color` (three rows of four), three of `light`, one that is not looked at, and
    /// the rectangle's top, left, bottom and right (the last two excluded). Images of other than three channels have neither
    /// `color` nor `light`.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{Tensor, ops::image::ImageMix};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::from_slice(&device, [2, 1, 1, 3], &[255u8, 255, 255, 0, 0, 0])?;
    /// // The second image loses its last pixel; then the first is a quarter of the second, and the second of the first.
    /// let mut adjust = [0.0f32; 40];
    /// adjust[36..].copy_from_slice(&[0.0, 2.0, 1.0, 3.0]);
    /// let adjust = Tensor::from_slice(&device, [2, 20], &adjust)?;
    /// let y = x.augment_image(&adjust, &ImageMix { own: 0.75, region: [0; 4] }, &[0.5], &[0.5])?;
    /// assert_eq!(y.to_vec::<f32>()?, [0.5, 0.5, 0.75, -0.5, -0.5, 0.25]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape of the images or of `adjust`, or a batch or image too large for the adapter,
    /// [`Error::DType`], [`Error::Argument`] for a share outside of 0..=1 and as [`Tensor::normalize_image`]; [`Error::Gpu`].
    pub fn augment_image(&self, adjust: &Tensor, mix: &ImageMix, mean: &[f32], std: &[f32]) -> Result<Tensor> {
        const OP: &str = "augment_image";
        let images = check(OP, self, mean, std)?;
        adjust.check_dtype(OP, "adjust", &[DType::F32])?;
        self.check_device(OP, adjust)?;
        if adjust.shape().dims() != [images.count, ADJUST_LEN] {
            return Err(Error::shape(
                OP,
                format!("adjust has shape {}; {} images need [{1}, {ADJUST_LEN}]", adjust.shape(), images.count),
            ));
        }
        if !(0.0..=1.0).contains(&mix.own) {
            return Err(Error::argument(OP, format!("own {}; needs a share from 0 to 1", mix.own)));
        }
        if self.numel() == 0 {
            return Tensor::empty(self.device(), self.shape(), DType::F32, OP);
        }
        let (x, adjust, factors) = (self.contiguous()?, adjust.quads()?, factors(self, 1.0, mean, std)?);
        // An image may be mixed with any, so that all bytes are bound at once; of the result, which is four times as large, parts
        // are made where it has to be.
        if !(x.fits() && adjust.fits()) {
            return Err(too_large(OP, "a batch", self));
        }
        let make = |first: usize, made: usize| -> Result<Option<Tensor>> {
            let out = Tensor::empty(x.device(), self.shape().with_dim(0, made), DType::F32, OP)?;
            if !out.fits() {
                return Ok(None);
            }
            let windows = [x.window(), adjust.window(), factors.window(), out.window()];
            let mut offsets = windows.map(|window| window.offset as usize);
            offsets[1] /= 4;
            let plan = kernels::augment(&images, (first, made), mix.own, mix.region, offsets);
            launch_planned(x.device(), &plan, &windows.map(|window| window.binding))?;
            Ok(Some(out))
        };
        let mut made = images.count;
        while made > 0 {
            let parts = (0..images.count).step_by(made).map(|first| make(first, made.min(images.count - first)));
            if let Some(parts) = parts.collect::<Result<Option<Vec<Tensor>>>>()? {
                return match parts.as_slice() {
                    [whole] => Ok(whole.clone()),
                    parts => Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0),
                };
            }
            made /= 2;
        }
        Err(too_large(OP, "an image", self))
    }

    /// A contiguous tensor that starts at a multiple of four elements, as kernels want that work in whole quads.
    pub(crate) fn quads(&self) -> Result<Tensor> {
        let x = self.contiguous()?;
        match x.offset() % 4 {
            0 => Ok(x),
            _ => Tensor::cat(&[&x.reshape([x.numel()])?], 0)?.reshape(self.shape()),
        }
    }
}
