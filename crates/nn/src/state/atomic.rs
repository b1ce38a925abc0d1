//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a file so that a crash at any moment leaves the old file or the new one: a temporary file in the same folder is
/// written, synced and renamed, and the folder is synced (on Unix; elsewhere the rename is the file system's promise).
///
/// # Errors
/// [`Error::Io`]; the old file is then as it was.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    replace(path, |mut file| file.write_all(bytes).map_err(failed(path, "write")))
}

/// The error of an action on a file.
pub(super) fn failed(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { file: path.display().to_string(), action, source }
}

/// Puts a file in the place of another once all of it is written.
pub(super) fn replace(path: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let failed = |action| failed(path, action);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kiln-").suffix(".tmp");
    // Temporary files are private; this one becomes an ordinary file, whose permissions the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(failed("write a temporary file beside it"))?;
    write(file.as_file())?;
    file.as_file().sync_all().map_err(failed("sync"))?;
    file.persist(path).map_err(|error| failed("rename the temporary file to it")(error.error))?;
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of"))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write_atomically(&path, b"old").unwrap();
        for room in 0..20 {
            let error = replace(&path, |mut file| {
                file.write_all(&vec![1; room * 1_000]).unwrap();
                Err(failed(&path, "write")(io::Error::from(io::ErrorKind::StorageFull)))
            });
            let error = error.unwrap_err();
            assert!(matches!(&error, Error::Io { action: "write", .. }), "{error:?}");
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
