//! One image file of any common format, brought to the size and the channels that a model wants.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use tiff::TiffError;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::{jpeg_file, reduce, tiff_file};

/// The largest width or height of an image that is decoded, in pixels.
pub const MAX_IMAGE_SIDE: u32 = 16_384;

/// The most bytes of an image file, and of what is decoded of it: 256 MiB.
pub const MAX_IMAGE_BYTES: u64 = 256 << 20;

/// The largest width or height that an image is resized to, in pixels.
pub const MAX_OUTPUT_SIDE: usize = 4_096;

/// How many bytes tell a format.
const START: usize = 16;

/// The formats for errors.
const FORMATS: &str = "PNG, JPEG, GIF, BMP, WebP, PNM or TIFF";

/// A decoded image.
///
/// The format is found by the content, never by the name. The size is read from the header and held against the limits
/// before any pixel is decoded. Of a moving image this is the first frame. An orientation noted by a camera is applied.
///
/// An image whose pixels would take more than [`MAX_IMAGE_BYTES`], such as a photo of 12,000 by 9,000 pixels, is reduced while it is
/// decoded: a JPEG file by its cosine transform, unless it is progressive or CMYK; a PNG file row by row, unless it is interlaced; a TIFF
/// file strip by strip. Sizes and crops stay those of the whole image. All others are as they are in the file.
#[derive(Clone, Debug)]
pub struct ImageFile {
    name: String,
    format: &'static str,
    image: DynamicImage,
    /// Width and height of the whole, and by how much those of `image` were divided.
    size: [u32; 2],
    factor: usize,
}

