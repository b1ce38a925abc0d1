//! The metrics file: a line of JSON per epoch.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// What an epoch came to. Written as a line of `metrics.jsonl`; what is `None` is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The number of the epoch, from 1. Where a run ends within an epoch, that epoch has a line too.
    pub epoch: u64,
    /// The steps that are done.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// The mean loss of the training samples, each at the weights of its own step.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// The part of the training samples that were right, likewise; from 0 to 1.
    pub train_acc: f64,
    /// The part of the training samples whose class was among the five most probable; `None` where there are no more than five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_top5: Option<f64>,
    /// The mean cross-entropy of the test samples, at the weights after the epoch; `None` where they were not looked at.
    #[serde(default, deserialize_with = "some_number", skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// The part of the test samples that are right, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_acc: Option<f64>,
    /// The part of the test samples whose class is among the five most probable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// How long the epoch took, evaluation included.
    pub seconds: f64,
    /// Training samples per second of training, evaluation left out.
    pub images_per_s: f64,
    /// The training samples that could not be read so far, each counted once.
    pub skipped: u64,
    /// Bytes of GPU memory in use at the end of the epoch.
    pub memory: u64,
}

/// JSON has no NaN: `null` stands for it.
fn number<'de, D: Deserializer<'de>>(input: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or(f64::NAN))
}

/// As [`number`], of a field that is left out where there is no value.
fn some_number<'de, D: Deserializer<'de>>(input: D) -> std::result::Result<Option<f64>, D::Error> {
    number(input).map(Some)
}

/// The line of an epoch.
fn line(metrics: &EpochMetrics) -> io::Result<String> {
    Ok(serde_json::to_string(metrics)? + "\n")
}

/// The file of a run, open for appending.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    file: File,
    name: String,
}

impl MetricsFile {
    /// Starts the file anew with the epochs so far: a line of another run would pass for one of this.
    pub(crate) fn create(path: &Path, history: &[EpochMetrics]) -> Result<MetricsFile> {
        let name = path.display().to_string();
        let failed = |source: io::Error| Error::Io { file: name.clone(), action: "create it", source };
        let lines: String = history.iter().map(line).collect::<io::Result<_>>().map_err(failed)?;
        kiln_nn::write_atomically(path, lines.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(MetricsFile { file, name })
    }

    pub(crate) fn append(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let failed = |source: io::Error| Error::Io { file: self.name.clone(), action: "write to it", source };
        // One write, so that a reader never sees half a line.
        let line = line(metrics).map_err(failed)?;
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush()).map_err(failed)
    }
}
