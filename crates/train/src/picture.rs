//! Pictures for people: images of a dataset and filters, as PNG.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use kiln_data::Sample;

use crate::error::{Error, Result, counted};

/// A picture of one (grey) or three (red, green, blue) channels, a byte each.
///
/// ```
/// use kiln_train::Picture;
/// let picture = Picture::from_planes([3, 1, 2], &[255, 0, 0, 0, 0, 255])?;
/// assert_eq!(&picture.png()?[1..4], b"PNG");
/// # Ok::<(), kiln_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    /// Row, column, channel.
    pixels: Vec<u8>,
}

impl Picture {
    /// From planes: channel, row, column. Of images with another number of channels, the first channel is shown.
    ///
    /// # Errors
    /// [`Error::Argument`] where the bytes are not as many as the shape [c, h, w] says, or a side is 0 or too long.
    pub fn from_planes(shape: [usize; 3], planes: &[u8]) -> Result<Picture> {
        let [channels, height, width] = shape;
        let needed = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        let sides = [height, width].iter().all(|&side| u32::try_from(side).is_ok());
        if needed != Some(planes.len()) || planes.is_empty() || !sides {
            return Err(Error::argument(
                "Picture::from_planes",
                format!(
                    "{} for {channels}x{height}x{width}; needs as many as the shape says, and at least one",
                    counted(planes.len(), "byte")
                ),
            ));
        }
        let shown = if channels == 3 { 3 } else { 1 };
        let plane = height * width;
        let pixels = (0..plane * shown).map(|at| planes[at % shown * plane + at / shown]).collect();
        Ok(Picture { channels: shown, height, width, pixels })
    }

    /// Of a dataset's sample. What its transforms leave to a GPU (colours, erasing) is not shown.
    ///
    /// # Errors
    /// As [`Picture::from_planes`].
    pub fn of(sample: &Sample, shape: [usize; 3]) -> Result<Picture> {
        Picture::from_planes(shape, &sample.image)
    }

    /// Scaled down, if need be, so that no side is longer than this. Each pixel is the mean of those that it stands for.
    #[must_use]
    pub fn within(self, side: usize) -> Picture {
        let longest = self.height.max(self.width);
        if longest <= side || side == 0 {
            return self;
        }
        let scaled = |length: usize| (length * side / longest).max(1);
        let (height, width) = (scaled(self.height), scaled(self.width));
        let mut pixels = Vec::with_capacity(height * width * self.channels);
        // Where a pixel of the small picture begins in the large one; the last one's end is the whole.
        let edge = |place: usize, small: usize, large: usize| place * large / small;
        for row in 0..height {
            let rows = edge(row, height, self.height)..edge(row + 1, height, self.height);
            for column in 0..width {
                let columns = edge(column, width, self.width)..edge(column + 1, width, self.width);
                for channel in 0..self.channels {
                    let values = rows.clone().flat_map(|y| columns.clone().map(move |x| (y, x)));
                    let sum: usize = values
                        .map(|(y, x)| usize::from(self.pixels[(y * self.width + x) * self.channels + channel]))
                        .sum();
                    let count = rows.len() * columns.len();
                    // A mean of bytes is one.
                    pixels.push(((sum + count / 2) / count.max(1)) as u8);
                }
            }
        }
        Picture { channels: self.channels, height, width, pixels }
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// As the bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Drawing`] where it cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        let color = if self.channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
        let mut bytes = Cursor::new(Vec::new());
        // Sides fit: they were looked at when the picture was made.
        PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, self.width as u32, self.height as u32, color)
            .map_err(|error| Error::drawing("a picture as PNG", error))?;
        Ok(bytes.into_inner())
    }
}
