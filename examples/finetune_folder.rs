//! Fine-tuning: a network that was trained on five classes learns five others from 50 images of each, its features frozen, and is
//! compared with one that learns them from nothing. Both are the same network, with the same images and epochs, and for both
//! the better one of two learning rates counts.
//!
//! `cargo run --release --example finetune_folder [FOLDER] [EPOCHS]`: ten class folders, the first five of them known. Without a
//! folder, or with `drawn`, it draws shapes.

use std::path::PathBuf;

use kiln::autograd::Var;
use kiln::data::{ReadOptions, Splits, Transforms, read_folder};
use kiln::nn::{BatchNorm2d, Conv2d, Dropout, Flatten, Linear, LoadOptions, MaxPool2d, ReLU, Result, Schedule};
use kiln::nn::{Sequential, Visitor};
use kiln::prelude::*;
use kiln::train::{Feed, Length, Normalize, Progress, Trainer};
mod shapes;

const RATES: [f64; 2] = [1e-3, 3e-3];

/// Four convolutions with batch norm for images of 32x32 pixels, and a linear layer.
struct Net {
    features: Sequential,
    classifier: Sequential,
}

impl Net {
    fn new(device: &Device, init: Init, classes: usize) -> Result<Net> {
        let mut features = Sequential::builder();
        for (from, to, pool) in [(3, 32, true), (32, 64, true), (64, 128, true), (128, 128, false)] {
            let conv = Conv2d::builder(from, to, 3).padding(1).bias(false);
            features = features.layer(conv).layer(BatchNorm2d::builder(to)).layer(ReLU);
            features = if pool { features.layer(MaxPool2d::new(2)) } else { features };
        }
        let linear = Linear::builder(128 * 4 * 4, classes);
        let classifier = Sequential::builder().layer(Flatten).layer(Dropout::new(0.5)?).layer(linear);
        let features = features.build(device, &init.child("features"))?;
        Ok(Net { features, classifier: classifier.build(device, &init.child("classifier"))? })
    }
}

impl Module for Net {
    fn forward(&self, x: &Var) -> Result<Var> {
        self.classifier.forward_as("classifier", &self.features.forward_as("features", x)?)
    }
    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("features", &self.features);
        v.child("classifier", &self.classifier);
    }
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let drawn = std::env::temp_dir().join("kiln-shapes-finetune");
    let folder = match args.next() {
        Some(folder) if folder != "drawn" => PathBuf::from(folder),
        _ => {
            shapes::write(&drawn, &shapes::CLASSES, 0, 300)?;
            drawn
        }
    };
    let epochs = args.next().map_or(Ok(6), |epochs| epochs.parse())?;
    let device = Device::open_default()?;
    let all = read_folder(&folder, &ReadOptions::new(32))?;
    let (known, new) = all.train.classes().split_at(all.train.classes().len() / 2);
    let only = |classes: &[String]| read_folder(&folder, &ReadOptions::new(32).classes(classes));

    println!("first: {}", known.join(", "));
    let known = only(known)?;
    let pretrained = Net::new(&device, Init::seed(1), known.train.classes().len())?;
    fit(&device, &pretrained, &known, epochs, RATES[0])?;
    let weights = std::env::temp_dir().join("kiln-example-features.safetensors");
    pretrained.save(&weights)?;

    let few = only(new)?;
    let few = Splits { train: few.train.take_per_class(50, 1), ..few };
    println!("then, from {} images: {}", few.train.len(), new.join(", "));
    let (mut without, mut with) = (0f64, 0f64);
    for rate in RATES {
        let scratch = Net::new(&device, Init::seed(2), new.len())?;
        without = without.max(fit(&device, &scratch, &few, epochs, rate)?);
        let tuned = Net::new(&device, Init::seed(2), new.len())?;
        let loaded = tuned.load_with(&weights, LoadOptions::new().except("classifier"))?;
        println!("{} parameters are frozen, {} are new", tuned.freeze("features")?, loaded.excepted.len());
        with = with.max(fit(&device, &tuned, &few, epochs, rate)?);
    }
    println!("from nothing: {:.1} % of {} test images", 100.0 * without, few.test.len());
    println!("fine-tuned:   {:.1} %", 100.0 * with);
    Ok(())
}

/// Trains what is not frozen, and returns the fraction of the test images that are right.
fn fit(device: &Device, model: &Net, data: &Splits, epochs: u64, rate: f64) -> anyhow::Result<f64> {
    let data = Splits { train: data.train.transforms(Transforms::cifar_train(32))?, ..data.clone() };
    let feed = Feed::new(device).batch(25).normalize(Normalize::new(&[0.5; 3], &[0.25; 3])?);
    let trainer = Trainer::new(Length::Epochs(epochs)).seed(5).schedule(Schedule::one_cycle()).evaluate_every(epochs);
    let outcome = trainer.run(model, &mut Adam::new(model.parameters(), rate), &data, &feed, &mut Progress::new())?;
    Ok(outcome.evaluation.map_or(0.0, |evaluation| evaluation.top1))
}
