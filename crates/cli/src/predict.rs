//! `kiln predict`.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use kiln_autograd::Tape;
use kiln_data::{Batch, Dataset, FoundImages, ReadOptions, Unreadable, read_images};
use kiln_gpu::Device;
use kiln_train::ToDevice;
use serde::Serialize;

use crate::note::note;
use crate::weights::{Trained, WeightsArgs};
use crate::{data, devices, paths, table};

#[derive(Debug, Args)]
#[command(after_help = "\
Images may be PNG, JPEG, GIF, BMP, WebP, PNM or TIFF, of any size. The weights of `kiln train` say \
which model they are of, how large its images are, how they are normalised, and what the classes \
are called. Fashion-MNIST and MNIST are bright on black: use --invert for a dark object on a light \
ground.

An image that cannot be read is reported at the end, after the predictions for the others; the exit \
code is then 1.

Examples:
  kiln predict --weights runs/first/best.safetensors shoe.png
  kiln predict --weights runs/photos --top 1 holiday/ 'inbox/*.jpg'
  kiln predict --weights alexnet.pth --model alexnet --json cat.jpg
  kiln predict --weights runs/first --invert drawing.png")]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The images: files, folders of them, or patterns such as 'photos/*.jpg'
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<OsString>,
    /// How many classes to name for each image, the most probable first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Turn light to dark and dark to light first
    #[arg(long)]
    invert: bool,
    /// Print a JSON array with an object per image, in the order of the images: file (text: U+FFFD stands for what is not
    /// UTF-8), and classes (class, label, probability) or error
    #[arg(long)]
    json: bool,
    /// Images that go through the network at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

/// What is probably on an image, or why nobody knows.
#[derive(Serialize)]
struct Prediction {
    file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<Guess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Guess {
    class: String,
    label: usize,
    probability: f32,
}

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    let FoundImages { files, notes } = paths::expand(&args.images)?;
    notes.iter().for_each(note);
    let device = devices::open()?;
    let trained = args.weights.load(&device)?;
    let images = dataset(&files, &trained)?;
    let mut predictions: Vec<Prediction> = files
        .iter()
        .map(|path| Prediction { file: path.display().to_string(), classes: Vec::new(), error: None })
        .collect();
    let loader = images.loader(args.batch as usize).workers(data::workers()).unreadable(Unreadable::Skip);
    let mut batches = loader.epochs(1);
    for batch in batches.by_ref() {
        let mut batch = match batch {
            // Each has its own reason below.
            Err(kiln_data::Error::NothingReadable { .. }) => break,
            batch => batch?,
        };
        if args.invert {
            batch.images.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        }
        let probabilities = probabilities(&device, &trained, &batch)?;
        let classes = &trained.card.classes;
        for (&sample, row) in batch.samples.iter().zip(probabilities.chunks(classes.len().max(1))) {
            predictions[sample].classes = best(row, classes, args.top as usize);
        }
    }
    for skipped in batches.skipped() {
        predictions[skipped.sample].error = Some(skipped.reason.clone());
    }
    devices::keep_pipelines(&device);
    print(&predictions, args.json)?;
    let errors: Vec<&str> = predictions.iter().filter_map(|prediction| prediction.error.as_deref()).collect();
    match errors.as_slice() {
        [] => Ok(()),
        [error] => bail!("{error}"),
        errors => bail!("{} of {} images cannot be read: {}", errors.len(), predictions.len(), errors.join("; ")),
    }
}

/// The images as the network was evaluated with.
fn dataset(files: &[std::path::PathBuf], trained: &Trained) -> Result<Dataset> {
    let [channels, size, _] = trained.card.input;
    let options = ReadOptions::new(size);
    let options = if channels == 1 { options.grey() } else { options };
    Ok(read_images(files, &options)?.transforms(data::shown(None, size))?)
}

/// The probability of each class for each image.
fn probabilities(device: &Device, trained: &Trained, batch: &Batch) -> Result<Vec<f32>> {
    let (images, _) = batch.to_normalized(device, &trained.normalize)?;
    let logits = trained.model.forward(&Tape::eval().constant(images))?;
    Ok(logits.tensor().softmax(1)?.to_vec()?)
}

/// The most probable classes, the first of equals first.
fn best(probabilities: &[f32], classes: &[String], count: usize) -> Vec<Guess> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let guess = |label: usize| Guess { class: classes[label].clone(), label, probability: probabilities[label] };
    order.into_iter().take(count).map(guess).collect()
}

fn print(predictions: &[Prediction], json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(predictions)?)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = predictions
        .iter()
        .filter(|prediction| prediction.error.is_none())
        .map(|prediction| {
            let guesses = prediction.classes.iter();
            let words = guesses.flat_map(|guess| [guess.class.clone(), format!("{:5.1} %", 100.0 * guess.probability)]);
            [prediction.file.clone()].into_iter().chain(words).collect()
        })
        .collect();
    table::write(&mut out, &[], &rows)?;
    Ok(())
}
