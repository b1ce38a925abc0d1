//! All that a run consists of, from its settings.

use anyhow::Result;
use kiln_data::Splits;
use kiln_gpu::Device;
use kiln_nn::{Ema, Init, Module};
use kiln_train::{EarlyStopping, Feed, Length, Measure, ModelCard, Normalize, Trainer};

use super::config::{ClassWeights, Settings};
use super::start::Start;
use crate::data::{self, Images};
use crate::note::note;
use crate::os_text::OsText;
use crate::words::counted;
use crate::{devices, models};

/// All that a run consists of.
pub(crate) struct Prepared {
    /// The text of `config.toml`.
    pub(crate) config: String,
    pub(crate) settings: Settings,
    pub(crate) device: Device,
    pub(crate) model: Box<dyn Module>,
    pub(crate) data: Splits,
    pub(crate) feed: Feed,
    /// Without a folder.
    pub(crate) trainer: Trainer,
}

/// Opens the data and the device, builds the model, and settles every setting.
pub(crate) fn prepare(mut settings: Settings, start: &Start) -> Result<Prepared> {
    settings.model = Some(start.description.name.to_string());
    settings.data = settings.data.resolve(start.input());
    let mut images = settings.data.open(None)?;
    images.check()?;
    let kept = start.keeps_head(&mut images.splits)?;
    let input @ [_, size, _] = images.splits.train.shape();
    let classes = images.splits.train.classes().clone();
    settings.augment = settings.augment.resolve(&images);
    let seed = *settings.start.seed.get_or_insert(42);
    let small = data::is_small(size);
    let samples = images.splits.train.len();
    let batch = *settings.length.batch.get_or_insert(default_batch(samples, small));

    let device = devices::open()?;
    let model =
        models::build(start.description, &device, Init::seed(seed), classes.len(), input, settings.loss.dropout)?;
    let freeze = settings.start.freeze.clone().unwrap_or_default();
    start.prepare(&*model, kept, &freeze)?;

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
        None => images.channel_stats()?,
    };
    let card = ModelCard { model: start.description.name.to_string(), classes, input, mean, std };
    let normalize = Normalize::new(&card.mean, &card.std)?;
    images.splits.train = images.splits.train.transforms(settings.augment.transforms(&images))?;
    let feed =
        Feed::new(&device).batch(batch).workers(images.workers).unreadable(images.unreadable).normalize(normalize);
    settings.working_dir =
        settings.has_relative_paths().then(std::env::current_dir).transpose()?.map(|folder| OsText(folder.into()));
    let config = settings.to_toml()?;
    let trainer = trainer(&settings, length, steps_per_epoch, &images).metadata(card.to_metadata()).config(&config);
    tell(&settings, &*model, &images, &device);
    if let Some(decay) = settings.optim.ema {
        let last = Ema::warmup_decay(decay, steps.saturating_sub(1));
        if settings.optim.ema_warmup == Some(true) && last < decay {
            note(format_args!("weights are averaged: the decay rises to {last:.3} at the last step"));
        } else {
            note(format_args!("weights are averaged with the decay {decay}"));
        }
    }
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
        trainer = trainer.ema(decay).ema_warmup(optim.ema_warmup != Some(false));
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
    let Splits { train, val, test, test_part, .. } = &images.splits;
    let val = val.as_ref().map_or(String::new(), |val| format!(", {}", counted(val.len(), "val image")));
    let [channels, height, width] = train.shape();
    note(format_args!(
        "{} with {} on {}{val} and {} of {}, {channels}x{height}x{width}",
        settings.model.as_deref().unwrap_or(""),
        counted(model.num_parameters(), "parameter"),
        counted(train.len(), "training image"),
        counted(test.len(), &format!("{test_part} image")),
        counted(train.classes().len(), "class"),
    ));
    let name =
        |value: Option<toml::Value>| value.and_then(|value| value.as_str().map(String::from)).unwrap_or_default();
    note(format_args!(
        "{}, lr {}, {}; augmentation {}; batches of {}; {}",
        name(settings.optim.optim.and_then(|optim| toml::Value::try_from(optim).ok())),
        settings.optim.lr.unwrap_or(0.0),
        name(settings.schedule.schedule.and_then(|schedule| toml::Value::try_from(schedule).ok())),
        name(settings.augment.augment.and_then(|augment| toml::Value::try_from(augment).ok())),
        settings.length.batch.unwrap_or(0),
        device.info()
    ));
}
