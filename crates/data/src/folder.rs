//! A folder with a folder of images for each class, as `torchvision.datasets.ImageFolder` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Splits};
use crate::error::{Error, Result};
use crate::files::ReadOptions;

/// The training part, and the names that the test part may have, the first that is there.
const TRAIN: &str = "train";
const TEST: [&str; 4] = ["val", "valid", "validation", "test"];

/// How deep folders within a class are followed.
const MAX_DEPTH: usize = 16;

/// What operating systems leave in folders of images.
const LITTER: [&str; 2] = ["Thumbs.db", "desktop.ini"];

/// Reads a folder that holds a folder of images for each class, or two such folders, `train` and `val` (or `valid`, `validation`,
/// `test`, the first that is there). Without a test part, a part of each class becomes it.
///
/// Classes are the folders' names in alphabetical order (of their bytes), those of the training part. Every file in a class's
/// folder, or below it, is a sample, whatever its name: what is no image is an error when it is read, or skipped
/// ([`Loader::unreadable`](crate::Loader::unreadable)). Left out are only hidden files (`.` first) and `Thumbs.db` and
/// `desktop.ini`. Images are decoded when they are needed.
///
/// # Errors
///
/// [`Error::NoClasses`], [`Error::OneClass`], [`Error::EmptyClass`], [`Error::UnknownClass`], [`Error::MissingClass`], [`Error::Io`] for a folder that cannot
/// be listed, [`Error::Transforms`] for a size that images cannot have, [`Error::Fraction`].
pub fn read_folder(dir: impl AsRef<Path>, options: &ReadOptions) -> Result<Splits> {
    let dir = dir.as_ref();
    let train = dir.join(TRAIN);
    if !train.is_dir() {
        return options.split(&part(dir, None, options)?);
    }
    let train = part(&train, None, options)?;
    match TEST.iter().map(|name| dir.join(name)).find(|path| path.is_dir()) {
        Some(test) => Ok(Splits { test: part(&test, Some(train.classes()), options)?, train }),
        None => options.split(&train),
    }
}

/// One part: its own classes, or a part of those that are known.
fn part(dir: &Path, known: Option<&[String]>, options: &ReadOptions) -> Result<Dataset> {
    let folder = || dir.display().to_string();
    let mut folders = BTreeMap::new();
    for (name, path) in list(dir)? {
        if path.is_dir() {
            folders.insert(name, path);
        }
    }
    if let Some(wanted) = options.wanted() {
        if let Some(class) = wanted.iter().find(|class| !folders.contains_key(*class)) {
            let known = folders.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::MissingClass { folder: folder(), class: class.clone(), known });
        }
        folders.retain(|name, _| wanted.contains(name));
    }
    let classes: Vec<String> = match known {
        Some(classes) => classes.to_vec(),
        None => folders.keys().cloned().collect(),
    };
    match classes.as_slice() {
        [] => return Err(Error::NoClasses { folder: folder() }),
        [class] => return Err(Error::OneClass { what: folder(), class: class.clone() }),
        _ => {}
    }
    let mut files = Vec::new();
    for (class, path) in &folders {
        let label = classes.binary_search(class);
        let label = label.map_err(|_| Error::UnknownClass { folder: folder(), class: class.clone() })?;
        let before = files.len();
        collect(path, label as u32, 0, &mut files)?;
        if files.len() == before {
            return Err(Error::EmptyClass { folder: path.display().to_string() });
        }
    }
    if files.is_empty() {
        return Err(Error::NoClasses { folder: folder() });
    }
    options.dataset(files, &classes)
}

/// All files in a folder and below it, in the order of their names.
fn collect(dir: &Path, label: u32, depth: usize, files: &mut Vec<(PathBuf, u32)>) -> Result<()> {
    for (_, path) in list(dir)? {
        // A link to a folder may lead back up.
        if path.is_dir() {
            if depth < MAX_DEPTH && !path.is_symlink() {
                collect(&path, label, depth + 1, files)?;
            }
        } else {
            files.push((path, label));
        }
    }
    Ok(())
}

/// What a folder holds, in the order of the names; neither hidden files nor litter.
fn list(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |source| Error::Io { file: dir.display().to_string(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !LITTER.contains(&name.as_str()) {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}