impl ImageFile {
    /// Reads and decodes a file: PNG, JPEG, GIF, BMP, WebP, PNM or TIFF.
    ///
    /// ```no_run
    /// let image = kiln_data::ImageFile::open("boot.jpg")?;
    /// let pixels = image.pixels([1, 28, 28])?;
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::NotAFile`] for the path, [`Error::ImageFileSize`] for a file over [`MAX_IMAGE_BYTES`],
    /// and what [`from_bytes`](ImageFile::from_bytes) returns.
    pub fn open(path: impl AsRef<Path>) -> Result<ImageFile> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = read_start(path, &name, MAX_IMAGE_BYTES + 1)?;
        ImageFile::from_bytes(&name, &bytes)
    }

    /// Whether a file is there, may be read, is not too large and starts as an image does. Nothing is decoded: it may be damaged
    /// further on.
    ///
    /// # Errors
    ///
    /// As [`open`](ImageFile::open), for what shows in the first bytes.
    pub(crate) fn check(path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let start = read_start(path, &name, START as u64)?;
        known_format(&name, &start).map(drop)
    }

    /// Decodes a file that is in memory; `name` stands for it in errors.
    ///
    /// ```
    /// use kiln_data::ImageFile;
    /// // A grey image of 2x1 pixels in the simplest format, PGM.
    /// let image = ImageFile::from_bytes("two pixels", b"P5 2 1 255 \x0a\xc8")?;
    /// assert_eq!((image.width(), image.height(), image.format()), (2, 1, "PNM"));
    /// assert_eq!(image.pixels([1, 1, 2])?, [0x0a, 0xc8]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ImageFormat`] for a format that is not read, [`Error::ImageUnsupported`] for a form of one,
    /// [`Error::ImageTooLarge`] beyond [`MAX_IMAGE_SIDE`], or beyond [`MAX_IMAGE_BYTES`] where the image cannot be reduced,
    /// [`Error::ImageTruncated`] and [`Error::ImageDecode`] for a damaged file.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<ImageFile> {
        ImageFile::decode(name, bytes, MAX_IMAGE_BYTES)
    }

    /// As [`ImageFile::from_bytes`], with at most `most` bytes of pixels.
    fn decode(name: &str, bytes: &[u8], most: u64) -> Result<ImageFile> {
        check_file_size(name, bytes.len() as u64)?;
        let kind = known_format(name, bytes)?;
        let format = format_name(kind);
        let whole = match kind {
            ImageFormat::Jpeg => jpeg_file::whole(bytes, MAX_IMAGE_SIDE, most),
            _ => Some(Cow::Borrowed(bytes)),
        };
        let whole = whole.ok_or_else(|| Error::ImageTruncated { file: name.to_owned(), format })?;
        let bytes: &[u8] = &whole;
        let damaged = |source| Error::ImageDecode { file: name.to_owned(), format, source };
        let failed = |error: ImageError| match error {
            // A whole file may use what the decoder does not know.
            ImageError::Unsupported(_) | ImageError::Limits(_) => {
                Error::ImageUnsupported { file: name.to_owned(), format, source: Box::new(error) }
            }
            error => damaged(Box::new(error)),
        };

        let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
        // First only a limit on what the decoder itself takes, so that the size can be read and named.
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(most);
        reader.limits(limits.clone());
        let mut decoder = match reader.into_decoder() {
            Err(error @ ImageError::Unsupported(_)) if kind == ImageFormat::Tiff => {
                let image = match tiff_file::decode(bytes, MAX_IMAGE_SIDE, most) {
                    Ok(image) => image.ok_or_else(|| failed(error))?,
                    Err(TiffError::UnsupportedError(_)) => return Err(failed(error)),
                    Err(TiffError::LimitsExceeded) => {
                        let source = format!("it is larger than {MAX_IMAGE_SIDE} pixels a side or {most} bytes").into();
                        return Err(Error::ImageUnsupported { file: name.to_owned(), format, source });
                    }
                    Err(error) => return Err(damaged(Box::new(error))),
                };
                let size = [image.width(), image.height()];
                return Ok(ImageFile { name: name.to_owned(), format, image, size, factor: 1 });
            }
            decoder => decoder.map_err(failed)?,
        };
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(damaged(format!("it declares {width}x{height} pixels").into()));
        }
        let bytes_of_pixels = decoder.total_bytes();
        let too_large = |advice| Error::ImageTooLarge {
            file: name.to_owned(),
            width,
            height,
            bytes: bytes_of_pixels,
            max_side: MAX_IMAGE_SIDE,
            max_bytes: most,
            advice,
        };
        if width.max(height) > MAX_IMAGE_SIDE {
            return Err(too_large("scale it down"));
        }
        // Damaged metadata does not make an image unreadable.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let (mut image, factor) = if bytes_of_pixels > most {
            drop(decoder);
            reduce::decode(kind, bytes, most).map_err(damaged)?.ok_or_else(|| too_large(reduce::advice(kind)))?
        } else {
            limits.max_image_width = Some(MAX_IMAGE_SIDE);
            limits.max_image_height = Some(MAX_IMAGE_SIDE);
            decoder.set_limits(limits).map_err(failed)?;
            (DynamicImage::from_decoder(decoder).map_err(failed)?, 1)
        };
        image.apply_orientation(orientation);
        let turned = !matches!(
            orientation,
            Orientation::NoTransforms
                | Orientation::Rotate180
                | Orientation::FlipHorizontal
                | Orientation::FlipVertical
        );
        let size = if turned { [height, width] } else { [width, height] };
        Ok(ImageFile { name: name.to_owned(), format, image, size, factor })
    }

    /// The width in pixels.
    pub fn width(&self) -> u32 {
        self.size[0]
    }

    /// The height in pixels.
    pub fn height(&self) -> u32 {
        self.size[1]
    }

    /// The name of the file's format.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The pixels in the shape [channels, height, width] that a model wants, in this order.
    ///
    /// One channel is grey by ITU-R 601 (`0.299 R + 0.587 G + 0.114 B`, the weights of PIL and torchvision), three are
    /// RGB; transparency is dropped, 16 bits become 8. Another size is reached by a triangle filter (bilinear when enlarging, an
    /// average over the covered area when reducing); width and height change independently, so crop first where the
    /// proportions matter. Light stays light: whether the ground has to be black is the caller's to decide.
    ///
    /// ```
    /// use kiln_data::ImageFile;
    /// let red = ImageFile::from_bytes("red", b"P6 1 1 255 \xff\x00\x00")?;
    /// assert_eq!(red.pixels([3, 1, 2])?, [255, 255, 0, 0, 0, 0]);
    /// assert_eq!(red.pixels([1, 1, 1])?, [76]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ImageOutput`] unless there are 1 or 3 channels and sides from 1 to [`MAX_OUTPUT_SIDE`].
    pub fn pixels(&self, shape: [usize; 3]) -> Result<Vec<u8>> {
        let [channels, height, width] = shape;
        let side = |side: usize| (1..=MAX_OUTPUT_SIDE).contains(&side);
        if !(matches!(channels, 1 | 3) && side(height) && side(width)) {
            return Err(Error::ImageOutput { file: self.name.clone(), shape, max_side: MAX_OUTPUT_SIDE });
        }
        let name = self.name.clone();
        let image = self.clone().into_image(channels == 1)?;
        Ok(image.resize(image.whole(), height, width, &name)?.planes())
    }

    /// The pixels in their own size, one channel or three, as [`pixels`](ImageFile::pixels) makes them.
    pub(crate) fn into_image(self, grey: bool) -> Result<Image> {
        let [height, width] = [self.image.height() as usize, self.image.width() as usize];
        let (size, factor) = (self.size.map(|side| side as usize), self.factor);
        let image = match grey {
            true => Image::interleaved([1, height, width], self.grey().into_raw()),
            false => Image::interleaved([3, height, width], self.image.into_rgb8().into_raw()),
        };
        Ok(image?.reduced_from([size[1], size[0]], factor))
    }

    fn grey(&self) -> GrayImage {
        if !self.image.color().has_color() {
            return self.image.to_luma8();
        }
        let rgb = self.image.to_rgb8();
        GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
            let [r, g, b] = rgb.get_pixel(x, y).0.map(u32::from);
            // The weights times 2^16, rounded so that they sum to 2^16: white stays white.
            image::Luma([((19_595 * r + 38_470 * g + 7_471 * b + (1 << 15)) >> 16) as u8])
        })
    }
}

