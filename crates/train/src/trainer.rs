//! The settings of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_data::Splits;
use kiln_nn::{Module, Optimizer, ReduceLrOnPlateau, Schedule};

use crate::batch::Feed;
use crate::early_stopping::EarlyStopping;
use crate::error::Result;
use crate::hook::Hook;
use crate::lock::FolderLock;
use crate::measure::Measure;
use crate::outcome::Outcome;
use crate::training::Training;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many times through the training set.
    Epochs(u64),
    /// So many steps.
    Steps(u64),
}

/// Trains a classifier: shuffled batches, cross-entropy, a step of the optimizer each; after every epoch an evaluation on the test
/// set, a line of metrics and the weights on disk.
///
/// Where the data has a val part besides the test part ([`Splits::val`]), evaluations are of that one, and the test part is not
/// looked at: what has chosen an epoch does not tell how good it is. "Test set" means the val part then.
///
/// The same seed, data, settings and adapter give the same weights to the bit, whatever the number of reading threads and however
/// often reports are made.
///
/// It is a thin layer: a loop of one's own has [`ToDevice`](crate::ToDevice), [`evaluate`](crate::evaluate()) and the optimizers for
/// the same parts.
///
/// ```
/// use kiln_data::{FashionMnist, Splits};
/// use kiln_nn::{Adam, Init, Module, Schedule};
/// use kiln_tensor::Device;
/// use kiln_train::{EpochEnd, Feed, Flow, Hook, Length, Result, Stopped, Trainer};
///
/// /// A hook of one's own: ends the run when the test loss is low enough.
/// struct GoodEnough(f64);
///
/// impl Hook for GoodEnough {
///     fn epoch(&mut self, end: &EpochEnd<'_>) -> Result<Flow> {
///         let reached = end.evaluation.is_some_and(|evaluation| evaluation.loss <= self.0);
///         Ok(if reached { Flow::Stop } else { Flow::Continue })
///     }
/// }
///
/// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let device = Device::open_default()?;
/// let data = FashionMnist::embedded()?;
/// let (train, _) = data.train().split(0.03, 0)?; // a few, so that this takes a second
/// let (test, _) = data.test().split(0.05, 0)?;
/// let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
/// let mut optim = Adam::new(model.parameters(), 5e-3);
/// let trainer = Trainer::new(Length::Epochs(9)).seed(42).schedule(Schedule::cosine(2)).label_smoothing(0.1).clip_norm(5.0);
/// let feed = Feed::new(&device).batch(32);
/// let outcome = trainer.run(&model, &mut optim, &Splits::new(train, test), &feed, &mut GoodEnough(1.5))?;
/// println!("{:.1} %", 100.0 * outcome.evaluation.map_or(0.0, |evaluation| evaluation.top1));
/// # assert!(outcome.stopped == Stopped::Hook && outcome.history.len() < 9, "{:?}", outcome.history);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Trainer {
    pub(crate) length: Length,
    pub(crate) seed: u64,
    pub(crate) schedule: Schedule,
    pub(crate) plateau: Option<(ReduceLrOnPlateau, Measure)>,
    pub(crate) early_stopping: Option<EarlyStopping>,
    pub(crate) label_smoothing: f64,
    pub(crate) class_weights: Option<Vec<f32>>,
    pub(crate) mixup: Option<f64>,
    pub(crate) cutmix: Option<f64>,
    pub(crate) clip_norm: Option<f64>,
    pub(crate) clip_value: Option<f64>,
    pub(crate) accumulate: u64,
    pub(crate) ema: Option<f64>,
    pub(crate) ema_warmup: bool,
    pub(crate) best_by: Option<Measure>,
    pub(crate) evaluate_every: u64,
    pub(crate) report_every: u64,
    pub(crate) out: Option<PathBuf>,
    pub(crate) lock: Option<FolderLock>,
    pub(crate) checkpoint_every: Option<u64>,
    pub(crate) resume: bool,
    pub(crate) config: String,
    pub(crate) detect_anomaly: bool,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Trainer {
    /// A run of this length: seed 0, a constant learning rate, plain cross-entropy, an evaluation after every epoch, a report every
    /// 25 steps, and no files.
    pub fn new(length: Length) -> Trainer {
        Trainer {
            length,
            seed: 0,
            schedule: Schedule::Constant,
            plateau: None,
            early_stopping: None,
            label_smoothing: 0.0,
            class_weights: None,
            mixup: None,
            cutmix: None,
            clip_norm: None,
            clip_value: None,
            accumulate: 1,
            ema: None,
            ema_warmup: true,
            best_by: None,
            evaluate_every: 1,
            report_every: 25,
            out: None,
            lock: None,
            checkpoint_every: None,
            resume: false,
            config: String::new(),
            detect_anomaly: false,
            metadata: BTreeMap::new(),
        }
    }

    /// Decides the order of the samples, their transforms, and the random numbers of the steps (dropout).
    pub fn seed(mut self, seed: u64) -> Trainer {
        self.seed = seed;
        self
    }

    /// How the learning rate changes from the optimizer's own, which is the largest. Its steps are those of the run.
    pub fn schedule(mut self, schedule: Schedule) -> Trainer {
        self.schedule = schedule;
        self
    }

    /// Lowers the learning rate when a measure gets no better, evaluation by evaluation. A schedule then starts from the lowered
    /// rate. Whether the measure should rise is set here; see [`ReduceLrOnPlateau::maximize`].
    pub fn reduce_lr_on_plateau(mut self, plateau: ReduceLrOnPlateau, measure: Measure) -> Trainer {
        self.plateau = Some((plateau.maximize(measure.rises()), measure));
        self
    }

    /// Ends the run when a measure gets no better.
    pub fn early_stopping(mut self, early_stopping: EarlyStopping) -> Trainer {
        self.early_stopping = Some(early_stopping);
        self
    }

    /// The share of each target that is dealt out evenly to all classes, from 0 to below 1; in training, not in evaluations.
    pub fn label_smoothing(mut self, share: f64) -> Trainer {
        self.label_smoothing = share;
        self
    }

    /// How much the loss of each class counts, as [`CrossEntropyOptions::weight`](kiln_tensor::ops::class_loss::CrossEntropyOptions);
    /// in training, not in evaluations.
    pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Trainer {
        self.class_weights = Some(weights.into());
        self
    }

    /// Mixes the images of training batches in pairs: [`Loader::mixup`](kiln_data::Loader::mixup). The training accuracy then
    /// is that by each image's own class.
    pub fn mixup(mut self, alpha: f64) -> Trainer {
        self.mixup = Some(alpha);
        self
    }

    /// Puts parts of images into others: [`Loader::cutmix`](kiln_data::Loader::cutmix). With [`Trainer::mixup`] as well, each batch
    /// has one of the two.
    pub fn cutmix(mut self, alpha: f64) -> Trainer {
        self.cutmix = Some(alpha);
        self
    }

    /// Scales the gradients of a step so that together they are at most this long: [`kiln_nn::clip_grad_norm`].
    pub fn clip_norm(mut self, max_norm: f64) -> Trainer {
        self.clip_norm = Some(max_norm);
        self
    }

    /// Bounds each element of the gradients: [`kiln_nn::clip_grad_value`]. After [`Trainer::clip_norm`] where both are asked for.
    pub fn clip_value(mut self, clip_value: f64) -> Trainer {
        self.clip_value = Some(clip_value);
        self
    }

    /// Makes each step of so many batches, at least 1, as if they were one: the loss is the mean over all of their samples. The last
    /// step of an epoch has those batches that are left. Batch norm still sees one batch at a time.
    pub fn accumulate(mut self, batches: u64) -> Trainer {
        self.accumulate = batches.max(1);
        self
    }

    /// Keeps a mean of the weights: [`kiln_nn::Ema`] with this decay, which rises to it from 0 unless
    /// [`Trainer::ema_warmup`] says otherwise. Evaluations and weights files are of the mean, and the model has it when the
    /// run is over; steps go on from the weights themselves.
    pub fn ema(mut self, decay: f64) -> Trainer {
        self.ema = Some(decay);
        self
    }

    /// Whether the decay of [`Trainer::ema`] rises from 0, by the formula of [`Ema::warmup`](kiln_nn::Ema::warmup). True unless
    /// called: with a constant decay, the mean of a run of few steps is mostly the first weights.
    pub fn ema_warmup(mut self, warmup: bool) -> Trainer {
        self.ema_warmup = warmup;
        self
    }

    /// Which measure decides which epoch is the best: [`Measure::TestAccuracy`] unless called, or [`Measure::TrainLoss`] without a
    /// test set. Of equally accurate epochs the one with the lower loss is the better: [`Measure::improves`].
    pub fn best_by(mut self, measure: Measure) -> Trainer {
        self.best_by = Some(measure);
        self
    }

    /// After how many epochs the test set is evaluated, and after the last; at least 1.
    pub fn evaluate_every(mut self, epochs: u64) -> Trainer {
        self.evaluate_every = epochs.max(1);
        self
    }

    /// After how many steps losses are read from the GPU and reported; at least 1. Reading waits for the GPU.
    pub fn report_every(mut self, steps: u64) -> Trainer {
        self.report_every = steps.max(1);
        self
    }

    /// The folder for [`METRICS_FILE`](crate::METRICS_FILE), [`WEIGHTS_FILE`](crate::WEIGHTS_FILE),
    /// [`BEST_FILE`](crate::BEST_FILE) and [`CHECKPOINT_FILE`](crate::CHECKPOINT_FILE), made where it is missing. Files of an earlier
    /// run are replaced, unless this one goes on from it. The run locks the folder: a second one fails with
    /// [`Error::Locked`](crate::Error::Locked) before anything is changed.
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Trainer {
        self.out = Some(folder.into());
        self.lock = None;
        self
    }

    /// As [`Trainer::out`], into a folder that the program has locked. It stays locked after the run, as long as this trainer lives.
    pub fn locked(mut self, lock: FolderLock) -> Trainer {
        self.out = Some(lock.folder().to_path_buf());
        self.lock = Some(lock);
        self
    }

    /// After how many steps a checkpoint is saved, at least 1; there is one after each epoch as well, and where a hook ends the run.
    pub fn checkpoint_every(mut self, steps: u64) -> Trainer {
        self.checkpoint_every = Some(steps.max(1));
        self
    }

    /// Whether to go on from the checkpoint in the folder, to the bit as if the run had not been interrupted. Without a
    /// checkpoint the run starts from its beginning; [`Run::done`](crate::Run) says which of the two it was.
    ///
    /// Model, data and settings have to be those of the checkpoint. What only watches the run may differ: evaluations, reports,
    /// hooks, early stopping.
    ///
    /// The length may differ too, also that of a run that was finished. From here on the learning rate is that of a run that
    /// had the new length from the start. Constant, step, multi-step and exponential schedules simply continue, since they do
    /// not depend on the length. [`Schedule::CosineAnnealing`], [`Schedule::OneCycle`] and [`Schedule::Polynomial`] do, so
    /// their rate jumps here: up to where the longer curve is at this step, or down to the shorter one.
    /// [`Run::planned`](crate::Run) is the earlier length.
    pub fn resume(mut self, resume: bool) -> Trainer {
        self.resume = resume;
        self
    }

    /// The text of the run's configuration, kept in the checkpoint for a person to read.
    pub fn config(mut self, config: impl Into<String>) -> Trainer {
        self.config = config.into();
        self
    }

    /// Looks for the first NaN or infinity in the results and gradients of every operation, and names the operation:
    /// [`Tape::detect_anomaly`](kiln_autograd::Tape::detect_anomaly). Slow, for the search of a mistake.
    pub fn detect_anomaly(mut self, detect: bool) -> Trainer {
        self.detect_anomaly = detect;
        self
    }

    /// Text for the weights files: see [`ModelCard::to_metadata`](crate::ModelCard::to_metadata).
    pub fn metadata(mut self, metadata: BTreeMap<String, String>) -> Trainer {
        self.metadata = metadata;
        self
    }

    /// Trains. An empty test set is none: then there are no evaluations. Before the first step every sample is looked at
    /// ([`Loader::check`](kiln_data::Loader::check)). Where an evaluation fails, a checkpoint has the steps before it: a run that goes
    /// on starts with that evaluation.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an empty training set, a run of no steps, one that is shorter than what its
    /// checkpoint has done already, or a setting out of its range,
    /// [`Error::Diverged`](crate::Error::Diverged) with the step whose loss is not finite, [`Error::Io`](crate::Error::Io) for the
    /// folder, [`Error::Locked`](crate::Error::Locked) where another run writes into it, [`Error::OtherRun`](crate::Error::OtherRun) and [`Error::Damaged`](crate::Error::Damaged) for its checkpoint; those of the hooks, the data, the model and the device.
    pub fn run(
        &self,
        model: &dyn Module,
        optim: &mut dyn Optimizer,
        data: &Splits,
        feed: &Feed,
        hooks: &mut dyn Hook,
    ) -> Result<Outcome> {
        Training::new(self, model, optim, data, feed, hooks)?.run()
    }
}
