//! `kiln predict`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use kiln_autograd::Tape;
use kiln_data::ImageFile;
use kiln_gpu::Device;
use kiln_tensor::Tensor;
use serde::Serialize;

use crate::args::PredictArgs;
use crate::devices;
use crate::weights::{self, Trained};

/// What is probably on an image.
#[derive(Serialize)]
struct Prediction {
    file: String,
    classes: Vec<Guess>,
}

#[derive(Serialize)]
struct Guess {
    class: String,
    label: usize,
    probability: f32,
}

/// Images that go through the network at once.
const BATCH: usize = 64;

pub(crate) fn run(args: &PredictArgs) -> Result<()> {
    let description = weights::model(&args.model)?;
    let device = devices::open()?;
    let trained = weights::load(&device, description, &args.weights)?;
    let mut predictions = Vec::new();
    for paths in args.images.chunks(BATCH) {
        let mut pixels = Vec::new();
        for path in paths {
            pixels.extend(read(path, description.input, args.invert)?);
        }
        let probabilities = probabilities(&device, &trained, description.input, &pixels)?;
        for (path, row) in paths.iter().zip(probabilities.chunks(trained.classes.len().max(1))) {
            let classes = best(row, &trained.classes, args.top as usize);
            predictions.push(Prediction { file: path.display().to_string(), classes });
        }
    }
    devices::keep_pipelines(&device);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&predictions)?)?;
        return Ok(());
    }
    for prediction in &predictions {
        let words: Vec<String> = prediction
            .classes
            .iter()
            .map(|guess| format!("{} {:.1} %", guess.class, 100.0 * guess.probability))
            .collect();
        writeln!(out, "{}: {}", prediction.file, words.join(", "))?;
    }
    Ok(())
}

fn read(path: &Path, shape: [usize; 3], invert: bool) -> Result<Vec<u8>> {
    let mut pixels = ImageFile::open(path)?.pixels(shape)?;
    if invert {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    }
    Ok(pixels)
}

/// The probability of each class for each image.
fn probabilities(device: &Device, trained: &Trained, shape: [usize; 3], pixels: &[u8]) -> Result<Vec<f32>> {
    let [c, h, w] = shape;
    let images = Tensor::from_slice(device, [pixels.len() / (c * h * w), c, h, w], pixels)?;
    let images = Tape::eval().constant(trained.normalize.apply(&images)?);
    Ok(trained.model.forward(&images)?.tensor().softmax(1)?.to_vec()?)
}

/// The most probable classes, the first of equals first.
fn best(probabilities: &[f32], classes: &[String], count: usize) -> Vec<Guess> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let guess = |label: usize| Guess { class: classes[label].clone(), label, probability: probabilities[label] };
    order.into_iter().take(count).map(guess).collect()
}
