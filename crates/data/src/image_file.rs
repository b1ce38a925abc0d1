//! One image file of any common format, brought to the size and the channels that a model wants.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::{Error, Result};
use crate::image::Image;

/// The largest width or height of an image that is decoded, in pixels.
pub const MAX_IMAGE_SIDE: u32 = 16_384;

/// The most bytes of an image file, and of the decoded image: 256 MiB.
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
#[derive(Clone, Debug)]
pub struct ImageFile {
    name: String,
    format: &'static str,
    image: DynamicImage,
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
    /// [`Error::ImageFormat`] for a format that is not read, [`Error::ImageTooLarge`] beyond [`MAX_IMAGE_SIDE`] or
    /// [`MAX_IMAGE_BYTES`], [`Error::ImageTruncated`] and [`Error::ImageDecode`] for a damaged file.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<ImageFile> {
        check_file_size(name, bytes.len() as u64)?;
        let kind = known_format(name, bytes)?;
        let format = format_name(kind);
        if kind == ImageFormat::Jpeg && jpeg_is_cut_off(bytes) {
            return Err(Error::ImageTruncated { file: name.to_owned(), format });
        }
        let damaged = |source| Error::ImageDecode { file: name.to_owned(), format, source: Box::new(source) };

        let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
        // First only a limit on what the decoder itself takes, so that the size can be read and named.
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_IMAGE_BYTES);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            let source = format!("it declares {width}x{height} pixels").into();
            return Err(Error::ImageDecode { file: name.to_owned(), format, source });
        }
        if width.max(height) > MAX_IMAGE_SIDE || decoder.total_bytes() > MAX_IMAGE_BYTES {
            return Err(Error::ImageTooLarge {
                file: name.to_owned(),
                width,
                height,
                bytes: decoder.total_bytes(),
                max_side: MAX_IMAGE_SIDE,
                max_bytes: MAX_IMAGE_BYTES,
            });
        }
        limits.max_image_width = Some(MAX_IMAGE_SIDE);
        limits.max_image_height = Some(MAX_IMAGE_SIDE);
        decoder.set_limits(limits).map_err(damaged)?;
        // Damaged metadata does not make an image unreadable.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        image.apply_orientation(orientation);
        Ok(ImageFile { name: name.to_owned(), format, image })
    }

    /// The width in pixels.
    pub fn width(&self) -> u32 {
        self.image.width()
    }

    /// The height in pixels.
    pub fn height(&self) -> u32 {
        self.image.height()
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
        let [height, width] = [self.height() as usize, self.width() as usize];
        match grey {
            true => Image::interleaved([1, height, width], self.grey().into_raw()),
            false => Image::interleaved([3, height, width], self.image.into_rgb8().into_raw()),
        }
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

/// Whether a JPEG file has no end marker after its picture begins. The decoder would fill what is missing with grey, and a
/// prediction of that is worth nothing. The segments before the picture are skipped: a small preview in one of them
/// ends with a marker of its own.
fn jpeg_is_cut_off(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // Behind the start marker.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        match *rest {
            // Fill bytes may stand before a marker.
            [0xff, 0xff, ..] => rest = &rest[1..],
            // From the end, where a whole file has it.
            [0xff, START_OF_SCAN, ..] => return !rest.windows(2).rev().any(|pair| pair == END_OF_IMAGE),
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match rest.get(2 + length..) {
                    Some(next) => rest = next,
                    None => return true,
                }
            }
            [] | [_] | [0xff, _] | [0xff, _, _] => return true,
            // No marker where one must be: damaged in another way, which the decoder will name.
            _ => return false,
        }
    }
}
