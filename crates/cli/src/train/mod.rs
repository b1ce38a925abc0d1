//! `kiln train`.

pub(crate) mod config;
mod folder;
mod optim;
mod schedule;
mod start;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use kiln_data::Splits;
use kiln_gpu::Device;
use kiln_nn::{Init, Module, summary};
use kiln_train::{
    EarlyStopping, Feed, Graph, Hook, Interrupt, Length, Measure, ModelCard, Normalize, Outcome, Progress, REPORT_FILE,
    Reporter, Run, Stopped, TensorBoard, Trainer,
};

use crate::data::{self, Images};
use crate::ended::Ended;
use crate::profile::Profiled;
use crate::{devices, models};
use config::{CONFIG_FILE, ClassWeights, Settings};
use start::Start;

/// The profile's file in the results' folder.
pub(crate) const TRACE_FILE: &str = "trace.json";

#[derive(Debug, Args)]
#[command(after_help = "\
What is left out has a default that suits the model and the data: images are brought to the model's
size, cut and mirrored at random, and normalised by their own mean and deviation (with --pretrained by
those of the weights).

The folder of the results then has
  config.toml               all settings; `kiln train --config config.toml` runs them again
  metrics.jsonl             a line of JSON for each epoch
  best.safetensors          the weights of the epoch with the best test accuracy
  model.safetensors         the last weights
  checkpoint.safetensors    all that --resume needs
  report.html               curves, confusion matrix, best and worst predictions; and curves.svg, .png

Ctrl-C ends a run after its step, saves a checkpoint and says how to go on; a second Ctrl-C ends it
at once.

In a --config file each long option is a key, without its dashes: lr = 0.01, freeze = [\"features\"].
Options on the command line win over it.

Examples:
  kiln train --model alexnet-32 --data photos --out runs/photos
  kiln train --model lenet5 --data fashion-mnist --epochs 8 --out runs/first
  kiln train --model vgg11_bn --data photos --color-jitter 0.4,0.4,0.4 --mixup 0.2
  kiln train --model alexnet --pretrained alexnet.pth --freeze features --data photos --epochs 5
  kiln train --model lenet5 --data idx:/data/mnist --optim sgd --lr 0.05 --schedule one-cycle
  kiln train --config run.toml --lr 0.0005
  kiln train --resume runs/photos
  kiln train --model lenet5 --data fashion-mnist --steps 50 --profile")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    settings: Settings,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", help_heading = "Run", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Go on with the run in this folder, as if it had never stopped
    #[arg(long, value_name = "DIR", help_heading = "Run", conflicts_with_all = ["out", "overwrite"])]
    resume: Option<PathBuf>,
    /// The folder for the results [default: runs/MODEL, with a number behind it where that holds a run]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Replace the run that the folder holds
    #[arg(long, help_heading = "Run")]
    overwrite: bool,
    /// Measure the GPU time of 20 steps: prints a table by layer and operation and writes DIR/trace.json for chrome://tracing
    #[arg(long, help_heading = "Run")]
    profile: bool,
}

/// All that a run consists of.
struct Prepared {
    /// The text of `config.toml`.
    config: String,
    settings: Settings,
    device: Device,
    model: Box<dyn Module>,
    data: Splits,
    feed: Feed,
    trainer: Trainer,
}

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let settings = settings(args)?;
    settings.check()?;
    let start = Start::find(settings.model.as_deref(), &settings.start)?;
    let out = match &args.resume {
        Some(folder) => folder.clone(),
        None => folder::choose(args.out.as_deref(), start.description.name, args.overwrite)?,
    };
    let prepared = prepare(settings, &start, &out, args.resume.is_some())?;
    if args.resume.is_none() {
        folder::make(&out)?;
    }
    let outcome = follow(&prepared, args, &out)?;
    devices::keep_pipelines(&prepared.device);
    finish(&outcome, &prepared.settings, &out)
}

