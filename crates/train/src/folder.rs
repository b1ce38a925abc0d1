//! What a run leaves behind.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_nn::{Module, StateDict, StateFile};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::lock::FolderLock;
use crate::metrics::{EpochMetrics, MetricsFile};
use crate::trainer::Trainer;

/// The file of a run's folder with a line of JSON per epoch: [`EpochMetrics`].
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The file of a run's folder with the last weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// The file of a run's folder with the weights of the best epoch.
pub const BEST_FILE: &str = "best.safetensors";

/// The file of a run's folder with all that it needs to go on: a [`Checkpoint`].
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// What the metadata of a weights file calls the number of its epoch.
pub(crate) const EPOCH_KEY: &str = "epoch";

/// A run's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    lock: FolderLock,
    metrics: MetricsFile,
}

impl Folder {
    /// Made before the first step, so that a folder that cannot be written to is found at once. `history` is what a checkpoint knows of the
    /// run; `None` starts anew.
    pub(crate) fn create(lock: FolderLock, history: Option<&[EpochMetrics]>) -> Result<Folder> {
        let path = lock.folder();
        let failed = |file: &Path, action: &'static str| {
            let file = file.display().to_string();
            move |source| Error::Io { file, action, source }
        };
        if history.is_none() {
            // Another run's would pass for this one's.
            for file in [CHECKPOINT_FILE, BEST_FILE, WEIGHTS_FILE].map(|file| path.join(file)) {
                match fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(failed(&file, "remove this file of an earlier run")(error));
                    }
                    _ => {}
                }
            }
        }
        remove_leftovers(path);
        let metrics = MetricsFile::create(&path.join(METRICS_FILE), history.unwrap_or_default())?;
        Ok(Folder { lock, metrics })
    }

    pub(crate) fn write_weights(&self, model: &dyn Module, trainer: &Trainer, epoch: u64, best: bool) -> Result<()> {
        let mut metadata = trainer.metadata.clone();
        metadata.insert(EPOCH_KEY.to_string(), epoch.to_string());
        model.save_with(self.lock.folder().join(WEIGHTS_FILE), &metadata)?;
        if best {
            model.save_with(self.lock.folder().join(BEST_FILE), &metadata)?;
        }
        Ok(())
    }

    pub(crate) fn write_metrics(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.metrics.append(metrics)
    }

    pub(crate) fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.save(self.lock.folder().join(CHECKPOINT_FILE))
    }
}

/// The weights files of a run's folder that can be read, that of the best epoch first: those of Kiln match their checksums.
pub fn readable_weights(folder: &Path) -> Vec<PathBuf> {
    let files = [BEST_FILE, WEIGHTS_FILE].map(|file| folder.join(file));
    let readable = |file: &PathBuf| StateFile::open(file).and_then(|mut file| file.verify()).is_ok();
    files.into_iter().filter(readable).collect()
}

/// The error of a checkpoint, with the weights of its folder that remain if it is damaged.
pub(crate) fn with_weights(error: Error, folder: &Path) -> Error {
    let (file, message) = match error {
        Error::Damaged { file, message, .. } => (file, message),
        Error::Nn(
            kiln_nn::Error::Checksum { file, message }
            | kiln_nn::Error::Header { file, message }
            | kiln_nn::Error::Damaged { file, message }
            | kiln_nn::Error::NotWeights { file, message, .. }
            | kiln_nn::Error::Torch { file, message, .. },
        ) => (file, message),
        Error::Nn(kiln_nn::Error::Truncated { file, given, needed }) => {
            (file, format!("it holds {given} bytes, its header declares {needed}"))
        }
        other => return other,
    };
    Error::Damaged { file, message, weights: readable_weights(folder) }
}

/// Removes temporary files of a process that was killed while it wrote: each is as large as a checkpoint. What cannot be removed
/// does no harm.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".kiln-") && name.ends_with(".tmp") {
            fs::remove_file(entry.path()).ok();
        }
    }
}
