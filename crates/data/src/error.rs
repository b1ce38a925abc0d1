//! The errors of this crate: each says what was given, what is needed and what to change.

use std::fmt::Display;
use std::io;

use crate::splits::Part;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a file and a batch.
///
/// `file` is the path as it was given, or the name that was given with bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not open or read a file.
    #[error("{file}: cannot be read: {source}; check the path and its permissions")]
    Io {
        /// The file.
        file: String,
        /// What the operating system says.
        source: io::Error,
    },

    /// A folder, a device or a pipe was given where a file is needed.
    #[error("{file}: is not a regular file; pass the path of a file")]
    NotAFile {
        /// The path.
        file: String,
    },

    /// A folder lacks a file of a dataset.
    #[error("{folder}: has neither {name} nor {name}.gz; pass the folder that holds the four IDX files of the set")]
    MissingFile {
        /// The folder.
        folder: String,
        /// The name of the file without `.gz`.
        name: &'static str,
    },

    /// A gzip stream is cut off or its checksum does not match.
    #[error("{file}: the gzip stream is damaged: {source}; fetch the file again")]
    Gzip {
        /// The file.
        file: String,
        /// What the decompressor says.
        source: io::Error,
    },

    /// An IDX file ends inside its header.
    #[error("{file}: ends after {}, the header of an IDX {kind} file takes {needed}; fetch the file again", counted(*.given, "byte"))]
    IdxHeader {
        /// The file.
        file: String,
        /// `images` or `labels`.
        kind: &'static str,
        /// Bytes that are there.
        given: u64,
        /// Bytes of the header.
        needed: u64,
    },

    /// A file does not start as an IDX file of the wanted kind does.
    #[error("{file}: starts with 0x{given:08x}, an IDX {kind} file starts with 0x{needed:08x}; {advice}")]
    IdxMagic {
        /// The file.
        file: String,
        /// `images` or `labels`.
        kind: &'static str,
        /// The first four bytes as a big-endian number.
        given: u32,
        /// The number that is needed.
        needed: u32,
        /// What to do.
        advice: &'static str,
    },

    /// An IDX header declares images with a side of zero, or more than this reader takes.
    #[error(
        "{file}: declares {declared}, the reader takes {limit}; the header is damaged or the file is not an IDX file"
    )]
    IdxSize {
        /// The file.
        file: String,
        /// What the header declares.
        declared: String,
        /// What is taken.
        limit: &'static str,
    },

    /// An IDX file holds less than its header declares.
    #[error(
        "{file}: holds {}, its header declares {declared}: {needed} in all; fetch the file again",
        counted(*.given, "byte")
    )]
    IdxShort {
        /// The file.
        file: String,
        /// What the header declares.
        declared: String,
        /// Bytes that are there, decompressed, with the header.
        given: u64,
        /// Bytes that are needed, with the header.
        needed: u64,
    },

    /// An IDX file holds more than its header declares. Decompression stops at the first byte too many.
    #[error(
        "{file}: holds {}{}, its header declares {declared}: {needed} in all; fetch the file again",
        counted(*.given, "byte"),
        if *.stopped { " or more" } else { "" }
    )]
    IdxLong {
        /// The file.
        file: String,
        /// What the header declares.
        declared: String,
        /// Bytes that were seen, decompressed, with the header.
        given: u64,
        /// Whether decompression was stopped, so that there may be more.
        stopped: bool,
        /// Bytes that are needed, with the header.
        needed: u64,
    },

    /// The machine has not the memory that a file or an image needs.
    #[error("{what}: {bytes} bytes of memory are not to be had; free memory, or use smaller images or fewer")]
    Memory {
        /// The file, or which image.
        what: String,
        /// The bytes that were asked for.
        bytes: u64,
    },

    /// Two IDX files do not belong together.
    #[error(
        "{images_file} holds {} and {labels_file} holds {}; pass the two files of one set",
        counted(*.images, "image"),
        counted(*.labels, "label")
    )]
    IdxCounts {
        /// The file of images.
        images_file: String,
        /// Their number.
        images: usize,
        /// The file of labels.
        labels_file: String,
        /// Their number.
        labels: usize,
    },

    /// The images of a set are of another size than is needed.
    #[error("{what}: the images are {given}, {needed} is needed; {advice}")]
    ImageShape {
        /// Which images.
        what: String,
        /// Their size.
        given: String,
        /// The size that is needed.
        needed: String,
        /// What to do.
        advice: &'static str,
    },

    /// The pixels given for an image do not fill its shape.
    #[error("image: {} for the shape {shape:?}; pass channels * height * width of them, at least one", counted(*.given, "pixel"))]
    ImagePixels {
        /// The shape [c, h, w].
        shape: [usize; 3],
        /// How many are given.
        given: usize,
    },

    /// Transforms that cannot be done, or not on these images.
    #[error("transforms: {message}")]
    Transforms {
        /// What was given, what is needed, what to change.
        message: String,
    },

    /// A target that cannot be, or does not fit its image.
    #[error("target: {message}")]
    Target {
        /// What was given, what is needed.
        message: String,
    },

    /// A loader's settings that cannot be.
    #[error("loader: {message}")]
    Loader {
        /// What was given, what is needed, what to change.
        message: String,
    },

    /// Several samples that cannot be read were found before the first batch.
    #[error("{count} of {} cannot be read, the first because: {first}", counted(*.samples, "image"))]
    Unreadable {
        /// How many.
        count: usize,
        /// How many were looked at.
        samples: usize,
        /// Why the first cannot be read, with the name of its file.
        first: String,
    },

    /// Not one readable image was left in a whole epoch.
    #[error(
        "loader: none of {} could be read, the last one because: {last}; check the dataset's files",
        counted(*.samples, "sample")
    )]
    NothingReadable {
        /// How many were tried.
        samples: usize,
        /// Why the last one could not be read.
        last: String,
    },

    /// A folder of class folders without any.
    #[error(
        "{folder}: has no class folders; pass a folder that holds a folder of images for each class, or such in train and val \
         or test"
    )]
    NoClasses {
        /// The folder.
        folder: String,
    },

    /// A set that is to be learned from has no training part.
    #[error("{what}: has no training part; name the folder, or the split, of the training images train")]
    NoTrainingPart {
        /// The folder or file.
        what: String,
    },

    /// Two folders are the same part.
    #[error("{first} and {second} are both the {part} part; put them into one folder, or rename one")]
    SeveralParts {
        /// Which part.
        part: Part,
        /// One folder.
        first: String,
        /// The other.
        second: String,
    },

    /// The names of two class folders are the same but for characters that are not Unicode.
    #[error(
        "{folder}: the name of this class is not Unicode, and another folder's is the same where it is; rename one"
    )]
    ClassName {
        /// The class's folder.
        folder: String,
    },

    /// Classes that are not among those that are known.
    #[error("no class is named {unknown}; the known classes are {known}; rename the others, or leave them out")]
    ClassesDiffer {
        /// The classes that are not known, at most six of them by name.
        unknown: String,
        /// Those that are, likewise.
        known: String,
    },

    /// A set of a single class, which there is nothing to tell from.
    #[error("{what}: has only one class, {class:?}; pass at least two")]
    OneClass {
        /// The folder or file.
        what: String,
        /// The class.
        class: String,
    },

    /// A class folder without images.
    #[error("{folder}: this class has no images; put some into its folder, or remove it")]
    EmptyClass {
        /// The class's folder.
        folder: String,
    },

    /// A class of the test part that the training part does not have.
    #[error("{folder}: the training part has no class {class:?}; give both parts the same classes")]
    UnknownClass {
        /// The test part's folder.
        folder: String,
        /// The class.
        class: String,
    },

    /// A class that was asked for has no folder.
    #[error("{folder}: has no folder {class:?}; its classes are {known}")]
    MissingClass {
        /// The folder.
        folder: String,
        /// The class that was asked for.
        class: String,
        /// The classes that there are.
        known: String,
    },

    /// A CSV file that is not a list of paths and labels.
    #[error("{file}, line {line}: {message}")]
    Csv {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What was given, what is needed, what to change.
        message: String,
    },

    /// A folder lacks a file of CIFAR's binary version.
    #[error("{folder}: has no {name}; pass the folder that holds the files of the set's binary version")]
    MissingCifarFile {
        /// The folder.
        folder: String,
        /// The file's name.
        name: String,
    },

    /// The files of CIFAR that are made for Python.
    #[error(
        "{folder}: holds CIFAR's files for Python, which are not read; fetch the binary version, {file}, from \
         https://www.cs.toronto.edu/~kriz/cifar.html"
    )]
    PythonCifar {
        /// The folder.
        folder: String,
        /// The archive to fetch.
        file: &'static str,
    },

    /// A folder holds several sets.
    #[error("{folder}: holds several sets, {first} and {second}; pass the path of one")]
    SeveralSets {
        /// The folder.
        folder: String,
        /// One set.
        first: String,
        /// Another.
        second: String,
    },

    /// A CIFAR file that does not hold whole records.
    #[error(
        "{file}: holds {}, needs a multiple of {record}, at least one and at most {limit} bytes; fetch the file again",
        counted(*.given, "byte")
    )]
    CifarSize {
        /// The file.
        file: String,
        /// Its bytes.
        given: u64,
        /// The bytes of a record.
        record: u64,
        /// The most that is read.
        limit: u64,
    },

    /// An image that a transform cannot be applied to.
    #[error("{what}: {message}")]
    Transform {
        /// Which image.
        what: String,
        /// What was given, what is needed, what to change.
        message: String,
    },

    /// The pixels or labels given for a dataset do not fill its shape.
    #[error("dataset: shape {shape:?} needs {what}: {needed}, given: {given}; pass as many as the shape says")]
    DatasetLength {
        /// The shape [n, c, h, w].
        shape: [usize; 4],
        /// `pixels` or `labels`.
        what: &'static str,
        /// How many are needed.
        needed: usize,
        /// How many are given.
        given: usize,
    },

    /// A dataset's images have no pixels, or more than this machine can address.
    #[error(
        "dataset: {shape:?} is no usable shape; every side of an image must be at least 1 and all pixels addressable"
    )]
    DatasetShape {
        /// The shape that was given.
        shape: Vec<usize>,
    },

    /// A label names no class.
    #[error(
        "dataset: sample {index} has label {label} of {}; labels go from 0 to one less than the number of classes",
        counted(*.classes, "class")
    )]
    Label {
        /// The first sample with such a label.
        index: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },

    /// A sample beyond the end of a dataset was asked for.
    #[error("dataset: no sample {index} in a set of length {len}; indices go from 0 to one less than the length")]
    Index {
        /// The index that was given.
        index: usize,
        /// The number of samples.
        len: usize,
    },

    /// A dataset without samples where at least one is needed.
    #[error("{operation}: the dataset is empty; pass one with at least one sample")]
    Empty {
        /// What was asked for.
        operation: &'static str,
    },

    /// A fraction outside 0 to 1.
    #[error("split: the fraction is {fraction}; pass a number from 0 to 1")]
    Fraction {
        /// The number that was given.
        fraction: f64,
    },

    /// A loader was asked for batches of no samples.
    #[error("loader: the batch size is 0; pass at least 1")]
    BatchSize,

    /// A batch is larger than this machine can address or allocate.
    #[error(
        "loader: a batch of {} of {shape:?} does not fit in memory; pass a smaller batch size or fewer batches to prefetch",
        counted(*.samples, "image")
    )]
    BatchMemory {
        /// Samples in the batch.
        samples: usize,
        /// The shape [c, h, w] of one image.
        shape: [usize; 3],
    },

    /// The system would not start a worker thread.
    #[error(
        "loader: worker thread {worker} could not be started: {source}; pass fewer workers, or 0 to load on the calling thread"
    )]
    Thread {
        /// The number of the worker, from 0.
        worker: usize,
        /// What the operating system says.
        source: io::Error,
    },

    /// A [`Source`](crate::Source) panicked while it read a sample.
    #[error(
        "loader: the dataset's source panicked at sample {index}: {message}; let its `read` return an error instead"
    )]
    SourcePanicked {
        /// The sample in the source.
        index: usize,
        /// The panic's message.
        message: String,
    },

    /// A [`Source`](crate::Source) of the user's own failed; made by [`Error::source`].
    #[error("{what}: {source}")]
    Source {
        /// Which item failed.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A file is in no format that is read here. The content decides, never the name.
    #[error("{file}: starts with \"{start}\", which is no known image format; pass a {formats} file")]
    ImageFormat {
        /// The file.
        file: String,
        /// Its first bytes, escaped.
        start: String,
        /// The formats that are read.
        formats: &'static str,
    },

    /// An image file is larger than is read.
    #[error("{file}: the file has {given} bytes, at most {limit} are read; scale the image down or save it compressed")]
    ImageFileSize {
        /// The file.
        file: String,
        /// Its size.
        given: u64,
        /// The largest size.
        limit: u64,
    },

    /// An image is larger than is decoded, and cannot be reduced while it is. Found in the header, before any pixel is decoded.
    #[error(
        "{file}: the image is {width}x{height} pixels and takes {bytes} bytes decoded, the limits are {max_side} pixels a side and {max_bytes} bytes; {advice}"
    )]
    ImageTooLarge {
        /// The file.
        file: String,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// Bytes that the decoded image would take.
        bytes: u64,
        /// The largest side.
        max_side: u32,
        /// The most bytes.
        max_bytes: u64,
        /// What to do.
        advice: &'static str,
    },

    /// An image file is cut off.
    #[error("{file}: the {format} file has no end marker, it is cut off; fetch it again")]
    ImageTruncated {
        /// The file.
        file: String,
        /// Its format.
        format: &'static str,
    },

    /// An image file, which may be whole, uses what is not read of its format.
    #[error("{file}: the {format} file is of a form that is not read: {source}; save it as a PNG or JPEG file")]
    ImageUnsupported {
        /// The file.
        file: String,
        /// Its format.
        format: &'static str,
        /// What the decoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An image file is damaged.
    #[error("{file}: the {format} file cannot be decoded: {source}; it is damaged or cut off, fetch or save it again")]
    ImageDecode {
        /// The file.
        file: String,
        /// Its format.
        format: &'static str,
        /// What the decoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An image was asked for in a shape that it cannot be brought to.
    #[error(
        "{file}: pixels of shape {shape:?} were asked for; pass [channels, height, width] with 1 (grey) or 3 (RGB) channels and sides from 1 to {max_side}"
    )]
    ImageOutput {
        /// The file.
        file: String,
        /// The shape [c, h, w] that was asked for.
        shape: [usize; 3],
        /// The largest side.
        max_side: usize,
    },
}

