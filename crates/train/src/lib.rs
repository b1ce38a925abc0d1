//! Training with Kiln: batches to the GPU, a loop with metrics and progress, evaluation, and what a weights file says about
//! its model.
//!
//! [`ToDevice`] is all that a loop of one's own needs. [`fit`] is the loop of the `kiln` program: a seeded order, a learning-rate
//! schedule, losses that stay on the GPU until a person looks, a line of [`EpochMetrics`] in `metrics.jsonl` and the weights in
//! `model.safetensors` after each epoch.
//!
//! ```no_run
//! use kiln_data::{FashionMnist, Splits};
//! use kiln_nn::{Adam, Init, Module, Schedule};
//! use kiln_tensor::Device;
//! use kiln_train::{Feed, FitOptions, Length, Progress, fit};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::open_default()?;
//! let data = FashionMnist::embedded()?;
//! let data = Splits { train: data.train().clone(), test: data.test().clone() };
//! let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
//! let mut optim = Adam::new(model.parameters(), 1e-3);
//! let options = FitOptions::new(Length::Epochs(3)).seed(42).schedule(Schedule::cosine(100)).out("runs/first");
//! let epochs = fit(&model, &mut optim, &data, &Feed::new(&device), &options, &mut Progress::new())?;
//! println!("{:.1} %", 100.0 * epochs[2].test_acc);
//! # Ok(())
//! # }
//! ```

mod batch;
mod card;
mod error;
mod evaluate;
mod fit;
mod metrics;
mod progress;
mod tally;

pub use batch::{Feed, Normalize, ToDevice};
pub use card::ModelCard;
pub use error::{Error, Result};
pub use evaluate::{Metrics, evaluate};
pub use fit::{FitOptions, Length, METRICS_FILE, WEIGHTS_FILE, fit};
pub use metrics::EpochMetrics;
pub use progress::{Observer, Progress, Report, Run, Silent};
