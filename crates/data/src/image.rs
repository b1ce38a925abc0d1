//! Decoded pixels, and what moves them: cropping, resizing, and the way to a model's planes.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::error::{Error, Result};

/// A decoded image of `u8`: row, column, channel, as decoders write it and filters want it. A batch has planes instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    channels: usize,
    pixels: Vec<u8>,
    /// The size [h, w] of the whole, by which steps of geometry go, and by how much it was divided.
    whole: [usize; 2],
    factor: usize,
}

/// A part of an image, in pixels of the whole. Only the position and size that a filter takes may be fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region {
    pub(crate) top: f64,
    pub(crate) left: f64,
    pub(crate) height: f64,
    pub(crate) width: f64,
}

impl Image {
    /// An image of `shape` [c, h, w] whose pixels lie as row, column, channel.
    ///
    /// ```
    /// use kiln_data::Image;
    /// let image = Image::interleaved([3, 1, 2], vec![255, 0, 0, 0, 0, 255])?;
    /// assert_eq!(image.planes(), [255, 0, 0, 0, 0, 255]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ImagePixels`] if there are too few or too many pixels, or none.
    pub fn interleaved(shape: [usize; 3], pixels: Vec<u8>) -> Result<Image> {
        let [channels, height, width] = shape;
        let needed = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        if needed != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::ImagePixels { shape, given: pixels.len() });
        }
        Ok(Image { height, width, channels, pixels, whole: [height, width], factor: 1 })
    }

    /// The same pixels as an image of size `whole` [h, w] that was divided by `factor`, rounded up.
    pub(crate) fn reduced_from(self, whole: [usize; 2], factor: usize) -> Image {
        Image { whole, factor, ..self }
    }

    /// An image of `shape` [c, h, w] whose pixels lie as channel, row, column.
    ///
    /// ```
    /// use kiln_data::Image;
    /// let image = Image::planar([3, 1, 2], &[255, 0, 0, 0, 0, 255])?;
    /// assert_eq!(image, Image::interleaved([3, 1, 2], vec![255, 0, 0, 0, 0, 255])?);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Image::interleaved`].
    pub fn planar(shape: [usize; 3], planes: &[u8]) -> Result<Image> {
        let mut image = Image::interleaved(shape, planes.to_vec())?;
        if image.channels > 1 {
            for (channel, plane) in planes.chunks_exact(image.height * image.width).enumerate() {
                let own = image.pixels.iter_mut().skip(channel).step_by(shape[0]);
                own.zip(plane).for_each(|(pixel, &value)| *pixel = value);
            }
        }
        Ok(image)
    }

    /// The shape [c, h, w].
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The pixels as channel, row, column.
    pub fn planes(&self) -> Vec<u8> {
        let mut planes = vec![0; self.pixels.len()];
        self.write_planes(false, &mut planes);
        planes
    }

    /// Writes channel, row, column to `planes`, which has as many bytes; with `flip` the columns from right to left.
    pub(crate) fn write_planes(&self, flip: bool, planes: &mut [u8]) {
        let plane = self.height * self.width;
        match self.channels {
            1 => planes.copy_from_slice(&self.pixels),
            // The common case, in one pass over the pixels.
            3 => {
                let (red, rest) = planes.split_at_mut(plane);
                let (green, blue) = rest.split_at_mut(plane);
                let pixels = self.pixels.as_chunks::<3>().0.iter();
                for (((pixel, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
                    [*red, *green, *blue] = *pixel;
                }
            }
            channels => {
                for (channel, plane) in planes.chunks_exact_mut(plane).enumerate() {
                    let own = self.pixels.iter().skip(channel).step_by(channels);
                    plane.iter_mut().zip(own).for_each(|(pixel, &value)| *pixel = value);
                }
            }
        }
        if flip {
            planes.chunks_exact_mut(self.width).for_each(<[u8]>::reverse);
        }
    }

    /// The mean of each channel, from 0 to 255.
    pub(crate) fn means(&self) -> Vec<f64> {
        let mut sums = vec![0u64; self.channels];
        for pixel in self.pixels.chunks_exact(self.channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u64::from(value));
        }
        let pixels = (self.height * self.width) as f64;
        sums.iter().map(|&sum| sum as f64 / pixels).collect()
    }

    /// The size [h, w] that the image has in its file.
    pub(crate) fn whole_size(&self) -> [usize; 2] {
        self.whole
    }

    /// The part of this size whose first pixel is at `top` and `left`; black where it reaches beyond the image. Of a reduced image, the
    /// part of the whole, enlarged again.
    pub(crate) fn cut(&self, top: isize, left: isize, height: usize, width: usize, what: &str) -> Result<Image> {
        if self.factor == 1 {
            return Ok(self.crop(top, left, height, width));
        }
        // From where to where both have pixels.
        let both = |from: isize, length: usize, side: usize| {
            let end = from.saturating_add_unsigned(length).clamp(0, side as isize);
            (from.clamp(0, side as isize).min(end), end)
        };
        let [rows, columns] = [both(top, height, self.whole[0]), both(left, width, self.whole[1])];
        let [h, w] = [rows, columns].map(|(from, end)| (end - from).unsigned_abs());
        if h == 0 || w == 0 {
            return Image::interleaved([self.channels, height, width], vec![0; self.channels * height * width]);
        }
        let region = Region { top: rows.0 as f64, left: columns.0 as f64, height: h as f64, width: w as f64 };
        Ok(self.resize(region, h, w, what)?.crop(top - rows.0, left - columns.0, height, width))
    }

    /// The part of the pixels of this size whose first one is at `top` and `left`; black beyond them.
    fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Image {
        if (top, left, height, width) == (0, 0, self.height, self.width) {
            return self.clone();
        }
        let channels = self.channels;
        let mut pixels = vec![0; height * width * channels];
        // The columns that both have.
        let first = left.max(0).unsigned_abs();
        let end = left.saturating_add_unsigned(width).clamp(0, self.width as isize).unsigned_abs();
        for (row, target) in pixels.chunks_exact_mut((width * channels).max(1)).enumerate() {
            let source = top.saturating_add_unsigned(row);
            if first < end && (0..self.height as isize).contains(&source) {
                let at = source.unsigned_abs() * self.width;
                let to = first.wrapping_add_signed(-left) * channels;
                let part = &self.pixels[(at + first) * channels..(at + end) * channels];
                target[to..to + part.len()].copy_from_slice(part);
            }
        }
        Image { height, width, channels, pixels, whole: [height, width], factor: 1 }
    }

    /// Brings a region of the whole to another size by a triangle filter: bilinear when enlarging, an average over the covered area when
    /// reducing. The weights and the order of the passes are Pillow's, and so torchvision's on such images. `what` names the
    /// image in errors.
    pub(crate) fn resize(&self, region: Region, height: usize, width: usize, what: &str) -> Result<Image> {
        if region == self.whole() && (height, width) == (self.height, self.width) && self.factor == 1 {
            return Ok(self.clone());
        }
        let [top, left, h, w] =
            [region.top, region.left, region.height, region.width].map(|edge| edge / self.factor as f64);
        let failed = |message: String| Error::Transform { what: what.to_owned(), message };
        let refused = |error: &dyn std::fmt::Display| failed(format!("cannot be resized to {height}x{width}: {error}"));
        let side = |side: usize| u32::try_from(side).map_err(|error| refused(&error));
        let (from, to) = ([side(self.width)?, side(self.height)?], [side(width)?, side(height)?]);
        // Channels are channels: none of them is transparency that would weigh the others.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .use_alpha(false)
            .crop(left, top, w, h);
        let mut pixels = vec![0; self.channels * height * width];
        // Each type of pixels is compiled for seconds, so that there are two.
        if self.channels == 3 {
            filtered::<U8x3>(from, &self.pixels, to, &mut pixels, &options).map_err(|error| refused(&error))?;
            return Image::interleaved([3, height, width], pixels);
        }
        let planes = self.planes();
        let parts = pixels.chunks_exact_mut((height * width).max(1));
        for (plane, part) in planes.chunks_exact(self.height * self.width).zip(parts) {
            filtered::<U8>(from, plane, to, part, &options).map_err(|error| refused(&error))?;
        }
        Image::planar([self.channels, height, width], &pixels)
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Region {
        let [height, width] = self.whole.map(|side| side as f64);
        Region { top: 0.0, left: 0.0, height, width }
    }
}

/// Resizes pixels of one type. Sizes are width and height.
fn filtered<P: PixelTrait>(
    [width, height]: [u32; 2],
    source: &[u8],
    [to_width, to_height]: [u32; 2],
    target: &mut [u8],
    options: &ResizeOptions,
) -> std::result::Result<(), String> {
    let source = TypedImageRef::<P>::from_buffer(width, height, source).map_err(|error| error.to_string())?;
    let target = TypedImage::<P>::from_buffer(to_width, to_height, target);
    let mut target = target.map_err(|error| error.to_string())?;
    Resizer::new().resize_typed(&source, &mut target, options).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbered(channels: usize, height: usize, width: usize) -> Image {
        let pixels = (0..channels * height * width).map(|i| i as u8).collect();
        Image::interleaved([channels, height, width], pixels).unwrap()
    }

    #[test]
    fn planes_and_pixels_are_inverse() {
        for channels in [1, 2, 3, 5] {
            let image = numbered(channels, 3, 4);
            let planes = image.planes();
            assert_eq!(planes[..3], [0, channels as u8, 2 * channels as u8]);
            assert_eq!(Image::planar([channels, 3, 4], &planes).unwrap(), image);
        }
    }

    #[test]
    fn a_flip_turns_every_row() {
        let mut planes = vec![0; 12];
        numbered(2, 2, 3).write_planes(true, &mut planes);
        assert_eq!(planes, [4, 2, 0, 10, 8, 6, 5, 3, 1, 11, 9, 7]);
    }

    #[test]
    fn a_crop_is_black_beyond_the_image() {
        let image = numbered(1, 2, 3);
        assert_eq!(image.crop(0, 1, 2, 2).pixels, [1, 2, 4, 5]);
        assert_eq!(image.crop(-1, -1, 4, 5).pixels, [0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(image.crop(1, 2, 2, 2).pixels, [5, 0, 0, 0]);
        assert_eq!(image.crop(5, 5, 1, 2).pixels, [0, 0]);
        assert_eq!(image.crop(0, -3, 1, 2).pixels, [0, 0]);
        assert_eq!(numbered(2, 1, 2).crop(0, 1, 1, 2).pixels, [2, 3, 0, 0]);
    }

    #[test]
    fn means_are_per_channel() {
        let image = Image::interleaved([2, 1, 2], vec![0, 10, 255, 30]).unwrap();
        assert_eq!(image.means(), [127.5, 20.0]);
    }

    #[test]
    fn pixels_that_do_not_fill_the_shape_are_refused() {
        for (shape, given) in [([3, 2, 2], 11), ([3, 2, 2], 13), ([1, 0, 2], 0), ([2, usize::MAX, 3], 6)] {
            assert_eq!(
                Image::interleaved(shape, vec![0; given]).unwrap_err().to_string(),
                format!(
                    "image: {given} pixels for the shape {shape:?}; pass channels * height * width of them, at least one"
                )
            );
        }
    }

    #[test]
    fn channels_are_resized_as_if_alone() {
        for channels in [2, 3, 5] {
            let image = numbered(channels, 4, 6);
            let small = image.resize(image.whole(), 3, 2, "sample 3").unwrap();
            assert_eq!(small.shape(), [channels, 3, 2]);
            for (plane, small) in image.planes().chunks_exact(24).zip(small.planes().chunks_exact(6)) {
                let alone = Image::interleaved([1, 4, 6], plane.to_vec()).unwrap();
                assert_eq!(alone.resize(alone.whole(), 3, 2, "sample 3").unwrap().pixels, small);
            }
        }
    }
}
