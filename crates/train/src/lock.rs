//! One run to a folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};

/// The file of a run's folder that is locked as long as a run writes there. It stays, empty of meaning, when the run is over.
pub const LOCK_FILE: &str = ".kiln.lock";

/// The right to write into a run's folder, which one run has at a time, in whatever process. [`Trainer::run`](crate::Trainer::run)
/// takes it for its folder; a program takes it itself, and gives it to [`Trainer::locked`](crate::Trainer::locked), where it has
/// files of its own to write or to remove there first.
///
/// It is an advisory lock of the system on [`LOCK_FILE`], so it ends with the process, however that ends. Clones are the same lock;
/// it is free again once all are dropped. A file system that has no locks gives none, and the run goes on without.
///
/// ```
/// use kiln_train::{Error, FolderLock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runs = tempfile::tempdir()?;
/// let folder = runs.path().join("first");
/// let lock = FolderLock::take(&folder)?;
/// assert!(matches!(FolderLock::take(&folder), Err(Error::Locked { .. })));
/// drop(lock);
/// FolderLock::take(&folder)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FolderLock {
    folder: PathBuf,
    // The system's lock is this open file's.
    _file: Arc<File>,
}

impl FolderLock {
    /// Makes the folder, if there is none, and locks it.
    ///
    /// # Errors
    /// [`Error::Locked`] with the process that writes there, [`Error::Io`] for a folder that cannot be made or written to.
    pub fn take(folder: impl Into<PathBuf>) -> Result<FolderLock> {
        let folder = folder.into();
        let failed = |file: &Path, action| {
            let file = file.display().to_string();
            move |source| Error::Io { file, action, source }
        };
        fs::create_dir_all(&folder).map_err(failed(&folder, "make this folder"))?;
        let path = folder.join(LOCK_FILE);
        // Not truncated: until it is locked, it says who holds it.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(failed(&path, "make this file"))?;
        match file.try_lock() {
            Ok(()) => {
                let holder = format!("process {}", std::process::id());
                // A name that cannot be written leaves the lock as good as it is.
                let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Windows lets nobody read a file that is locked.
                let _ = file.take(64).read_to_string(&mut holder);
                return Err(Error::Locked { folder: folder.display().to_string(), holder });
            }
            // The file system has no locks, as some network folders.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(FolderLock { folder, _file: Arc::new(file) })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
