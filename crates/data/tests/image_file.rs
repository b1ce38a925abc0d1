//! Image files: every format, the limits, damage, and the way to a model's pixels.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, RgbImage, Rgba, RgbaImage};
use kiln_data::ImageFile;

const FORMATS: [(ImageFormat, &str); 7] = [
    (ImageFormat::Png, "PNG"),
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Pnm, "PNM"),
    (ImageFormat::Tiff, "TIFF"),
];

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// 40x30, red to the left, blue to the right.
fn two_colours() -> DynamicImage {
    RgbImage::from_fn(40, 30, |x, _| image::Rgb(if x < 20 { [220, 10, 10] } else { [10, 10, 220] })).into()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encode(&image.into(), ImageFormat::Png)
}

fn error(bytes: &[u8]) -> String {
    ImageFile::from_bytes("f", bytes).unwrap_err().to_string()
}

#[test]
fn every_format_is_read_by_its_content() {
    let dir = tempfile::tempdir().unwrap();
    for (format, name) in FORMATS {
        // The wrong extension on purpose.
        let path = dir.path().join(if name == "PNG" { "image.jpg" } else { "image.png" });
        fs::write(&path, encode(&two_colours(), format)).unwrap();
        let image = ImageFile::open(&path).unwrap();
        assert_eq!((image.width(), image.height(), image.format()), (40, 30, name));
        let pixels = image.pixels([3, 30, 40]).unwrap();
        for (at, colour) in [(5, [220, 10, 10]), (35, [10, 10, 220])] {
            for (channel, value) in colour.into_iter().enumerate() {
                let given = pixels[channel * 1_200 + 15 * 40 + at];
                assert!(given.abs_diff(value) <= 4, "{name}, column {at}, channel {channel}: {given}, not {value}");
            }
        }
    }
}

#[test]
fn every_format_cut_in_half_is_an_error() {
    let noise = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, (x ^ y) as u8]));
    for (format, name) in FORMATS {
        let bytes = encode(&noise.clone().into(), format);
        assert!(ImageFile::from_bytes("whole", &bytes).is_ok(), "{name}");
        for part in [bytes.len() / 2, bytes.len() * 3 / 4, bytes.len() - 64] {
            assert!(ImageFile::from_bytes("cut", &bytes[..part]).is_err(), "{name} cut to {part} of {}", bytes.len());
        }
    }
}

#[test]
fn a_text_file_is_no_image_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cat.png");
    fs::write(&path, "This is a cat.\nReally.\n").unwrap();
    assert_eq!(
        ImageFile::open(&path).unwrap_err().to_string(),
        format!(
            "{}: starts with \"This is a cat.\\nR\", which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file",
            path.display()
        )
    );
    assert_eq!(
        error(b""),
        "f: starts with \"\", which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file"
    );
    // An icon is an image, but no format that is switched on.
    assert_eq!(
        error(&[0, 0, 1, 0, 1, 0]),
        "f: starts with \"\\x00\\x00\\x01\\x00\\x01\\x00\", which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file"
    );
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.png");
    let bytes = png(two_colours());
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(
        ImageFile::open(&path).unwrap_err().to_string(),
        format!(
            "{}: the PNG file cannot be decoded: unexpected end of file; it is damaged or cut off, fetch or save it again",
            path.display()
        )
    );
    let jpeg = encode(&two_colours(), ImageFormat::Jpeg);
    for cut in [jpeg.len() - 2, jpeg.len() / 2, 30, 3] {
        assert_eq!(error(&jpeg[..cut]), "f: the JPEG file has no end marker, it is cut off; fetch it again", "{cut}");
    }
    assert_eq!(ImageFile::from_bytes("f", &[&jpeg[..], b"trailing bytes"].concat()).unwrap().width(), 40);
}

