//! Fine-tuning: a network that was trained on five classes learns five others from 50 images of each, its features frozen, and is
//! compared with one that learns them from nothing.
//!
//! `cargo run --release --example finetune_folder [FOLDER] [EPOCHS]`, a folder of class folders with ten classes, of which the first
//! five are the known ones. Without one, or with `drawn`, it draws shapes.

use std::path::PathBuf;

use kiln::data::{ReadOptions, Splits, Transforms, read_folder};
use kiln::nn::{LoadOptions, Schedule};
use kiln::prelude::*;
use kiln::train::{Feed, Length, Normalize, Progress, Trainer};
use kiln::vision::AlexNet;

mod shapes;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let drawn = std::env::temp_dir().join("kiln-shapes-finetune");
    let folder = match args.next() {
        Some(folder) if folder != "drawn" => PathBuf::from(folder),
        _ => {
            shapes::write(&drawn, &shapes::CLASSES, 0, 150)?;
            drawn
        }
    };
    let epochs = args.next().map_or(Ok(12), |epochs| epochs.parse())?;
    let device = Device::open_default()?;
    let all = read_folder(&folder, &ReadOptions::new(32))?;
    let (known, new) = all.train.classes().split_at(all.train.classes().len() / 2);
    let only = |classes: &[String]| read_folder(&folder, &ReadOptions::new(32).classes(classes));

    println!("first: {}", known.join(", "));
    let known = only(known)?;
    let pretrained = vision::alexnet_32(&device, Init::seed(1), known.train.classes().len())?;
    fit(&device, &pretrained, &known, epochs)?;
    let weights = std::env::temp_dir().join("kiln-example-features.safetensors");
    pretrained.save(&weights)?;

    let few = only(new)?;
    let few = Splits { train: few.train.take_per_class(50, 1), test: few.test };
    println!("then, from {} images: {}", few.train.len(), new.join(", "));
    let scratch = vision::alexnet_32(&device, Init::seed(2), few.train.classes().len())?;
    let without = fit(&device, &scratch, &few, epochs)?;

    let tuned = vision::alexnet_32(&device, Init::seed(2), few.train.classes().len())?;
    let loaded = tuned.load_with(&weights, LoadOptions::new().except("classifier.6"))?;
    let frozen = tuned.freeze("features")?;
    println!("{} parameters are frozen, {} are new", frozen, loaded.excepted.len());
    let with = fit(&device, &tuned, &few, epochs)?;

    println!("from nothing: {:.1} % of {} test images", 100.0 * without, few.test.len());
    println!("fine-tuned:   {:.1} %", 100.0 * with);
    Ok(())
}

/// Trains, and returns the part of the test images that are right.
fn fit(device: &Device, model: &AlexNet, data: &Splits, epochs: u64) -> anyhow::Result<f64> {
    let stats = data.train.channel_stats()?;
    let train = data.train.transforms(Transforms::cifar_train(32))?;
    let feed = Feed::new(device).batch(25).normalize(Normalize::new(&stats.mean, &stats.std)?);
    // Frozen parameters get no gradient and are left out of the step.
    let mut optim = Adam::new(model.parameters(), 5e-4);
    let trainer = Trainer::new(Length::Epochs(epochs)).seed(5).schedule(Schedule::one_cycle());
    let data = Splits { train, test: data.test.clone() };
    let outcome = trainer.run(model, &mut optim, &data, &feed, &mut Progress::new())?;
    Ok(outcome.evaluation.map_or(0.0, |evaluation| evaluation.top1))
}
