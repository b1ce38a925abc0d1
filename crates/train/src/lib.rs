//! Training with Kiln: batches to the GPU, a loop with metrics and progress, evaluation, and what a weights file says about
//! its model.
//!
//! [`ToDevice`] is all that a loop of one's own needs. [`Trainer`] is the loop of the `kiln` program: a seeded order, a learning-rate
//! schedule, losses that stay on the GPU until a person looks, a line of [`EpochMetrics`] in `metrics.jsonl` and the weights in
//! `model.safetensors` after each epoch. A [`Hook`] follows it and may end it: [`Progress`] shows it,
//! [`TensorBoard`] writes it down and [`Reporter`] leaves a report. A [`Checkpoint`] is all that a run needs to go on,
//! to the bit as if it had not been interrupted.

// They panic where a stream is closed or full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod batch;
mod card;
mod checkpoint;
mod confusion;
mod curves;
mod early_stopping;
mod error;
mod evaluation;
mod folder;
mod groups;
mod hook;
mod interrupt;
mod lock;
mod measure;
mod metrics;
mod objective;
mod outcome;
mod picture;
mod plot;
mod progress;
mod report;
mod reporter;
mod resume;
mod scores;
mod tally;
mod tensorboard;
mod trainer;
mod training;

pub use batch::{Feed, Normalize, ToDevice};
pub use card::ModelCard;
pub use checkpoint::Checkpoint;
pub use confusion::{ClassMetrics, ConfusionMatrix};
pub use curves::{CURVES_FILE, curves_svg};
pub use early_stopping::{EarlyStopping, EarlyStoppingState};
pub use error::{Error, Result};
pub use evaluation::{Evaluation, Prediction, evaluate};
pub use folder::{BEST_FILE, CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE, readable_weights};
pub use hook::{EpochEnd, Flow, Hook, Run, StepEnd, StepReport};
pub use interrupt::Interrupt;
pub use lock::{FolderLock, LOCK_FILE};
pub use measure::Measure;
pub use metrics::EpochMetrics;
pub use outcome::{Outcome, Stopped};
pub use picture::Picture;
pub use progress::Progress;
pub use report::{Filters, HtmlReport, REPORT_FILE};
pub use reporter::Reporter;
pub use tensorboard::{EventFile, Graph, Histogram, TensorBoard};
pub use trainer::{Length, Trainer};
