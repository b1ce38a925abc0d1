//! Trains AlexNet for 32x32 pixels on a folder of class folders, with augmentation, and keeps the run in `runs/alexnet`.
//!
//! `cargo run --release --example train_alexnet [FOLDER] [EPOCHS]`. Without a folder, or with `drawn`, it draws
//! shapes and learns those.

use std::path::PathBuf;

use kiln::data::{ReadOptions, Transforms, read_folder};
use kiln::nn::Schedule;
use kiln::prelude::*;
use kiln::train::{Feed, Length, ModelCard, Normalize, Progress, Trainer};

mod shapes;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let drawn = std::env::temp_dir().join("kiln-shapes");
    let folder = match args.next() {
        Some(folder) if folder != "drawn" => PathBuf::from(folder),
        _ => {
            shapes::write(&drawn, &shapes::CLASSES, 0, 60)?;
            drawn
        }
    };
    let epochs = args.next().map_or(Ok(5), |epochs| epochs.parse())?;

    // A fifth of each class becomes the test set where the folder has none.
    let mut data = read_folder(&folder, &ReadOptions::new(32))?;
    let stats = data.train.channel_stats()?;
    data.train = data.train.transforms(Transforms::cifar_train(32))?;

    let device = Device::open_default()?;
    let model = vision::alexnet_32(&device, Init::seed(1), data.train.classes().len())?;
    let mut optim = Sgd::new(model.parameters(), 0.02).momentum(0.9).weight_decay(5e-4);
    let feed = Feed::new(&device).batch(32).workers(2).normalize(Normalize::new(&stats.mean, &stats.std)?);

    // The card lets `kiln predict` and `kiln eval` use the weights without being told anything else.
    let card = ModelCard {
        model: "alexnet-32".into(),
        classes: data.train.classes().clone(),
        mean: stats.mean,
        std: stats.std,
        input: data.train.shape(),
    };
    let trainer = Trainer::new(Length::Epochs(epochs))
        .seed(1)
        .schedule(Schedule::one_cycle())
        .label_smoothing(0.1)
        .out("runs/alexnet")
        .metadata(card.to_metadata());
    let outcome = trainer.run(&model, &mut optim, &data, &feed, &mut Progress::new())?;
    if let Some(best) = outcome.best {
        println!("the best epoch was {}; its weights are runs/alexnet/best.safetensors", best.epoch);
    }
    Ok(())
}