#[test]
fn the_end_marker_of_a_jpeg_preview_does_not_count() {
    let jpeg = encode(&two_colours(), ImageFormat::Jpeg);
    // An application segment that holds a whole small JPEG, as cameras write it.
    let preview = encode(&GrayImage::new(4, 4).into(), ImageFormat::Jpeg);
    let length = (preview.len() as u16 + 2).to_be_bytes();
    // Before it a comment, after a fill byte.
    let comment = b"\xff\xff\xfe\0\x06note";
    let file = [&jpeg[..2], comment, &[0xff, 0xed], &length, &preview, &jpeg[2..]].concat();
    assert_eq!(ImageFile::from_bytes("f", &file).unwrap().height(), 30);
    assert_eq!(error(&file[..file.len() - 100]), "f: the JPEG file has no end marker, it is cut off; fetch it again");
}

#[test]
fn a_jpeg_whose_end_marker_became_a_trailer_is_whole() {
    let noise = RgbImage::from_fn(80, 60, |x, y| image::Rgb([(x * 3 + y * 2) as u8, (x * y / 8) as u8, (x ^ y) as u8]));
    let jpeg = encode(&noise.into(), ImageFormat::Jpeg);
    let pixels = |file: &[u8]| ImageFile::from_bytes("f", file).unwrap().pixels([3, 60, 80]).unwrap();
    let whole = pixels(&jpeg);
    let picture = &jpeg[..jpeg.len() - 2];
    let samsung = b"\0\0\x01\x08\x0e\0\0\0Image_UTC_Data1600000000SEFHk\0\0\0\x01\0\0\0\0\0\x01\x08\x17\0\0\0\x17\0\0\0\x18\0\0\0SEFT";
    // Also with what looks like a marker within.
    for trailer in [&samsung[..], &[0; 64], b"abc\xff\xe1\0\x04ab, and so on", &b"trailer".repeat(100)] {
        assert!(pixels(&[picture, trailer].concat()) == whole, "{}", trailer.escape_ascii());
        // Half of a picture is none, whatever follows.
        let half = [&picture[..picture.len() / 2], &trailer[..trailer.len().min(64)]].concat();
        assert!(ImageFile::from_bytes("f", &half).is_err_and(|error| error.to_string() == CUT_OFF));
    }
    for cut in 0..picture.len() / 2 {
        if cut < 12 || cut % 97 == 0 {
            let cut_off = ImageFile::from_bytes("f", &picture[..picture.len() - cut]);
            assert!(cut_off.is_err_and(|error| error.to_string() == CUT_OFF), "{cut}");
        }
    }
}