/// The first bytes of a file, at most so many.
fn read_start(path: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::Io { file: name.to_owned(), source };
    // Asked before opening: opening a pipe that nobody writes to would wait.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { file: name.to_owned() });
    }
    check_file_size(name, metadata.len())?;
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The format that a file's first bytes tell.
fn known_format(name: &str, bytes: &[u8]) -> Result<ImageFormat> {
    image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled).ok_or_else(|| Error::ImageFormat {
        file: name.to_owned(),
        start: bytes[..bytes.len().min(START)].escape_ascii().to_string(),
        formats: FORMATS,
    })
}

/// Whether a file that starts with these bytes is an image of a format that is read.
pub(crate) fn is_image_start(bytes: &[u8]) -> bool {
    known_format("", bytes).is_ok()
}

fn check_file_size(name: &str, given: u64) -> Result<()> {
    if given > MAX_IMAGE_BYTES {
        return Err(Error::ImageFileSize { file: name.to_owned(), given, limit: MAX_IMAGE_BYTES });
    }
    Ok(())
}

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        // Another crate of the program may have switched on further formats of the decoder.
        _ => "image",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::transform::Transforms;

    /// A smooth image with a mark that tells how it lies.
    fn photo(width: u32, height: u32) -> image::RgbImage {
        image::RgbImage::from_fn(width, height, |x, y| {
            if x < width / 4 && y < height / 4 {
                return image::Rgb([250, 20, 20]);
            }
            image::Rgb([(x * 200 / width) as u8, (y * 200 / height) as u8, 90])
        })
    }

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A TIFF file of strips of 10 rows.
    fn strips(image: &DynamicImage) -> Vec<u8> {
        use tiff::encoder::{TiffEncoder, colortype};
        let (width, height) = (image.width(), image.height());
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        macro_rules! write {
            ($kind:ty, $samples:expr) => {{
                let mut file = encoder.new_image::<$kind>(width, height).unwrap();
                file.rows_per_strip(10).unwrap();
                file.write_data($samples).unwrap();
            }};
        }
        match image {
            DynamicImage::ImageRgb8(image) => write!(colortype::RGB8, image.as_raw()),
            DynamicImage::ImageRgba8(image) => write!(colortype::RGBA8, image.as_raw()),
            DynamicImage::ImageRgb16(image) => write!(colortype::RGB16, image.as_raw()),
            other => unreachable!("{other:?}"),
        }
        bytes.into_inner()
    }

    /// The greatest and the mean difference.
    fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
        assert_eq!(a.len(), b.len());
        let all = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
        (all().max().unwrap_or(0), all().map(f64::from).sum::<f64>() / a.len() as f64)
    }

    #[test]
    fn what_is_too_large_is_reduced_while_it_is_decoded() {
        let rgb = photo(161, 95);
        let deep = DynamicImage::from(rgb.clone()).into_rgb16();
        let grey = DynamicImage::from(rgb.clone()).into_luma8();
        let rgba = DynamicImage::from(rgb.clone()).into_rgba8();
        for (image, format) in [
            (DynamicImage::from(rgb.clone()), ImageFormat::Jpeg),
            (grey.clone().into(), ImageFormat::Jpeg),
            (rgb.clone().into(), ImageFormat::Png),
            (grey.into(), ImageFormat::Png),
            (rgba.clone().into(), ImageFormat::Png),
            (deep.clone().into(), ImageFormat::Png),
            (rgb.into(), ImageFormat::Tiff),
            (rgba.into(), ImageFormat::Tiff),
            (deep.into(), ImageFormat::Tiff),
        ] {
            let kind = format!("{:?} {format:?}", image.color());
            let bytes = if format == ImageFormat::Tiff { strips(&image) } else { encode(image, format) };
            let whole = ImageFile::decode("f", &bytes, 1 << 20).unwrap();
            let pixels = whole.image.as_bytes().len() as u64;
            assert_eq!(whole.factor, 1);
            let half = ImageFile::decode("f", &bytes, pixels - 1).unwrap();
            assert_eq!((half.factor, half.size), (2, [161, 95]), "{kind}");
            assert_eq!((half.image.width(), half.image.height()), (81, 48), "{kind}");
            // Seen at a size below half of the file's, both are the same picture.
            for shape in [[3, 24, 40], [1, 10, 12]] {
                let (most, mean) = differences(&whole.pixels(shape).unwrap(), &half.pixels(shape).unwrap());
                assert!(most <= 24 && mean < 1.0, "{kind} {shape:?}: {most}, {mean}");
            }
        }
    }

    #[test]
    fn steps_on_a_reduced_image_cut_where_they_cut_the_whole() {
        let bytes = encode(photo(160, 96), ImageFormat::Png);
        let [whole, half] = [160 * 96 * 3, 160 * 96 * 3 - 1].map(|most| {
            let file = ImageFile::decode("f", &bytes, most).unwrap();
            file.into_image(false).unwrap()
        });
        assert_ne!(whole.shape(), half.shape());
        for transforms in [
            Transforms::new().resize(30).center_crop(24),
            Transforms::new().resize_to(20, 30),
            Transforms::new().center_crop(64),
            // Beyond the image on two sides.
            Transforms::new().center_crop(128),
            Transforms::new().random_crop(50, 8),
            Transforms::new().random_resized_crop(16),
            Transforms::new().center_crop(90).resize(20).center_crop(20),
        ] {
            for seed in 0..4 {
                let [whole, half] = [&whole, &half].map(|image| {
                    let mut random = crate::random::SplitMix64::new(seed);
                    transforms.apply(image.clone(), &mut random, &|| "f".to_owned()).unwrap().image
                });
                assert_eq!(whole.shape(), half.shape());
                let (_, mean) = differences(&whole.planes(), &half.planes());
                assert!(mean < 2.5, "{transforms:?} {seed}: {mean}");
            }
        }
    }

    #[test]
    fn a_camera_turns_a_reduced_image_too() {
        // Exif in a JPEG: one entry, orientation 6.
        let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let jpeg = encode(photo(64, 40), ImageFormat::Jpeg);
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let file = [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat();
        let half = ImageFile::decode("f", &file, 64 * 40 * 3 - 1).unwrap();
        assert_eq!((half.width(), half.height(), half.image.width(), half.factor), (40, 64, 20, 2));
    }

    #[test]
    fn mutated_files_never_panic_while_they_are_reduced() {
        let image = DynamicImage::from(photo(40, 30));
        let files = [encode(image.clone(), ImageFormat::Jpeg), encode(image.clone(), ImageFormat::Png), strips(&image)];
        let mut random = crate::random::SplitMix64::new(1);
        let mut reduced = 0;
        for round in 0..3_000 {
            let mut file = files[round % files.len()].clone();
            for _ in 0..=random.below(2) {
                // Half of the changes in the headers.
                let reach = if random.below(2) == 0 { file.len().min(700) } else { file.len() };
                let at = random.below(reach as u64) as usize;
                match random.below(4) {
                    0 => file.truncate(at.max(4)),
                    1 => file[at] ^= 1 << (round % 8),
                    2 => file[at] = [0, 1, 0x7f, 0xff][random.below(4) as usize],
                    _ => file.insert(at, round as u8),
                }
            }
            reduced += usize::from(ImageFile::decode("f", &file, 2_000).is_ok_and(|file| file.factor > 1));
        }
        assert!(reduced > 300, "{reduced}");
    }

    #[test]
    fn what_cannot_be_reduced_is_refused() {
        let gif = encode(photo(40, 30), ImageFormat::Gif);
        let error = ImageFile::decode("f", &gif, 40 * 30 * 4 - 1).unwrap_err();
        let refused = "f: the image is 40x30 pixels and takes 4800 bytes decoded, the limits are 16384 pixels a side and 4799 bytes; scale \
                       it down, or save it as a JPEG or PNG file";
        assert_eq!(error.to_string(), refused);
    }
}
