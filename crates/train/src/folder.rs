//! What a run leaves behind.

use std::fs;
use std::path::PathBuf;

use kiln_nn::Module;

use crate::error::{Error, Result};
use crate::metrics::{EpochMetrics, MetricsFile};
use crate::trainer::Trainer;

/// The file of a run's folder with a line of JSON per epoch: [`EpochMetrics`].
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The file of a run's folder with the last weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// The file of a run's folder with the weights of the best epoch.
pub const BEST_FILE: &str = "best.safetensors";

/// A run's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    metrics: MetricsFile,
}

impl Folder {
    /// Made before the first step, so that a folder that cannot be written to is found at once.
    pub(crate) fn create(trainer: &Trainer) -> Result<Option<Folder>> {
        let Some(path) = trainer.out.clone() else { return Ok(None) };
        fs::create_dir_all(&path).map_err(|source| Error::Io {
            file: path.display().to_string(),
            action: "make this folder",
            source,
        })?;
        let metrics = MetricsFile::create(&path.join(METRICS_FILE), &[])?;
        Ok(Some(Folder { path, metrics }))
    }

    pub(crate) fn write_weights(&self, model: &dyn Module, trainer: &Trainer, best: bool) -> Result<()> {
        model.save_with(&self.path.join(WEIGHTS_FILE), &trainer.metadata)?;
        if best {
            model.save_with(&self.path.join(BEST_FILE), &trainer.metadata)?;
        }
        Ok(())
    }

    pub(crate) fn write_metrics(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.metrics.append(metrics)
    }
}