impl Error {
    /// Whether it is about samples that cannot be read, which [`Unreadable::Skip`](crate::Unreadable::Skip) would leave out. An
    /// [`Error::Io`] counts as such, as it is when batches are made; it may also be of a folder or a list.
    pub fn is_unreadable_sample(&self) -> bool {
        matches!(
            self,
            Error::Io { .. }
                | Error::NotAFile { .. }
                | Error::ImageFormat { .. }
                | Error::ImageFileSize { .. }
                | Error::ImageTooLarge { .. }
                | Error::ImageTruncated { .. }
                | Error::ImageDecode { .. }
                | Error::Unreadable { .. }
        )
    }

    /// Wraps the error of a user's own [`Source`](crate::Source).
    ///
    /// ```
    /// use kiln_data::Error;
    /// let error = Error::source("row 7 of cats.db", "the column 'image' is empty");
    /// assert_eq!(error.to_string(), "row 7 of cats.db: the column 'image' is empty");
    /// ```
    pub fn source(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Source { what: what.into(), source: source.into() }
    }
}

/// A number of things, of which `one` names one: `1 class`, `2 classes`, `0 images`.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    let ending = match one.ends_with('s') {
        _ if number == N::from(1) => "",
        true => "es",
        false => "s",
    };
    format!("{number} {one}{ending}")
}