#[test]
fn a_jpeg_that_lies_about_its_size_is_refused_before_it_takes_memory() {
    let jpeg = encode(&two_colours(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    // Also without an end marker, where the picture is looked for.
    for end in [&[0xff, 0xd9][..], b"a trailer of a telephone"] {
        let mut file = [&jpeg[..jpeg.len() - 2], end].concat();
        file[frame + 5..frame + 9].fill(0xff);
        let said = error(&file);
        assert!(said.starts_with("f: the image is 65535x65535 pixels and takes "), "{said}");
    }
}

const CUT_OFF: &str = "f: the JPEG file has no end marker, it is cut off; fetch it again";

/// A TIFF file of one strip without compression: its samples mean what `photometric` says, and may be numbers in a map of colours.
fn tiff(
    big_endian: bool,
    photometric: u16,
    bits: u16,
    [width, height]: [u16; 2],
    samples: u16,
    data: &[u8],
    map: &[u16],
) -> Vec<u8> {
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let entries = if map.is_empty() { 9 } else { 10 };
    let map_at = 8 + 2 + 12 * entries + 4;
    let data_at = map_at + 2 * map.len();
    let mut file = [if big_endian { &b"MM"[..] } else { b"II" }, &short(42), &long(8), &short(entries as u16)].concat();
    let mut entry = |tag: u16, kind: u16, count: usize, value: u32| {
        let value = if kind == 3 && count == 1 { [short(value as u16), [0; 2]].concat() } else { long(value).to_vec() };
        file.extend([&short(tag)[..], &short(kind), &long(count as u32), &value].concat());
    };
    for (tag, value) in [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)] {
        entry(tag, 3, 1, value.into());
    }
    entry(273, 4, 1, data_at as u32);
    entry(277, 3, 1, samples.into());
    entry(278, 3, 1, height.into());
    entry(279, 4, 1, data.len() as u32);
    if !map.is_empty() {
        entry(320, 3, map.len(), map_at as u32);
    }
    file.extend(long(0));
    map.iter().for_each(|&value| file.extend(short(value)));
    [&file[..], data].concat()
}

#[test]
fn tiff_files_with_a_palette_are_read() {
    // Width and height; what Pillow's convert("RGB") gives for these files: the higher byte of each colour.
    let [width, height] = [5u16, 3];
    for big_endian in [false, true] {
        for bits in [1u16, 2, 4, 8] {
            let colours = 1usize << bits;
            let value = |at: usize, step: usize, first: usize| (at * step + first) as u16;
            let map: Vec<u16> = [(40_503, 11), (30_011, 500), (20_011, 65_000)]
                .iter()
                .flat_map(|&(step, first)| (0..colours).map(move |at| value(at, step, first)))
                .collect();
            let row = (usize::from(width * bits)).div_ceil(8);
            let data: Vec<u8> = (0..row * 3).map(|at| (at * 73 + 29) as u8).collect();
            let image =
                ImageFile::from_bytes("f", &tiff(big_endian, 3, bits, [width, height], 1, &data, &map)).unwrap();
            let pixels = image.pixels([3, 3, 5]).unwrap();
            for (at, pixel) in (0..15).map(|at| (at, [pixels[at], pixels[15 + at], pixels[30 + at]])) {
                let bit = at % 5 * usize::from(bits);
                let number =
                    usize::from(data[at / 5 * row + bit / 8] >> (8 - usize::from(bits) - bit % 8)) & (colours - 1);
                let expected = [0, 1, 2].map(|channel| (map[channel * colours + number] >> 8) as u8);
                assert_eq!(pixel, expected, "{bits} bits, pixel {at}");
            }
        }
    }
    // Grey of few bits, as Pillow has it, and grey with transparency, which is dropped.
    let grey = |bits, samples, data: &[u8]| {
        let image = ImageFile::from_bytes("f", &tiff(false, 1, bits, [5, 1], samples, data, &[])).unwrap();
        image.pixels([1, 1, 5]).unwrap()
    };
    assert_eq!(grey(2, 1, &[0b0001_1101, 0b0100_0000]), [0, 85, 255, 85, 85]);
    assert_eq!(grey(4, 1, &[0x1d, 0x66, 0xa0]), [17, 221, 102, 102, 170]);
    assert_eq!(grey(8, 2, &[10, 0, 20, 0, 30, 255, 40, 255, 50, 255]), [10, 20, 30, 40, 50]);
}

#[test]
fn a_whole_file_of_a_form_that_is_not_read_is_not_called_damaged() {
    let palette = tiff(false, 3, 8, [2, 2], 1, &[1, 2, 3, 4], &[0; 768]);
    let cut = error(&palette[..palette.len() - 3]);
    assert!(cut.ends_with("; it is damaged or cut off, fetch or save it again"), "{cut}");
    let lab = tiff(false, 9, 8, [2, 1], 3, &[1, 2, 3, 4, 5, 6], &[]);
    let said = error(&lab);
    assert!(said.starts_with("f: the TIFF file is of a form that is not read: "), "{said}");
    assert!(said.ends_with("; save it as a PNG or JPEG file"), "{said}");
}

#[test]
fn images_without_pixels_are_damaged() {
    let mut gif = encode(&two_colours(), ImageFormat::Gif);
    // The width of the screen, and of the first frame.
    gif[6..8].fill(0);
    assert_eq!(
        error(&gif),
        "f: the GIF file cannot be decoded: it declares 0x30 pixels; it is damaged or cut off, fetch or save it again"
    );
}

/// A PNG of these sides whose pixels are not there.
fn png_header(width: u32, height: u32, colour: u8, interlaced: bool) -> Vec<u8> {
    let mut bytes = png(GrayImage::new(1, 1));
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes[25] = colour;
    bytes[28] = interlaced.into();
    // The sum of the header chunk, bit by bit as the PNG specification defines it.
    let sum = !bytes[12..29].iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn images_beyond_the_limits_are_refused_by_the_header_alone() {
    assert_eq!(
        error(&png_header(16_385, 2, 0, false)),
        "f: the image is 16385x2 pixels and takes 32770 bytes decoded, the limits are 16384 pixels a side and 268435456 bytes; scale it down"
    );
    // Read row by row, but these are interlaced.
    assert_eq!(
        error(&png_header(16_384, 16_384, 2, true)),
        "f: the image is 16384x16384 pixels and takes 805306368 bytes decoded, the limits are 16384 pixels a side and 268435456 bytes; scale it down, or save it as a PNG file that is not interlaced"
    );
    assert_eq!(
        error(b"P5 20000 20000 255 "),
        "f: the image is 20000x20000 pixels and takes 400000000 bytes decoded, the limits are 16384 pixels a side and 268435456 bytes; scale it down"
    );
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("wide.png");
    fs::write(&path, png(GrayImage::new(16_385, 1))).unwrap();
    assert_eq!(
        ImageFile::open(&path).unwrap_err().to_string(),
        format!(
            "{}: the image is 16385x1 pixels and takes 16385 bytes decoded, the limits are 16384 pixels a side and 268435456 bytes; scale it down",
            path.display()
        )
    );
    assert_eq!(ImageFile::from_bytes("f", &png(GrayImage::new(16_384, 1))).unwrap().width(), 16_384);
}

#[test]
fn files_beyond_the_limit_are_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.bmp");
    // Without contents: the size is all that the file system keeps.
    fs::File::create(&path).unwrap().set_len((256 << 20) + 2).unwrap();
    assert_eq!(
        ImageFile::open(&path).unwrap_err().to_string(),
        format!(
            "{}: the file has 268435458 bytes, at most 268435456 are read; scale the image down or save it compressed",
            path.display()
        )
    );
}

#[test]
fn paths_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        ImageFile::open(dir.path()).unwrap_err().to_string(),
        format!("{}: is not a regular file; pass the path of a file", dir.path().display())
    );
    let absent = dir.path().join("absent.png");
    let error = ImageFile::open(&absent).unwrap_err();
    let kiln_data::Error::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        error.to_string(),
        format!("{}: cannot be read: {source}; check the path and its permissions", absent.display())
    );
}

