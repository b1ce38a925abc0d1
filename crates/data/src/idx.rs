//! IDX files, the format of MNIST and of the sets made in its likeness: `u8` images and labels, plain or gzipped.
//!
//! A file starts with a magic number (two zero bytes, the type of the elements, the number of dimensions), then each
//! dimension as a big-endian 32-bit number, then the elements. <http://yann.lecun.com/exdb/mnist/> defines it.
//!
//! Files are untrusted. The header is checked against the limits ([`MAX_SIDE`], [`MAX_BYTES`]) and against what the file
//! really holds before memory is taken for the contents. A gzip stream is decompressed twice for this: first through a
//! small buffer, to count its bytes and to check its sum, stopping at the first byte more than declared; then into memory of
//! exactly that size. Gzip is recognised by its first bytes, not by the name.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::classes::Classes;
use crate::dataset::Dataset;
use crate::error::{Error, Result, counted};
use crate::splits::Splits;

/// The largest height or width of an image, in pixels.
pub const MAX_SIDE: u32 = 16_384;

/// The most bytes that the elements of one file may take, decompressed: 4 GiB.
pub const MAX_BYTES: u64 = 4 << 30;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";

/// The images of an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The number of images.
    pub count: usize,
    /// The height of each in pixels.
    pub height: usize,
    /// The width of each in pixels.
    pub width: usize,
    /// The pixels of all images: image, row, column.
    pub pixels: Vec<u8>,
}

/// Reads an IDX file of images (unsigned bytes, three dimensions), plain or gzipped.
///
/// ```no_run
/// let images = kiln_data::idx::read_images("fashion/train-images-idx3-ubyte.gz")?;
/// println!("{} images of {}x{}", images.count, images.height, images.width);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Io`] and [`Error::NotAFile`] for the path; [`Error::Gzip`], [`Error::IdxHeader`], [`Error::IdxMagic`],
/// [`Error::IdxSize`], [`Error::IdxShort`] and [`Error::IdxLong`] for the contents.
pub fn read_images(path: impl AsRef<Path>) -> Result<Images> {
    open(path.as_ref())?.images()
}

/// Reads an IDX file of labels (unsigned bytes, one dimension), plain or gzipped.
///
/// ```no_run
/// let labels = kiln_data::idx::read_labels("fashion/train-labels-idx1-ubyte.gz")?;
/// println!("{} labels", labels.len());
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// As [`read_images`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    open(path.as_ref())?.labels()
}

/// Reads an IDX file of images from memory; `name` stands for the file in errors.
///
/// ```
/// // One image of one row and two columns.
/// let file = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20];
/// let images = kiln_data::idx::images_from_bytes("two pixels", &file)?;
/// assert_eq!((images.count, images.height, images.width), (1, 1, 2));
/// assert_eq!(images.pixels, [10, 20]);
///
/// let error = kiln_data::idx::images_from_bytes("two pixels", &file[..17]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "two pixels: holds 17 bytes, its header declares 1 image of 1x2 pixels: 18 in all; fetch the file again"
/// );
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// As [`read_images`], without those for the path.
pub fn images_from_bytes(name: &str, bytes: &[u8]) -> Result<Images> {
    Input::of_bytes(name, bytes).images()
}

/// Reads an IDX file of labels from memory; `name` stands for the file in errors.
///
/// ```
/// let labels = kiln_data::idx::labels_from_bytes("three labels", &[0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9])?;
/// assert_eq!(labels, [7, 0, 9]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// As [`read_images`], without those for the path.
pub fn labels_from_bytes(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    Input::of_bytes(name, bytes).labels()
}

