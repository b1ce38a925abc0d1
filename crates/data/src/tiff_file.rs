//! TIFF images that the `image` crate leaves out: with a palette, grey of 2 and 4 bits, and grey with transparency.
//!
//! The `tiff` crate reads their strips and tiles, but no palettes. So it is shown a file whose pixels are said to be grey, and the grey
//! values that come out are the numbers of the palette's colours.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use image::{DynamicImage, GrayImage, RgbImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// Where a file says what its samples mean, and two of the answers.
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// The image of a file, with sides of at most `side` pixels that take at most `limit` bytes; `None` where it is of another kind than those
/// above.
pub(crate) fn decode(bytes: &[u8], side: u32, limit: u64) -> Result<Option<DynamicImage>, TiffError> {
    let photometric = photometric(bytes);
    let palette = photometric.filter(|place| place.value == PALETTE);
    let patch = palette.map(|place| (place.at, place.bytes(BLACK_IS_ZERO)));
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new(Patched { file: Cursor::new(bytes), patch })?.with_limits(limits);
    let (width, height) = decoder.dimensions()?;
    let pixels = u64::from(width) * u64::from(height);
    // Three bytes a pixel at the end.
    if width.max(height) > side || pixels.saturating_mul(3) > limit {
        return Err(TiffError::LimitsExceeded);
    }
    let bits = match (decoder.colortype()?, palette) {
        (ColorType::Gray(bits @ (1 | 2 | 4 | 8)), Some(_)) => bits,
        (ColorType::Gray(bits @ (2 | 4)), None) if photometric.is_some_and(|place| place.value == BLACK_IS_ZERO) => {
            bits
        }
        (ColorType::Multiband { bit_depth: 8, num_samples: 2 }, None) => {
            let DecodingResult::U8(samples) = decoder.read_image()? else { return Ok(None) };
            let grey = samples.chunks_exact(2).map(|pair| pair[0]).collect();
            return Ok(GrayImage::from_raw(width, height, grey).map(DynamicImage::from));
        }
        _ => return Ok(None),
    };
    let colours = match palette {
        Some(_) => Some(colours(&decoder.get_tag_u16_vec(Tag::ColorMap)?)),
        None => None,
    };
    let DecodingResult::U8(packed) = decoder.read_image()? else { return Ok(None) };
    let row_bytes = (width as usize * usize::from(bits)).div_ceil(8);
    let mut numbers = Vec::with_capacity(width as usize * height as usize);
    for row in packed.chunks_exact(row_bytes.max(1)).take(height as usize) {
        numbers.extend((0..width as usize).map(|x| number(row, x, bits)));
    }
    Ok(match colours {
        Some(colours) => {
            let rgb =
                numbers.iter().flat_map(|&at| colours.get(usize::from(at)).copied().unwrap_or_default()).collect();
            RgbImage::from_raw(width, height, rgb).map(DynamicImage::from)
        }
        None => {
            let white = 255 / ((1u8 << bits) - 1);
            let grey = numbers.iter().map(|&value| value * white).collect();
            GrayImage::from_raw(width, height, grey).map(DynamicImage::from)
        }
    })
}

/// Number `x` of a row of numbers of 1, 2, 4 or 8 bits, the first in the highest bits.
fn number(row: &[u8], x: usize, bits: u8) -> u8 {
    let first = x * usize::from(bits);
    let shift = 8 - usize::from(bits) - first % 8;
    row.get(first / 8).map_or(0, |byte| (byte >> shift) & (0xff >> (8 - bits)))
}

/// The colours of a map that has all reds, then all greens, then all blues, of 16 bits, of which the higher 8 are taken as Pillow does.
fn colours(map: &[u16]) -> Vec<[u8; 3]> {
    let third = map.len() / 3;
    (0..third).map(|at| [at, third + at, 2 * third + at].map(|at| (map[at] >> 8) as u8)).collect()
}

/// Where a number of 16 bits lies.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    value: u16,
    little: bool,
}

impl Place {
    fn bytes(self, value: u16) -> [u8; 2] {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// Where the first image of a file says what its samples mean, in the classic form and in BigTIFF.
fn photometric(bytes: &[u8]) -> Option<Place> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| -> Option<u64> {
        let part = bytes.get(at..at.checked_add(length)?)?;
        let shifted = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little { part.iter().rev().fold(0, shifted) } else { part.iter().fold(0, shifted) })
    };
    // The sizes of an address, of the number of entries, and of an entry.
    let (first, address, count, entry) = match number(2, 2)? {
        42 => (4, 4, 2, 12),
        43 => (8, 8, 8, 20),
        _ => return None,
    };
    let directory = usize::try_from(number(first, address)?).ok()?;
    let entries = usize::try_from(number(directory, count)?).ok()?.min(usize::from(u16::MAX));
    for index in 0..entries {
        let at = directory.checked_add(count + index * entry)?;
        if number(at, 2)? == u64::from(PHOTOMETRIC) {
            let at = at + entry - address;
            return Some(Place { at: at as u64, value: number(at, 2)? as u16, little });
        }
    }
    None
}

/// A file in memory in which two bytes read as others.
struct Patched<'a> {
    file: Cursor<&'a [u8]>,
    patch: Option<(u64, [u8; 2])>,
}

impl Read for Patched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.file.position();
        let read = self.file.read(buffer)?;
        if let Some((at, bytes)) = self.patch {
            for (at, byte) in (at..).zip(bytes) {
                let inside = at.checked_sub(start).and_then(|at| buffer[..read].get_mut(usize::try_from(at).ok()?));
                if let Some(inside) = inside {
                    *inside = byte;
                }
            }
        }
        Ok(read)
    }
}

impl Seek for Patched<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