/// What the command line and the files that it names ask for.
fn settings(args: &TrainArgs) -> Result<Settings> {
    let file = match (&args.config, &args.resume) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(folder)) => {
            let file = folder.join(CONFIG_FILE);
            if !file.is_file() {
                bail!("{}: holds no run: there is no {CONFIG_FILE}; pass a run's folder", folder.display());
            }
            Some(file)
        }
        (None, None) => None,
    };
    match file {
        Some(file) => args.settings.over(&Settings::read(&file)?),
        None => Ok(args.settings.clone()),
    }
}

/// Opens the data and the device, builds the model, and settles every setting.
fn prepare(mut settings: Settings, start: &Start, out: &Path, resume: bool) -> Result<Prepared> {
    settings.model = Some(start.description.name.to_string());
    settings.data = settings.data.resolve(start.input());
    let mut images = settings.data.open()?;
    let input @ [_, size, _] = images.splits.train.shape();
    let classes = images.splits.train.classes().to_vec();
    settings.augment = settings.augment.resolve(&images);
    let seed = *settings.start.seed.get_or_insert(42);
    let small = data::is_small(size);
    let samples = images.splits.train.len();
    let batch = *settings.length.batch.get_or_insert(default_batch(samples, small));

    let device = devices::open()?;
    let model =
        models::build(start.description, &device, Init::seed(seed), classes.len(), input, settings.loss.dropout)?;
    let freeze = settings.start.freeze.clone().unwrap_or_default();
    start.prepare(&*model, &classes, &freeze)?;

    // Whole networks of large images, and networks that know something already, want smaller steps.
    let head_alone = !freeze.is_empty();
    let careful = !small || (start.pretrained.is_some() && !head_alone);
    settings.optim = settings.optim.resolve(if careful { 10.0 } else { 1.0 });

    let batches = samples.div_ceil(batch) as u64;
    let steps_per_epoch = batches.div_ceil(settings.optim.accumulate.unwrap_or(1)).max(1);
    let length = match settings.length.steps {
        Some(steps) => Length::Steps(steps),
        None => Length::Epochs(*settings.length.epochs.get_or_insert(default_epochs(steps_per_epoch))),
    };
    let (steps, epochs) = match length {
        Length::Steps(steps) => (steps, steps.div_ceil(steps_per_epoch)),
        Length::Epochs(epochs) => (epochs.saturating_mul(steps_per_epoch), epochs),
    };
    settings.schedule = settings.schedule.resolve(steps, epochs);
    settings.loss.class_weights.get_or_insert(ClassWeights::Even);
    settings.results.evaluate_every.get_or_insert(1);
    settings.results.report.get_or_insert(true);
    settings.results.tensorboard.get_or_insert(false);

    // Weights are of use only with the numbers that their images were normalised with.
    let (mean, std) = match start.normalization() {
        Some(known) => known,
        None => images.channel_stats().map_err(|error| with_advice(error, &settings))?,
    };
    let card = ModelCard { model: start.description.name.to_string(), classes, input, mean, std };
    let normalize = Normalize::new(&card.mean, &card.std)?;
    images.splits.train = images.splits.train.transforms(settings.augment.transforms(&images))?;
    let feed =
        Feed::new(&device).batch(batch).workers(images.workers).unreadable(images.unreadable).normalize(normalize);
    let config = settings.to_toml()?;
    let trainer = trainer(&settings, length, steps_per_epoch, &images).out(out).metadata(card.to_metadata());
    let trainer = trainer.config(&config).resume(resume);
    tell(&settings, &*model, &images, &device);
    Ok(Prepared { config, settings, device, model, data: images.splits, feed, trainer })
}

/// Some twenty batches to an epoch where there are few images: a network learns by steps.
fn default_batch(samples: usize, small: bool) -> usize {
    let most = if small { 64 } else { 32 };
    (samples / 20).next_power_of_two().clamp(8, most)
}

/// Ten, and more where an epoch is short, for some thousand steps.
fn default_epochs(steps_per_epoch: u64) -> u64 {
    (1000 / steps_per_epoch).clamp(10, 100)
}

