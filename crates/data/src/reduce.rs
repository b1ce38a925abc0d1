//! Large images at a fraction of their width and height, reduced while they are decoded, so that the whole is never in memory.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use crate::jpeg_file::{FACTORS, held};

/// By how much rows divide width and height: half is always enough for the limits on images.
const FACTOR: usize = 2;

/// An image and by how much its sides were divided.
type Reduced = (DynamicImage, usize);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The image in a file, divided by as little as `limit` bytes allow. Sides are rounded up, and the last pixels of such a side stand for
/// fewer of the file's. `None` where its format, or its form of the format, cannot be decoded by parts.
pub(crate) fn decode(kind: ImageFormat, bytes: &[u8], limit: u64) -> Result<Option<Reduced>, Failure> {
    let halved = match kind {
        ImageFormat::Jpeg => return jpeg(bytes, limit),
        ImageFormat::Png => png(bytes, limit)?,
        ImageFormat::Tiff => match tiff(bytes, limit) {
            // One strip may be too much.
            Err(::tiff::TiffError::LimitsExceeded) => None,
            read => read?,
        },
        _ => None,
    };
    Ok(halved.map(|image| (image, FACTOR)))
}

/// By a cosine transform of fewer points, as libjpeg's `scale_denom`. Not of a progressive file: it keeps all coefficients to its end.
fn jpeg(bytes: &[u8], limit: u64) -> Result<Option<Reduced>, Failure> {
    use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};
    let mut decoder = Decoder::new(bytes);
    decoder.read_info()?;
    let Some(info) = decoder.info() else { return Ok(None) };
    if info.coding_process != CodingProcess::DctSequential {
        return Ok(None);
    }
    for factor in FACTORS.into_iter().skip(1) {
        let (width, height) = decoder.scale(info.width.div_ceil(factor), info.height.div_ceil(factor))?;
        if held(width, height, info) > limit {
            continue;
        }
        let (width, height) = (u32::from(width), u32::from(height));
        let image = match info.pixel_format {
            PixelFormat::L8 => GrayImage::from_raw(width, height, decoder.decode()?).map(DynamicImage::from),
            PixelFormat::RGB24 => RgbImage::from_raw(width, height, decoder.decode()?).map(DynamicImage::from),
            PixelFormat::L16 | PixelFormat::CMYK32 => None,
        };
        return Ok(image.map(|image| (image, factor.into())));
    }
    Ok(None)
}

/// What to do about an image of this format that cannot be reduced.
pub(crate) fn advice(kind: ImageFormat) -> &'static str {
    match kind {
        ImageFormat::Jpeg => "scale it down, or save it as a JPEG file that is neither progressive nor CMYK",
        ImageFormat::Png => "scale it down, or save it as a PNG file that is not interlaced",
        ImageFormat::Tiff => "scale it down, or save it as a TIFF file of strips, or as a JPEG file",
        _ => "scale it down, or save it as a JPEG or PNG file",
    }
}

