//! Hostile files of PyTorch: no panic, no hang, and no more memory than twice the file.
//!
//! One test, alone in its process: peak memory is counted for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use kiln_nn::StateFile;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What the reader may take besides twice the file: the buffer for the zip archive's directory, values of the pickles, messages.
const OVERHEAD: usize = 256 << 10;

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

/// The places of a file where a change is likely to matter: the opcodes of its pickles, the fields of its archive.
fn places(file: &[u8]) -> Vec<usize> {
    // A pickle from its protocol to its end, and what follows the signatures of a zip archive.
    let starts = |pattern: &'static [u8]| (0..file.len()).filter(move |&at| file[at..].starts_with(pattern));
    let mut places: Vec<usize> = starts(b"PK").flat_map(|at| at..(at + 56).min(file.len())).collect();
    for at in starts(b"\x80\x02").chain(starts(b"\x80\x04")) {
        let end = file[at..].windows(2).position(|pair| pair == b".P" || pair == b"..").unwrap_or(1200);
        places.extend(at..(at + end.max(300)).min(file.len()));
    }
    places
}

/// One change that knows where the fields and opcodes are.
fn mutate(random: &mut Random, file: &mut Vec<u8>, places: &[usize]) {
    let at = if random.below(4) > 0 { random.of(places) } else { random.below(file.len()) };
    let at = at.min(file.len().saturating_sub(1));
    let Some(byte) = file.get_mut(at) else { return };
    match random.below(10) {
        // An opcode, some of which only hostile files have.
        0..=2 => *byte = random.of(b"()tRbQqhjrKMJ\x8aX}]su.ae0N\x85\x86\x87\x88c\x93\x94\x81l2d1"),
        3 => *byte ^= 1 << random.below(8),
        4 => *byte = random.of(&[0, 1, 2, 0x7f, 0x80, 0xff]),
        // A word of four or eight bytes.
        5 | 6 => {
            let wide = random.of(&[4usize, 8]);
            let value = random.of(&[0u64, 1, 0x7fff_ffff, 0x8000_0000, u64::MAX, u64::MAX >> 1, 1 << 40, 1 << 62]);
            let end = (at + wide).min(file.len());
            file[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        7 => {
            // A small number becomes a large one: a size, an offset, a stride, an index.
            let value = random.of(&[
                &b"J\xff\xff\xff\x7f"[..],
                b"J\xff\xff\xff\xff",
                b"\x8a\x08\0\0\0\0\0\0\0\x40",
                b"M\xff\xff",
            ]);
            file.splice(at..(at + 2).min(file.len()), value.iter().copied());
        }
        8 => {
            let (from, length) = (random.below(file.len()), random.below(40));
            let part = file[from..(from + length).min(file.len())].to_vec();
            file.splice(at..at, part);
        }
        _ => {
            let end = (at + random.below(40)).min(file.len());
            file.drain(at..end);
        }
    }
}

/// Not `fs::write`: file systems such as ext4 bring a file to the disk that is emptied and written again.
fn write_over(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

/// Opens a file and reads every tensor, with a watch on memory; whether all could be read.
fn read_watched(path: &Path, file: &[u8], seed: u64) -> bool {
    write_over(path, file);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let whole = StateFile::open(path).is_ok_and(|mut state| {
        let names: Vec<String> = state.names().map(String::from).collect();
        names.iter().all(|name| state.bytes(name).is_ok())
    });
    let taken = MEMORY.peak_usage() - before;
    assert!(taken <= 2 * file.len() + OVERHEAD, "seed {seed}: {taken} bytes taken for a file of {}", file.len());
    whole
}

#[test]
fn hostile_files_neither_panic_nor_take_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch");
    let names = [
        "types_zip",
        "types_legacy",
        "views_zip",
        "views_legacy",
        "checkpoint_zip",
        "checkpoint_legacy",
        "protocol4",
        "averages",
    ];
    let files = names.map(|name| fs::read(folder.join(format!("{name}.pth"))).unwrap());
    let places = files.each_ref().map(|file| places(file));
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mutated.pth");
    for file in &files {
        assert!(read_watched(&path, file, 0));
    }
    let mut accepted = 0;
    for seed in 1..=MUTATIONS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let at = random.below(files.len());
        let mut file = files[at].clone();
        for _ in 0..1 + random.below(3) {
            mutate(&mut random, &mut file, &places[at]);
        }
        accepted += u64::from(read_watched(&path, &file, seed));
    }
    pickles_of_nothing_but_values_take_little();
    // Some changes only touch elements or what is not looked at; a reader that refuses everything would pass otherwise.
    assert!(accepted > MUTATIONS / 50, "{accepted}");
}

/// Megabytes of values, of lists, of marks: each is bounded by the number of values.
fn pickles_of_nothing_but_values_take_little() {
    let legacy =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/torch/types_legacy.pth")).unwrap();
    let third = (0..legacy.len()).filter(|&at| legacy[at..].starts_with(b"\x80\x02")).nth(3).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("many.pth");
    for opcode in [b']', b'N', b'(', b'}', b')'] {
        let mut file = legacy[..third + 2].to_vec();
        file.resize(2 << 20, opcode);
        read_watched(&path, &file, 0);
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{}: a pickle is not read: it makes more values than a state dict has; the file is damaged or cut off: copy or \
                 download it again",
                path.display()
            )
        );
    }
}