/// How to go on without an image that cannot be read.
fn with_advice(error: anyhow::Error, settings: &Settings) -> anyhow::Error {
    let skips = settings.data.unreadable() == kiln_data::Unreadable::Skip;
    let of_a_file = matches!(error.downcast_ref(), Some(kiln_data::Error::NothingReadable { .. }));
    if skips || of_a_file { error } else { anyhow::anyhow!("{error}; or leave such files out by --unreadable skip") }
}

fn trainer(settings: &Settings, length: Length, steps_per_epoch: u64, images: &Images) -> Trainer {
    let Settings { optim, schedule, loss, results, augment, .. } = settings;
    let mut trainer = Trainer::new(length).seed(settings.start.seed.unwrap_or(42));
    trainer = trainer.schedule(schedule.build(steps_per_epoch)).accumulate(optim.accumulate.unwrap_or(1));
    trainer = trainer.label_smoothing(loss.label_smoothing.unwrap_or(0.0));
    trainer = trainer.evaluate_every(results.evaluate_every.unwrap_or(1));
    trainer = trainer.detect_anomaly(results.detect_anomaly == Some(true));
    if let Some(plateau) = schedule.plateau() {
        trainer = trainer.reduce_lr_on_plateau(plateau, Measure::TestLoss);
    }
    if loss.class_weights == Some(ClassWeights::Balanced) {
        trainer = trainer.class_weights(balanced(images));
    }
    if let Some(patience) = settings.length.early_stopping {
        let early = EarlyStopping::new(patience).min_delta(settings.length.min_delta.unwrap_or(0.0));
        trainer = trainer.early_stopping(early);
    }
    if let Some(steps) = results.checkpoint_every {
        trainer = trainer.checkpoint_every(steps);
    }
    if let Some(norm) = optim.clip_norm {
        trainer = trainer.clip_norm(norm);
    }
    if let Some(value) = optim.clip_value {
        trainer = trainer.clip_value(value);
    }
    if let Some(decay) = optim.ema {
        trainer = trainer.ema(decay);
    }
    if let Some(alpha) = augment.mixup {
        trainer = trainer.mixup(alpha);
    }
    if let Some(alpha) = augment.cutmix {
        trainer = trainer.cutmix(alpha);
    }
    trainer
}

/// `samples / (classes * samples of the class)`, scikit-learn's "balanced"; 0 for a class without samples.
fn balanced(images: &Images) -> Vec<f32> {
    let train = &images.splits.train;
    let mut counts = vec![0usize; train.classes().len()];
    train.labels().for_each(|label| counts[label as usize] += 1);
    let classes = counts.len() as f64;
    let weight = |&count: &usize| if count == 0 { 0.0 } else { train.len() as f64 / (classes * count as f64) };
    counts.iter().map(|count| weight(count) as f32).collect()
}

/// Says what is about to be trained, and how.
fn tell(settings: &Settings, model: &dyn Module, images: &Images, device: &Device) {
    let Splits { train, test } = &images.splits;
    let [channels, height, width] = train.shape();
    eprintln!(
        "{} with {} parameters on {} training and {} test images of {} classes, {channels}x{height}x{width}",
        settings.model.as_deref().unwrap_or(""),
        model.num_parameters(),
        train.len(),
        test.len(),
        train.classes().len(),
    );
    let name =
        |value: Option<toml::Value>| value.and_then(|value| value.as_str().map(String::from)).unwrap_or_default();
    eprintln!(
        "{}, lr {}, {}; augmentation {}; batches of {}; {}",
        name(settings.optim.optim.and_then(|optim| toml::Value::try_from(optim).ok())),
        settings.optim.lr.unwrap_or(0.0),
        name(settings.schedule.schedule.and_then(|schedule| toml::Value::try_from(schedule).ok())),
        name(settings.augment.augment.and_then(|augment| toml::Value::try_from(augment).ok())),
        settings.length.batch.unwrap_or(0),
        device.info()
    );
}

