//! CIFAR-10 and CIFAR-100 (A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009) in their binary version:
//! records of one or two labels and 32x32 pixels, plane by plane. <https://www.cs.toronto.edu/~kriz/cifar.html> defines it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::splits::Splits;

/// The bytes of an image.
const IMAGE: usize = 3 * 32 * 32;

/// The most bytes of a file: about 350,000 images.
const MAX_BYTES: u64 = 1 << 30;

const CIFAR10: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads CIFAR-10: a folder with `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
///
/// ```no_run
/// let data = kiln_data::read_cifar10("cifar-10-batches-bin")?;
/// assert_eq!((data.train.len(), data.train.class_name(3)), (50_000, Some("cat")));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::MissingCifarFile`], [`Error::CifarSize`] for a file that does not hold whole records, [`Error::Label`] for a label over
/// 9, [`Error::Io`], [`Error::Memory`].
pub fn read_cifar10(dir: impl AsRef<Path>) -> Result<Splits> {
    let dir = dir.as_ref();
    let batches: Vec<String> = (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect();
    let batches: Vec<&str> = batches.iter().map(String::as_str).collect();
    let classes = CIFAR10.map(String::from);
    Ok(Splits::new(part(dir, &batches, 1, &classes)?, part(dir, &["test_batch.bin"], 1, &classes)?))
}

/// Reads CIFAR-100 with its hundred fine labels: a folder with `train.bin`, `test.bin` and `fine_label_names.txt`.
///
/// ```no_run
/// let data = kiln_data::read_cifar100("cifar-100-binary")?;
/// assert_eq!(data.train.classes().len(), 100);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// As [`read_cifar10`]; a label beyond the names is an [`Error::Label`].
pub fn read_cifar100(dir: impl AsRef<Path>) -> Result<Splits> {
    let dir = dir.as_ref();
    let names = bytes(dir, "fine_label_names.txt")?;
    let names = String::from_utf8_lossy(&names);
    let classes: Vec<String> = names.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    Ok(Splits::new(part(dir, &["train.bin"], 2, &classes)?, part(dir, &["test.bin"], 2, &classes)?))
}

/// The folder of CIFAR-10's files: `dir`, or the one below it that the archive has.
pub(crate) fn find_cifar10(dir: &Path) -> Result<Option<PathBuf>> {
    find(
        dir,
        "cifar-10-batches-bin",
        "data_batch_1.bin",
        "cifar-10-batches-py",
        &["data_batch_1"],
        "cifar-10-binary.tar.gz",
    )
}

/// The folder of CIFAR-100's files, likewise.
pub(crate) fn find_cifar100(dir: &Path) -> Result<Option<PathBuf>> {
    find(
        dir,
        "cifar-100-binary",
        "train.bin",
        "cifar-100-python",
        &["train", "test", "meta"],
        "cifar-100-binary.tar.gz",
    )
}

/// Finds the file `binary` in `dir`, or in its folder `below`. Fails where there are only the files for Python.
fn find(
    dir: &Path,
    below: &str,
    binary: &str,
    python_below: &str,
    python: &[&str],
    archive: &'static str,
) -> Result<Option<PathBuf>> {
    if let Some(found) = [dir.to_path_buf(), dir.join(below)].into_iter().find(|dir| dir.join(binary).is_file()) {
        return Ok(Some(found));
    }
    let for_python = |dir: &&PathBuf| python.iter().all(|name| dir.join(name).is_file());
    match [dir.to_path_buf(), dir.join(python_below)].iter().find(for_python) {
        Some(found) => Err(Error::PythonCifar { folder: found.display().to_string(), file: archive }),
        None => Ok(None),
    }
}

/// The images of some files. Each has `labels` labels before it, of which the last counts.
fn part(dir: &Path, files: &[&str], labels: usize, classes: &[String]) -> Result<Dataset> {
    let record = labels + IMAGE;
    let (mut pixels, mut own) = (Vec::new(), Vec::new());
    for name in files {
        let bytes = bytes(dir, name)?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let file = dir.join(name).display().to_string();
            return Err(Error::CifarSize { file, given: bytes.len() as u64, record: record as u64, limit: MAX_BYTES });
        }
        let no_memory = |_| Error::Memory { what: dir.join(name).display().to_string(), bytes: bytes.len() as u64 };
        pixels.try_reserve(bytes.len()).map_err(no_memory)?;
        for record in bytes.chunks_exact(record) {
            own.push(u32::from(record[labels - 1]));
            pixels.extend_from_slice(&record[labels..]);
        }
    }
    Dataset::from_memory(pixels, [own.len(), 3, 32, 32], own, classes)
}

/// A file of the set.
fn bytes(dir: &Path, name: &str) -> Result<Vec<u8>> {
    let path = dir.join(name);
    let file = || path.display().to_string();
    let failed = |source| Error::Io { file: file(), source };
    let length = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => return Err(Error::MissingCifarFile { folder: dir.display().to_string(), name: name.to_owned() }),
    };
    if length > MAX_BYTES {
        return Err(Error::CifarSize { file: file(), given: length, record: IMAGE as u64 + 1, limit: MAX_BYTES });
    }
    let mut bytes = Vec::new();
    File::open(&path).map_err(failed)?.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