/// Reads a folder with the four files of a set: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
/// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each plain or with `.gz` (the plain one first).
///
/// They may also lie where torchvision puts them below the folder: in `raw`, `MNIST/raw` and the like. The classes have no names, only
/// numbers, from 0 to the largest label in either part.
///
/// ```no_run
/// let data = kiln_data::idx::read_folder("mnist")?;
/// println!("{} to learn from, {} to measure with", data.train.len(), data.test.len());
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::MissingFile`] if a file is not there, [`Error::SeveralSets`] if there are two sets, [`Error::IdxCounts`] if images and labels do not match,
/// [`Error::ImageShape`] if the test images are of another size than the training images, and what [`read_images`] returns.
pub fn read_folder(dir: impl AsRef<Path>) -> Result<Splits> {
    let (train, test) = read_pairs(dir.as_ref())?;
    let largest = train.labels.iter().chain(&test.labels).max();
    let classes = Classes::numbered(largest.map_or(0, |&label| usize::from(label) + 1));
    splits(train, test, &classes)
}

/// Images, their labels and the file they came from.
pub(crate) struct Pair {
    pub(crate) file: String,
    pub(crate) images: Images,
    pub(crate) labels: Vec<u8>,
}

/// The training and the test files of a folder.
pub(crate) fn read_pairs(dir: &Path) -> Result<(Pair, Pair)> {
    let found = find(dir)?;
    let dir = found.as_deref().unwrap_or(dir);
    let read = |images, labels| pair(open_in(dir, images)?, open_in(dir, labels)?);
    Ok((read(TRAIN_IMAGES, TRAIN_LABELS)?, read("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?))
}

/// The folder with the files of a set: `dir`, or one below it where torchvision puts them.
pub(crate) fn find(dir: &Path) -> Result<Option<PathBuf>> {
    let has = |dir: &PathBuf, name: &str| dir.join(name).is_file() || dir.join(format!("{name}.gz")).is_file();
    let holds_set = |dir: &PathBuf| has(dir, TRAIN_IMAGES) && has(dir, TRAIN_LABELS);
    let own = [dir.to_path_buf(), dir.join("raw")];
    if let Some(found) = own.iter().find(|dir| has(dir, TRAIN_IMAGES)) {
        return Ok(Some(found.clone()));
    }
    let mut below =
        ["MNIST", "FashionMNIST", "KMNIST"].map(|set| dir.join(set).join("raw")).into_iter().filter(holds_set);
    match (below.next(), below.next()) {
        (Some(first), Some(second)) => {
            let [folder, first, second] = [dir, &first, &second].map(|dir| dir.display().to_string());
            Err(Error::SeveralSets { folder, first, second })
        }
        (found, _) => Ok(found),
    }
}

/// Images and labels that are in memory, each with its name.
pub(crate) fn pair_from_bytes(images: (&str, &[u8]), labels: (&str, &[u8])) -> Result<Pair> {
    pair(Input::of_bytes(images.0, images.1), Input::of_bytes(labels.0, labels.1))
}

fn pair<S: BufRead + Seek, T: BufRead + Seek>(mut images: Input<S>, mut labels: Input<T>) -> Result<Pair> {
    // The labels first: they are small, so that damage in them is found before the images are decompressed.
    let labels_read = labels.labels()?;
    let images_read = images.images()?;
    if images_read.count != labels_read.len() {
        return Err(Error::IdxCounts {
            images_file: images.name,
            images: images_read.count,
            labels_file: labels.name,
            labels: labels_read.len(),
        });
    }
    Ok(Pair { file: images.name, images: images_read, labels: labels_read })
}

/// Datasets of both parts, with these classes.
pub(crate) fn splits(train: Pair, test: Pair, classes: &Classes) -> Result<Splits> {
    let size = |pair: &Pair| (pair.images.height, pair.images.width);
    let (train_size, test_size) = (size(&train), size(&test));
    if train_size != test_size {
        return Err(Error::ImageShape {
            what: test.file,
            given: format!("{}x{}", test_size.0, test_size.1),
            needed: format!("the {}x{} of {}", train_size.0, train_size.1, train.file),
            advice: "take both parts from one set",
        });
    }
    let dataset = |pair: Pair| {
        let shape = [pair.images.count, 1, pair.images.height, pair.images.width];
        let labels = pair.labels.into_iter().map(u32::from).collect();
        Dataset::from_memory(pair.images.pixels, shape, labels, classes)
    };
    Ok(Splits::new(dataset(train)?, dataset(test)?))
}

/// What a file of images and a file of labels differ in.
struct Kind {
    name: &'static str,
    magic: u32,
    /// The magic number of the other kind, and what to say when it is met.
    other: (u32, &'static str),
    dimensions: usize,
}

const IMAGES: Kind = Kind {
    name: "images",
    magic: 0x0803,
    other: (0x0801, "this is a file of labels, pass the file of images"),
    dimensions: 3,
};

const LABELS: Kind = Kind {
    name: "labels",
    magic: 0x0801,
    other: (0x0803, "this is a file of images, pass the file of labels"),
    dimensions: 1,
};

/// A header that keeps the limits.
struct Header {
    /// The dimensions; those that the kind lacks are 1.
    dimensions: [u32; 3],
    /// What it declares, in words.
    declared: String,
    /// Bytes of the header.
    bytes: u64,
    /// Bytes of the elements.
    elements: u64,
}

impl Header {
    /// Reads the header at the start of `stream`; `failed` names what a failing read means.
    fn read(file: &str, kind: &Kind, stream: &mut impl Read, failed: impl Fn(io::Error) -> Error) -> Result<Header> {
        let mut buffer = [0; 16];
        let bytes = 4 + 4 * kind.dimensions;
        let mut given = 0;
        while given < bytes {
            match stream.read(&mut buffer[given..bytes]) {
                Ok(0) => break,
                Ok(more) => given += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let word =
            |i: usize| u32::from_be_bytes([buffer[4 * i], buffer[4 * i + 1], buffer[4 * i + 2], buffer[4 * i + 3]]);

        if given >= 4 && word(0) != kind.magic {
            let advice = if word(0) == kind.other.0 { kind.other.1 } else { "pass an IDX file, plain or gzipped" };
            return Err(Error::IdxMagic {
                file: file.to_owned(),
                kind: kind.name,
                given: word(0),
                needed: kind.magic,
                advice,
            });
        }
        if given < bytes {
            return Err(Error::IdxHeader {
                file: file.to_owned(),
                kind: kind.name,
                given: given as u64,
                needed: bytes as u64,
            });
        }

        let mut dimensions = [1; 3];
        for (i, dimension) in dimensions[..kind.dimensions].iter_mut().enumerate() {
            *dimension = word(1 + i);
        }
        let [count, height, width] = dimensions;
        let declared = match kind.dimensions {
            1 => counted(count, "label"),
            _ => format!("{} of {height}x{width} pixels", counted(count, "image")),
        };
        let too_large = |limit| Error::IdxSize { file: file.to_owned(), declared: declared.clone(), limit };
        if ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(too_large("sides from 1 to 16384"));
        }
        let elements = dimensions.iter().try_fold(1u64, |product, &dimension| product.checked_mul(dimension.into()));
        match elements.filter(|&elements| elements <= MAX_BYTES) {
            Some(elements) => Ok(Header { dimensions, declared, bytes: bytes as u64, elements }),
            None => Err(too_large("at most 4294967296 bytes")),
        }
    }

    /// Compares the bytes that are there, header included, with what is declared.
    fn check(&self, file: &str, given: u64, stopped: bool) -> Result<()> {
        let needed = self.bytes + self.elements;
        let (file, declared) = (file.to_owned(), self.declared.clone());
        match given.cmp(&needed) {
            Ordering::Less => Err(Error::IdxShort { file, declared, given, needed }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(Error::IdxLong { file, declared, given, stopped, needed }),
        }
    }

    /// Skips the header and reads the elements, which are known to be there.
    fn elements(&self, file: &str, stream: &mut impl Read, failed: impl Fn(io::Error) -> Error) -> Result<Vec<u8>> {
        let mut header = [0; 16];
        stream.read_exact(&mut header[..self.bytes as usize]).map_err(&failed)?;
        let no_memory = || Error::Memory { what: file.to_owned(), bytes: self.elements };
        let length = usize::try_from(self.elements).map_err(|_| no_memory())?;
        let mut elements = Vec::new();
        elements.try_reserve_exact(length).map_err(|_| no_memory())?;
        elements.resize(length, 0);
        stream.read_exact(&mut elements).map_err(&failed)?;
        Ok(elements)
    }
}

/// An opened file, or bytes, with the name for errors.
struct Input<S> {
    name: String,
    stream: S,
    /// Bytes in the file, as they are stored.
    length: u64,
}

fn open(path: &Path) -> Result<Input<BufReader<File>>> {
    let name = path.display().to_string();
    let failed = |source| Error::Io { file: name.clone(), source };
    // Asked before opening: opening a pipe that nobody writes to would wait.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile { file: name });
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok(Input { name, stream: BufReader::new(file), length })
}

/// Opens `name` or `name.gz` in a folder.
fn open_in(dir: &Path, name: &'static str) -> Result<Input<BufReader<File>>> {
    let candidates = [dir.join(name), dir.join(format!("{name}.gz"))];
    match candidates.iter().find(|path| path.exists()) {
        Some(path) => open(path),
        None => Err(Error::MissingFile { folder: dir.display().to_string(), name }),
    }
}

impl<'a> Input<Cursor<&'a [u8]>> {
    fn of_bytes(name: &str, bytes: &'a [u8]) -> Self {
        Input { name: name.to_owned(), stream: Cursor::new(bytes), length: bytes.len() as u64 }
    }
}

impl<S: BufRead + Seek> Input<S> {
    fn images(&mut self) -> Result<Images> {
        let ([count, height, width], pixels) = self.read(&IMAGES)?;
        Ok(Images { count: count as usize, height: height as usize, width: width as usize, pixels })
    }

    fn labels(&mut self) -> Result<Vec<u8>> {
        Ok(self.read(&LABELS)?.1)
    }

    /// The dimensions and the elements.
    fn read(&mut self, kind: &Kind) -> Result<([u32; 3], Vec<u8>)> {
        let Input { name, stream, length } = self;
        let broken = |source| Error::Io { file: name.clone(), source };
        let damaged = |source| Error::Gzip { file: name.clone(), source };

        stream.rewind().map_err(broken)?;
        let gzipped = stream.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]);
        let (header, elements) = if gzipped {
            // Counted and checked first, keeping nothing; then read into memory of the size that is now known to be right.
            let mut decoder = MultiGzDecoder::new(&mut *stream);
            let header = Header::read(name, kind, &mut decoder, damaged)?;
            let counted = io::copy(&mut decoder.take(header.elements + 1), &mut io::sink()).map_err(damaged)?;
            header.check(name, header.bytes + counted, true)?;
            stream.rewind().map_err(broken)?;
            let elements = header.elements(name, &mut MultiGzDecoder::new(&mut *stream), damaged)?;
            (header, elements)
        } else {
            let header = Header::read(name, kind, stream, broken)?;
            header.check(name, *length, false)?;
            stream.rewind().map_err(broken)?;
            let elements = header.elements(name, stream, broken)?;
            (header, elements)
        };
        Ok((header.dimensions, elements))
    }
}
