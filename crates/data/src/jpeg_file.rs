//! Whether a JPEG file is whole, which its decoders do not say: they fill what is missing with grey.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use jpeg_decoder::ImageInfo;

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

const START_OF_SCAN: u8 = 0xda;

/// By how much the cosine transform can divide the sides of an image.
pub(crate) const FACTORS: [u16; 4] = [1, 2, 4, 8];

/// The last bytes of a file that may not matter to its picture if something else follows it there: what decoders read ahead.
const SPARE: usize = 8;

/// A whole file, up to its end marker; `None` for one that ends before its picture does: a prediction of the grey in place of that is
/// worth nothing.
///
/// A whole file has an end marker after its picture begins. The segments before the picture are skipped: a small preview in one of them
/// ends with a marker of its own. Some telephones put data of their own in the place of the end marker; such a file is whole too, if it
/// is not progressive, as libjpeg has it, and gets its end marker back.
pub(crate) fn whole(bytes: &[u8], side: u32, most: u64) -> Option<Cow<'_, [u8]>> {
    // Behind the start marker.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        match *rest {
            // Fill bytes may stand before a marker.
            [0xff, 0xff, ..] => rest = &rest[1..],
            // From the end, where a whole file has it.
            [0xff, START_OF_SCAN, ..] => {
                if rest.windows(2).rev().any(|pair| pair == END_OF_IMAGE) {
                    return Some(Cow::Borrowed(bytes));
                }
                let end = end_of_scan(bytes, bytes.len() - rest.len(), |bytes, byte| picture(bytes, byte, side, most))?;
                return Some(Cow::Owned([&bytes[..end], &END_OF_IMAGE].concat()));
            }
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match rest.get(2 + length..) {
                    Some(next) => rest = next,
                    None => return None,
                }
            }
            [] | [_] | [0xff, _] | [0xff, _, _] => return None,
            // No marker where one must be: damaged in another way, which the decoder will name.
            _ => return Some(Cow::Borrowed(bytes)),
        }
    }
}

/// Where the only scan of a file, which begins at `scan`, has ended, if it does before the file: then the picture is the same whatever is
/// put in the place of the bytes that follow.
fn end_of_scan(bytes: &[u8], scan: usize, picture: impl Fn(&[u8], u8) -> Option<u64>) -> Option<usize> {
    // The scan's header, then its data up to a marker other than those within data.
    let &[high, low] = bytes.get(scan + 2..)?.first_chunk()?;
    let data = scan + 2 + usize::from(u16::from_be_bytes([high, low]));
    let within = |pair: &[u8]| pair[0] != 0xff || matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
    let marker = bytes.get(data..)?.windows(2).position(|pair| !within(pair)).map(|at| data + at);
    let needed = marker.or_else(|| bytes.len().checked_sub(SPARE)).filter(|&end| end > data)?;
    let zeros = picture(&bytes[..needed], 0x00)?;
    (picture(&bytes[..needed], 0xaa)? == zeros).then_some(needed)
}

/// A number that stands for the picture in a file after which this byte follows; `None` if that is no picture of one scan. At most
/// `most` bytes are taken for it: a large picture is looked at in a smaller size. One with a longer side than is read is left to be
/// refused for that.
fn picture(bytes: &[u8], byte: u8, side: u32, most: u64) -> Option<u64> {
    use jpeg_decoder::{CodingProcess, Decoder};
    let tail = [byte; 4 * SPARE];
    let mut decoder = Decoder::new(bytes.chain(&tail[..]).chain(&END_OF_IMAGE[..]));
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    if info.coding_process != CodingProcess::DctSequential {
        return None;
    }
    if u32::from(info.width.max(info.height)) > side {
        return Some(0);
    }
    for factor in FACTORS {
        let (width, height) = decoder.scale(info.width.div_ceil(factor), info.height.div_ceil(factor)).ok()?;
        if held(width, height, info) <= most {
            let mut hasher = DefaultHasher::new();
            decoder.decode().ok()?.hash(&mut hasher);
            return Some(hasher.finish());
        }
    }
    None
}

/// The bytes that are held while an image becomes one of this size: its planes, and the same again when their colours are joined.
pub(crate) fn held(width: u16, height: u16, info: ImageInfo) -> u64 {
    2 * u64::from(width) * u64::from(height) * info.pixel_format.pixel_bytes() as u64
}