#[test]
fn grey_has_the_weights_of_itu_r_601() {
    let image = RgbImage::from_fn(5, 1, |x, _| {
        image::Rgb([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 200, 60]][x as usize])
    });
    // What `PIL.Image.convert("L")` gives for these.
    assert_eq!(ImageFile::from_bytes("f", &png(image)).unwrap().pixels([1, 1, 5]).unwrap(), [76, 150, 29, 255, 127]);
}

#[test]
fn grey_images_keep_their_values_in_every_channel() {
    let grey = GrayImage::from_fn(4, 2, |x, y| Luma([(x * 60 + y * 7) as u8]));
    let image = ImageFile::from_bytes("f", &png(grey.clone())).unwrap();
    assert_eq!(image.pixels([1, 2, 4]).unwrap(), *grey.as_raw());
    assert_eq!(image.pixels([3, 2, 4]).unwrap(), grey.as_raw().repeat(3));

    let deep = image::ImageBuffer::<Luma<u16>, _>::from_fn(4, 2, |x, y| Luma([(x * 60 + y * 7) as u16 * 257]));
    let image = ImageFile::from_bytes("f", &png(DynamicImage::from(deep))).unwrap();
    assert_eq!(image.pixels([1, 2, 4]).unwrap(), *grey.as_raw());
}