/// Row by row; not where rows are interlaced.
fn png(bytes: &[u8], limit: u64) -> Result<Option<DynamicImage>, Failure> {
    let limits = ::png::Limits { bytes: usize::try_from(limit).unwrap_or(usize::MAX) };
    let mut decoder = ::png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(::png::Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    if reader.info().interlaced {
        return Ok(None);
    }
    let (width, height) = reader.info().size();
    let (colour, depth) = reader.output_color_type();
    let layout = Layout { samples: colour.samples(), deep: depth == ::png::BitDepth::Sixteen };
    let Some(mut halves) = Halves::new(width, height, layout, limit) else { return Ok(None) };
    while let Some(row) = reader.next_row()? {
        halves.add(row.data());
    }
    Ok(halves.finish())
}

/// Strip by strip; not where the image lies in tiles or its colours in planes.
fn tiff(bytes: &[u8], limit: u64) -> Result<Option<DynamicImage>, ::tiff::TiffError> {
    use ::tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
    use ::tiff::{ColorType, tags::Tag};
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
    let layout = match decoder.colortype()? {
        ColorType::Gray(bits @ (8 | 16)) => Layout { samples: 1, deep: bits == 16 },
        ColorType::RGB(bits @ (8 | 16)) => Layout { samples: 3, deep: bits == 16 },
        ColorType::RGBA(bits @ (8 | 16)) => Layout { samples: 4, deep: bits == 16 },
        _ => return Ok(None),
    };
    let planar = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?.is_some_and(|planes| planes != 1);
    if decoder.get_chunk_type() != ChunkType::Strip || planar {
        return Ok(None);
    }
    let (width, height) = decoder.dimensions()?;
    let Some(mut halves) = Halves::new(width, height, layout, limit) else { return Ok(None) };
    let row = width as usize * layout.samples;
    for strip in 0..decoder.strip_count()? {
        match decoder.read_chunk(strip)? {
            DecodingResult::U8(samples) if !layout.deep => samples.chunks_exact(row).for_each(|row| halves.add(row)),
            DecodingResult::U16(samples) if layout.deep => {
                for row in samples.chunks_exact(row) {
                    // As in a PNG file.
                    halves.add(&row.iter().flat_map(|sample| sample.to_be_bytes()).collect::<Vec<_>>());
                }
            }
            _ => return Ok(None),
        }
    }
    Ok(halves.finish())
}

/// How pixels lie in rows: grey or RGB, each with transparency or without, of 8 or of 16 bits (the higher byte first).
#[derive(Clone, Copy)]
struct Layout {
    samples: usize,
    deep: bool,
}

impl Layout {
    /// Channels without transparency.
    fn channels(self) -> usize {
        if self.samples < 3 { 1 } else { 3 }
    }
}

/// Means of 2x2 pixels of rows that come one after another.
struct Halves {
    width: usize,
    height: usize,
    layout: Layout,
    /// Of the pair of rows that is being read.
    sums: Vec<u32>,
    rows: usize,
    pixels: Vec<u8>,
}

impl Halves {
    /// `None` if the means take more than `limit` bytes.
    fn new(width: u32, height: u32, layout: Layout, limit: u64) -> Option<Halves> {
        let (width, height) = (width as usize, height as usize);
        let row = width.div_ceil(FACTOR).checked_mul(layout.channels())?;
        let bytes = row.checked_mul(height.div_ceil(FACTOR))?;
        (bytes as u64 <= limit).then(|| Halves {
            width,
            height,
            layout,
            sums: vec![0; row],
            rows: 0,
            pixels: Vec::with_capacity(bytes),
        })
    }

    fn add(&mut self, row: &[u8]) {
        if self.rows == self.height {
            return;
        }
        let Layout { samples, deep } = self.layout;
        let (channels, size) = (self.layout.channels(), if deep { 2 } else { 1 });
        for (x, pixel) in row.chunks_exact(samples * size).take(self.width).enumerate() {
            let sums = &mut self.sums[x / FACTOR * channels..][..channels];
            for (sum, sample) in sums.iter_mut().zip(pixel.chunks_exact(size)) {
                // 16 bits become 8 as everywhere: 257 steps are one.
                *sum += match *sample {
                    [high, low] => (u32::from(u16::from_be_bytes([high, low])) + 128) / 257,
                    _ => u32::from(sample[0]),
                };
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(FACTOR) || self.rows == self.height {
            let rows = if self.rows.is_multiple_of(FACTOR) { FACTOR } else { self.rows % FACTOR };
            for (x, sums) in self.sums.chunks_exact_mut(channels).enumerate() {
                let pixels = (rows * (self.width - x * FACTOR).min(FACTOR)) as u32;
                self.pixels.extend(sums.iter().map(|&sum| ((sum + pixels / 2) / pixels) as u8));
                sums.fill(0);
            }
        }
    }

    /// The image, if all rows came.
    fn finish(self) -> Option<DynamicImage> {
        let [width, height] = [self.width, self.height].map(|side| side.div_ceil(FACTOR) as u32);
        match self.layout.channels() {
            1 => GrayImage::from_raw(width, height, self.pixels).map(DynamicImage::from),
            _ => RgbImage::from_raw(width, height, self.pixels).map(DynamicImage::from),
        }
    }
}
