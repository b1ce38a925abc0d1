//! Hostile IDX files: no panic, the right verdict, and no more memory than the file's real contents justify.
//!
//! One test, alone in its process: peak memory is counted for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_data::{Error, idx};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What the reader may take besides the contents: the decompressor's window and tables, messages.
const OVERHEAD: usize = 128 << 10;

const MUTATIONS: u64 = 200_000;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(dimensions: &[u32], elements: usize) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    file.extend(dimensions.iter().flat_map(|dimension| dimension.to_be_bytes()));
    file.extend((0..elements).map(|i| i as u8));
    file
}

/// One change that knows where the fields are.
fn mutate(random: &mut Random, file: &mut Vec<u8>) {
    match random.below(8) {
        // A header word: zero, one, extremes, near its value.
        0..=2 => {
            let word = 4 * random.below(4);
            if let Some(field) = file.get_mut(word..word + 4) {
                let value = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
                let new = match random.below(3) {
                    0 => value.wrapping_add(random.of(&[1, u32::MAX, 2, 256])),
                    1 => random.of(&[0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 16_384, 16_385, 0x0801, 0x0803]),
                    _ => random.next() as u32,
                };
                field.copy_from_slice(&new.to_be_bytes());
            }
        }
        3 => file.truncate(random.below(file.len() + 1)),
        4 => file.extend((0..random.below(40)).map(|i| i as u8)),
        5 => {
            let at = random.below(file.len());
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        6 => {
            let at = random.below(file.len() + 1);
            file.insert(at, random.next() as u8);
        }
        _ => {
            let (from, to) = (random.below(file.len() + 1), random.below(file.len() + 1));
            file.drain(from.min(to)..from.max(to));
        }
    }
}

/// What the format says of a plain file, written without regard to memory or messages.
fn is_valid(file: &[u8], dimensions: usize) -> bool {
    let header = 4 + 4 * dimensions;
    if file.len() < header || file[..4] != [0, 0, 8, dimensions as u8] {
        return false;
    }
    let sizes: Vec<u128> =
        file[4..header].chunks(4).map(|word| word.iter().fold(0, |sum, &byte| sum << 8 | u128::from(byte))).collect();
    let sides = sizes[1..].iter().all(|side| (1..=u128::from(idx::MAX_SIDE)).contains(side));
    sides && sizes.iter().product::<u128>() == (file.len() - header) as u128
}

/// Reads a file of images (three dimensions) or labels (one); the elements that came out.
fn read(file: &[u8], dimensions: usize) -> Result<Vec<u8>, Error> {
    match dimensions {
        1 => idx::labels_from_bytes("mutated", file),
        _ => idx::images_from_bytes("mutated", file).map(|images| {
            assert_eq!(images.count * images.height * images.width, images.pixels.len());
            images.pixels
        }),
    }
}

/// Reads with a watch on memory: at most `allowed` bytes beside the overhead.
fn read_watched(file: &[u8], dimensions: usize, allowed: usize) -> Result<Vec<u8>, Error> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = read(file, dimensions);
    let taken = MEMORY.peak_usage() - before;
    assert!(taken <= allowed + OVERHEAD, "{taken} bytes taken for a file of {} ({result:?})", file.len());
    result
}

#[test]
fn hostile_files_neither_panic_nor_take_memory() {
    let mut accepted = 0;
    for seed in 1..=MUTATIONS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let dimensions = random.of(&[1usize, 3]);
        let mut plain = match dimensions {
            1 => file(&[30], 30),
            _ => file(&[4, 3, 5], 60),
        };
        let packed = random.below(4);
        if packed < 3 {
            for _ in 0..1 + random.below(3) {
                mutate(&mut random, &mut plain);
            }
            let valid = is_valid(&plain, dimensions);
            // By chance the first bytes may become those of gzip, of which `is_valid` knows nothing.
            let gzip_by_chance = plain.starts_with(&[0x1f, 0x8b]);
            let stored = if packed == 0 { gzip(&plain) } else { plain.clone() };
            let result = read_watched(&stored, dimensions, plain.len());
            assert!(gzip_by_chance || result.is_ok() == valid, "seed {seed}: {result:?} for {plain:?}");
            if let Ok(elements) = result {
                assert_eq!(elements, plain[4 + 4 * dimensions..], "seed {seed}");
                accepted += 1;
            }
        } else {
            // Changes to the compressed bytes: the sum in the trailer lets nothing else than the original through.
            let mut stored = gzip(&plain);
            for _ in 0..1 + random.below(2) {
                mutate(&mut random, &mut stored);
            }
            if let Ok(elements) = read_watched(&stored, dimensions, plain.len().max(stored.len())) {
                assert_eq!(elements, plain[4 + 4 * dimensions..], "seed {seed}");
                accepted += 1;
            }
        }
    }
    // Some changes only touch pixels or headers' unused bytes; a reader that refuses everything would pass otherwise.
    assert!(accepted > MUTATIONS / 50, "{accepted}");

    // A header that promises 4 GiB over a short file takes nothing, plain or gzipped.
    let promise = file(&[256, 4_096, 4_096], 1_000);
    for stored in [promise.clone(), gzip(&promise)] {
        assert_eq!(
            read_watched(&stored, 3, 0).unwrap_err().to_string(),
            "mutated: holds 1016 bytes, its header declares 256 images of 4096x4096 pixels: 4294967312 in all; fetch the file again"
        );
    }

    // A bomb: 64 MiB of zeros behind a header that declares 16 bytes.
    let mut bomb = file(&[1, 4, 4], 16);
    bomb.resize(64 << 20, 0);
    let bomb = gzip(&bomb);
    assert_eq!(
        read_watched(&bomb, 3, 0).unwrap_err().to_string(),
        "mutated: holds 33 bytes or more, its header declares 1 image of 4x4 pixels: 32 in all; fetch the file again"
    );

    // A bomb that keeps its word is a large file, and takes its own size once.
    let mut large = file(&[64, 512, 512], 0);
    large.resize(16 + (64 << 18), 0);
    let packed = gzip(&large);
    let size = large.len();
    drop(large);
    assert_eq!(read_watched(&packed, 3, size).unwrap().len(), size - 16);
}