#[test]
fn transparency_is_dropped() {
    let image = RgbaImage::from_pixel(1, 1, Rgba([10, 20, 30, 0]));
    let image = ImageFile::from_bytes("f", &png(image)).unwrap();
    assert_eq!(image.pixels([3, 1, 1]).unwrap(), [10, 20, 30]);
}

#[test]
fn resizing_averages_what_it_covers() {
    // A chequerboard of single pixels becomes an even grey, which nearest-neighbour or plain bilinear would miss.
    let board = GrayImage::from_fn(64, 64, |x, y| Luma([if (x + y) % 2 == 0 { 255 } else { 0 }]));
    let image = ImageFile::from_bytes("f", &png(board)).unwrap();
    let small = image.pixels([1, 8, 8]).unwrap();
    assert!(small.iter().all(|&pixel| pixel.abs_diff(128) <= 3), "{small:?}");

    // Enlarging is bilinear: half-way pixels of a step lie between.
    let step = GrayImage::from_vec(2, 1, vec![0, 200]).unwrap();
    let image = ImageFile::from_bytes("f", &png(step)).unwrap();
    assert_eq!(image.pixels([1, 1, 4]).unwrap(), [0, 50, 150, 200]);
    assert_eq!(image.pixels([1, 2, 2]).unwrap(), [0, 200, 0, 200]);
    assert_eq!(image.pixels([3, 1, 4]).unwrap(), [0, 50, 150, 200].repeat(3));
}

#[test]
fn a_cameras_orientation_is_applied() {
    // Exif in a JPEG: one entry, orientation 6 (turn right by 90 degrees to see it upright).
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let jpeg = encode(&two_colours(), ImageFormat::Jpeg);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let file = [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat();
    let image = ImageFile::from_bytes("f", &file).unwrap();
    assert_eq!((image.width(), image.height()), (30, 40));
    let red = image.pixels([3, 40, 30]).unwrap();
    assert!(red[15] > 200 && red[39 * 30 + 15] < 30, "what was left is on top");
}

#[test]
fn shapes_that_no_model_has_are_refused() {
    let image = ImageFile::from_bytes("f", &png(GrayImage::new(1, 1))).unwrap();
    for shape in [[2, 28, 28], [4, 28, 28], [1, 0, 28], [3, 28, 0], [1, 4_097, 1], [1, 1, usize::MAX]] {
        assert_eq!(
            image.pixels(shape).unwrap_err().to_string(),
            format!(
                "f: pixels of shape {shape:?} were asked for; pass [channels, height, width] with 1 (grey) or 3 (RGB) channels and sides from 1 to 4096"
            )
        );
    }
    assert_eq!(image.pixels([1, 4_096, 1]).unwrap().len(), 4_096);
}

#[test]
fn mutated_files_never_panic() {
    let noise = RgbImage::from_fn(12, 9, |x, y| image::Rgb([(x * 37 + y * 101) as u8, (x * y) as u8, (x ^ y) as u8]));
    let files: Vec<Vec<u8>> = FORMATS.iter().map(|(format, _)| encode(&noise.clone().into(), *format)).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for round in 0..21_000 {
        let mut file = files[round % files.len()].clone();
        for _ in 0..1 + below(3) {
            // Half of the changes in the first 64 bytes, where the headers are.
            let reach = if below(2) == 0 { file.len().min(64) } else { file.len() };
            let at = below(reach);
            match below(4) {
                0 => file.truncate(at),
                1 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (round % 8)),
                2 => {
                    file.iter_mut().skip(at).take(1 + round % 4).for_each(|byte| *byte = [0, 1, 0x7f, 0xff][round % 4])
                }
                _ => file.insert(at, round as u8),
            }
        }
        if let Ok(image) = ImageFile::from_bytes("mutated", &file) {
            // Not all that is still an image is small; resizing is slow on those, and another test's concern.
            if image.width() * image.height() < 10_000 {
                assert_eq!(image.pixels([3, 5, 4]).unwrap().len(), 60);
            }
        }
    }
}
