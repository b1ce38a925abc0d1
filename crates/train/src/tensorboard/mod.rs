//! Event files, which [TensorBoard](https://www.tensorflow.org/tensorboard) shows: scalars, pictures, histograms, text and the graph.
//!
//! Sources of the format: tensorflow/core/util/event.proto, tensorflow/core/framework/{summary, graph, tensor}.proto, and
//! tensorboard/plugins/text.

mod graph;
mod histogram;
mod hook;
mod proto;
mod record;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use graph::Graph;
pub use histogram::Histogram;
pub use hook::TensorBoard;

use crate::error::{Error, Result};
use crate::picture::Picture;
use proto::Message;

/// An event file that is being written. TensorBoard reads it while it grows: `tensorboard --logdir FOLDER`.
///
/// ```
/// use kiln_train::EventFile;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let mut events = EventFile::create(folder)?;
/// for step in 0..3 {
///     events.scalar("loss", step, 1.0 / (1.0 + step as f64))?;
/// }
/// events.flush()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct EventFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl EventFile {
    /// A new file in this folder, which is made where it is missing. Files that are there stay as they are: TensorBoard reads them one
    /// after the other, see [`EventFile::start_at`].
    ///
    /// # Errors
    /// [`Error::Io`] where the folder or the file cannot be made.
    pub fn create(folder: impl AsRef<Path>) -> Result<EventFile> {
        let folder = folder.as_ref();
        let failed = |path: &Path, action| {
            let file = path.display().to_string();
            move |source: io::Error| Error::Io { file, action, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder, "make this folder"))?;
        // TensorBoard reads files in the order of their names, so the time has a fixed width.
        let seconds = now().floor() as u64;
        let mut number = 0;
        let (file, path) = loop {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.{number:03}.kiln"));
            match File::create_new(&path) {
                Ok(file) => break (file, path),
                // Another one of the same second.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 999 => number += 1,
                Err(error) => return Err(failed(&path, "create it")(error)),
            }
        };
        let mut events = EventFile { file: BufWriter::new(file), path };
        events.write(0, |event| event.text(3, "brain.Event:2"))?;
        Ok(events)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that a run starts, or goes on, at this step: TensorBoard forgets what earlier files of the folder have from there on.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written; so for all that follows.
    pub fn start_at(&mut self, step: u64) -> Result<()> {
        // A SessionLog with the status START.
        self.write(step, |event| event.message(7, &Message::new().int(1, 1)))
    }

    /// Numbers of a step, each under its tag. Tags with the same word before a `/` are shown side by side. TensorBoard has f32.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let values = values.iter().fold(Message::new(), |summary, &(tag, value)| {
            summary.message(1, &Message::new().text(1, tag).float(2, value as f32))
        });
        self.write(step, |event| event.message(5, &values))
    }

    /// One number of a step.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.scalars(step, &[(tag, value)])
    }

    /// A picture of a step.
    ///
    /// # Errors
    /// As [`EventFile::start_at`], and [`Error::Drawing`].
    pub fn image(&mut self, tag: &str, step: u64, picture: &Picture) -> Result<()> {
        // The colour space is 1 for grey and 3 for RGB. Sides of pictures fit u32.
        let image = Message::new()
            .int(1, picture.height() as i64)
            .int(2, picture.width() as i64)
            .int(3, picture.channels() as i64)
            .bytes(4, &picture.png()?);
        self.value(tag, step, |value| value.message(4, &image))
    }

    /// A histogram of a step.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn histogram(&mut self, tag: &str, step: u64, histogram: &Histogram) -> Result<()> {
        self.value(tag, step, |value| value.message(5, &histogram.message()))
    }

    /// A text of a step, in Markdown.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn text(&mut self, tag: &str, step: u64, markdown: &str) -> Result<()> {
        // A tensor of one string (DT_STRING is 7), with the plugin that shows it.
        let one = Message::new().message(2, &Message::new().int(1, 1));
        let tensor = Message::new().int(1, 7).message(2, &one).text(8, markdown);
        let metadata = Message::new().message(1, &Message::new().text(1, "text"));
        self.value(tag, step, |value| value.message(8, &tensor).message(9, &metadata))
    }

    /// The graph of a network.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn graph(&mut self, graph: &Graph) -> Result<()> {
        self.write(0, |event| event.message(4, &graph.message()))
    }

    /// Hands all that was written to the system, so that TensorBoard can show it.
    ///
    /// # Errors
    /// As [`EventFile::start_at`].
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|source| self.failed(source))
    }

    /// A summary of one value.
    fn value(&mut self, tag: &str, step: u64, fill: impl FnOnce(Message) -> Message) -> Result<()> {
        let value = fill(Message::new().text(1, tag));
        self.write(step, |event| event.message(5, &Message::new().message(1, &value)))
    }

    fn write(&mut self, step: u64, fill: impl FnOnce(Message) -> Message) -> Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = fill(Message::new().double(1, now()).int(2, step));
        self.file.write_all(&record::framed(&event.into_bytes())).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { file: self.path.display().to_string(), action: "write to it", source }
    }
}

/// Seconds since 1970; 0 on a clock before that.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