/// Runs the trainer with what a person wants to see of it.
fn follow(prepared: &Prepared, args: &TrainArgs, out: &Path) -> Result<Outcome> {
    let Prepared { config, settings, device, model, data, feed, trainer } = prepared;
    let mut optim = settings.optim.build(model.parameters())?;
    let mut follow = |hooks: &mut dyn Hook| trainer.run(&**model, &mut *optim, data, feed, hooks);
    let keep = KeepConfig { path: out.join(CONFIG_FILE), text: config.clone() };
    let mut profiled = args.profile.then(|| Profiled::new(device)).transpose()?;
    let files = (reporter(prepared, out)?, board(prepared, out)?, profiled.as_mut());
    let outcome = follow(&mut (Progress::new(), Interrupt::new()?, keep, files))?;
    let Some(profiled) = profiled else { return Ok(outcome) };
    if let Some(profile) = profiled.into_profile()? {
        let trace = out.join(TRACE_FILE);
        kiln_nn::write_atomically(&trace, profile.chrome_trace().as_bytes())?;
        writeln!(io::stdout(), "{}trace: {}", profile.table(), trace.display())?;
    } else {
        eprintln!("no profile: the run has too few steps, measuring starts with the fourth");
    }
    Ok(outcome)
}

/// What writes the report, unless nobody wants it.
fn reporter(prepared: &Prepared, out: &Path) -> Result<Option<Reporter>> {
    let Prepared { config, settings, device, model, data, .. } = prepared;
    if settings.results.report == Some(false) {
        return Ok(None);
    }
    let named = settings.model.as_deref().zip(settings.data.data.as_ref());
    let title = named.map_or_else(String::new, |(model, data)| format!("{model} on {data}"));
    let [c, h, w] = data.train.shape();
    let layers = summary(&**model, device, [1, c, h, w])?;
    Ok(Some(Reporter::new(out, title).config(config).device(device).summary(layers).data(&data.test)))
}

/// What writes TensorBoard's files, if somebody wants them.
fn board(prepared: &Prepared, out: &Path) -> Result<Option<TensorBoard>> {
    let Prepared { config, settings, device, model, data, .. } = prepared;
    if settings.results.tensorboard != Some(true) {
        return Ok(None);
    }
    let [c, h, w] = data.train.shape();
    let graph = Graph::of(&**model, device, [1, c, h, w])?;
    let board = TensorBoard::new(out).config(config).graph(graph);
    Ok(Some(board.training_images(&data.train).mistakes(&data.test)))
}

/// Writes the configuration when the run begins: a run that goes on is found to fit its checkpoint by then.
struct KeepConfig {
    path: PathBuf,
    text: String,
}

impl Hook for KeepConfig {
    fn start(&mut self, run: &Run) -> kiln_train::Result<()> {
        if run.done > 0 {
            eprintln!("goes on after step {} of {}", run.done, run.steps);
        }
        Ok(kiln_nn::write_atomically(&self.path, self.text.as_bytes())?)
    }
}

/// Says what came out and what to do with it.
fn finish(outcome: &Outcome, settings: &Settings, out: &Path) -> Result<()> {
    let shown = out.display();
    let mut lines = io::stdout().lock();
    let mut say = |line: String| writeln!(lines, "{line}").context("cannot print where the results are");
    let of_test = outcome.evaluation.iter().flat_map(|evaluation| &evaluation.skipped);
    for skipped in outcome.skipped.iter().chain(of_test) {
        eprintln!("left out: {}", skipped.reason);
    }
    if outcome.stopped == Stopped::Interrupted {
        let message = format!("stopped after step {}; go on by: kiln train --resume {shown}", outcome.steps);
        return Err(Ended::Interrupted(message).into());
    }
    if outcome.stopped == Stopped::EarlyStopping {
        say("stopped early: the test loss has not fallen any more".to_string())?;
    }
    if let Some(best) = &outcome.best
        && let Some(accuracy) = best.test_acc
    {
        say(format!("best: epoch {} with {:.2} % of the test images", best.epoch, 100.0 * accuracy))?;
    }
    say(format!("results: {shown}"))?;
    if settings.results.report == Some(true) {
        say(format!("report:  {}", out.join(REPORT_FILE).display()))?;
    }
    say(format!("next:    kiln eval --weights {shown}"))?;
    say(format!("         kiln predict --weights {shown} IMAGE"))
}
