//! The cache folder: what may be lost, and is kept only because it takes time to make again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::adapter::AdapterInfo;

/// The folder that devices use unless [`Options::cache_dir`](crate::Options::cache_dir) names another: the one that `KILN_CACHE_DIR`
/// names, or `kiln` in the user's cache folder. `None` where `KILN_CACHE_DIR` is empty or the user has no home.
pub fn folder() -> Option<PathBuf> {
    named(std::env::var_os("KILN_CACHE_DIR").as_deref())
}

fn named(variable: Option<&OsStr>) -> Option<PathBuf> {
    match variable {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(folder.into()),
        None => Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("kiln")),
    }
}

/// An adapter's name and backend as a part of a file's name.
pub fn file_stem(info: &AdapterInfo) -> String {
    let mut stem = info.backend.to_string();
    for word in info.name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        stem.push('-');
        stem.push_str(&word.to_ascii_lowercase());
    }
    // File systems take 255 bytes.
    stem.truncate(128);
    stem
}

/// Reads a file whole; `None` where there is none.
///
/// # Errors
/// The system's, and [`io::ErrorKind::FileTooLarge`] above `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Writes a file so that a reader sees the old one or the new one, and makes its folder if needed. It is not synced to the disk:
/// what a crash loses is made again.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".kiln-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_folder_or_none() {
        assert_eq!(named(Some(OsStr::new("/var/kiln"))), Some(PathBuf::from("/var/kiln")));
        assert_eq!(named(Some(OsStr::new(""))), None);
        assert!(named(None).is_none_or(|folder| folder.ends_with("kiln") && folder.is_absolute()));
    }

    #[test]
    fn files_are_replaced_whole_and_read_up_to_a_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("file");
        assert_eq!(read(&path, 10).unwrap(), None);
        for text in ["first", "second"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(read(&path, 6).unwrap().unwrap(), text.as_bytes());
        }
        assert_eq!(read(&path, 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // Nothing is left beside it.
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(folder.path().join("taken"), "").unwrap();
        assert!(write(&folder.path().join("taken").join("file"), b"").is_err());
    }
}
