//! Training with Kiln: batches to the GPU, a loop with metrics and progress, evaluation, and what a weights file says about
//! its model.
//!
//! [`ToDevice`] is all that a loop of one's own needs. [`Trainer`] is the loop of the `kiln` program: a seeded order, a learning-rate
//! schedule, losses that stay on the GPU until a person looks, a line of [`EpochMetrics`] in `metrics.jsonl` and the weights in
//! `model.safetensors` after each epoch. A [`Hook`] follows it and may end it.

mod batch;
mod card;
mod confusion;
mod early_stopping;
mod error;
mod evaluation;
mod folder;
mod groups;
mod hook;
mod measure;
mod metrics;
mod objective;
mod outcome;
mod progress;
mod scores;
mod tally;
mod trainer;
mod training;

pub use batch::{Feed, Normalize, ToDevice};
pub use card::ModelCard;
pub use confusion::{ClassMetrics, ConfusionMatrix};
pub use early_stopping::{EarlyStopping, EarlyStoppingState};
pub use error::{Error, Result};
pub use evaluation::{Evaluation, Prediction, evaluate};
pub use folder::{BEST_FILE, METRICS_FILE, WEIGHTS_FILE};
pub use hook::{EpochEnd, Flow, Hook, Run, StepEnd, StepReport};
pub use measure::Measure;
pub use metrics::EpochMetrics;
pub use outcome::{Outcome, Stopped};
pub use progress::Progress;
pub use trainer::{Length, Trainer};
