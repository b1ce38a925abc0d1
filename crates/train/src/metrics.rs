//! The metrics file: a line of JSON per epoch.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an epoch came to. Written as a line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The number of the epoch, from 1. Where a run ends within an epoch, that epoch has a line too.
    pub epoch: u64,
    /// The mean loss of the training samples, each at the weights of its own step.
    pub train_loss: f64,
    /// The part of the training samples that were right, likewise; from 0 to 1.
    pub train_acc: f64,
    /// The mean loss of the test samples, at the weights after the epoch.
    pub test_loss: f64,
    /// The part of the test samples that are right, from 0 to 1.
    pub test_acc: f64,
    /// How long the epoch took, evaluation included.
    pub seconds: f64,
    /// Training samples per second of training, evaluation left out.
    pub images_per_s: f64,
}

/// The file of a run, open for appending.
pub(crate) struct MetricsFile {
    file: File,
    name: String,
}

impl MetricsFile {
    /// Starts the file anew: a line of an earlier run would pass for one of this.
    pub(crate) fn create(path: &Path) -> Result<MetricsFile> {
        let name = path.display().to_string();
        let failed = |source: io::Error| Error::Io { file: name.clone(), action: "create it", source };
        let file = File::create(path).map_err(failed)?;
        Ok(MetricsFile { file, name })
    }

    pub(crate) fn append(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let failed = |source: io::Error| Error::Io { file: self.name.clone(), action: "write to it", source };
        let mut line = serde_json::to_string(metrics).map_err(|error| failed(error.into()))?;
        line.push('\n');
        // One write, so that a reader never sees half a line.
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush()).map_err(failed)
    }
}
