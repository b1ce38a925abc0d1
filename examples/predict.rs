//! Names what is on pictures, by the weights of a run: the classes and the normalisation are in the file.
//!
//! `cargo run --release --example predict WEIGHTS IMAGE...`. Without arguments it trains LeNet-5 for a moment, and looks at test images.

use std::path::Path;

use kiln::data::{Dataset, ReadOptions, Splits, read_images};
use kiln::nn::StateFile;
use kiln::prelude::*;
use kiln::train::{Feed, Length, ModelCard, Normalize, Trainer};
use kiln::vision::Model;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::open_default()?;
    match args.split_first() {
        Some((weights, images)) => {
            let (model, card) = load(&device, Path::new(weights))?;
            let [channels, size, _] = Model::find(&card.model).map_or([3, 224, 224], |model| model.input);
            let options = if channels == 1 { ReadOptions::new(size).grey() } else { ReadOptions::new(size) };
            predict(&device, &*model, &card, &read_images(images, &options)?)
        }
        None => {
            let file = std::env::temp_dir().join("kiln-example-predict");
            let test = train(&device, &file)?;
            let (model, card) = load(&device, &file.join("model.safetensors"))?;
            predict(&device, &*model, &card, &test)
        }
    }
}

/// The model that a weights file was made with, and what the file says about it.
fn load(device: &Device, path: &Path) -> anyhow::Result<(Box<dyn Module>, ModelCard)> {
    let file = StateFile::open(path)?;
    let card = ModelCard::from_metadata(file.metadata())?
        .ok_or_else(|| anyhow::anyhow!("{}: says nothing about its model", path.display()))?;
    let known = Model::find(&card.model).ok_or_else(|| anyhow::anyhow!("{} is no model of Kiln", card.model))?;
    let model = known.build(device, Init::seed(0), card.classes.len())?;
    model.load(path)?;
    Ok((model, card))
}

/// Prints the three most probable classes of each image.
fn predict(device: &Device, model: &dyn Module, card: &ModelCard, images: &Dataset) -> anyhow::Result<()> {
    let normalize = Normalize::new(&card.mean, &card.std)?;
    for batch in images.loader(32).epochs(1) {
        let batch = batch?;
        let (pixels, _) = batch.to_normalized(device, &normalize)?;
        let probabilities = model.forward(&Tape::eval().constant(pixels))?.softmax(1)?;
        let rows = probabilities.tensor().to_vec::<f32>()?;
        for (index, row) in rows.chunks(card.classes.len()).enumerate() {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let best =
                order.iter().take(3).map(|&class| format!("{} {:.1} %", card.classes[class], 100.0 * row[class]));
            let place = batch.index * 32 + index;
            println!("{}: {}", images.name(place).unwrap_or_default(), best.collect::<Vec<_>>().join(", "));
        }
    }
    Ok(())
}

/// A short run of LeNet-5, kept in a folder; returns a few test images.
fn train(device: &Device, out: &Path) -> anyhow::Result<Dataset> {
    let data = FashionMnist::embedded()?;
    let (few, _) = data.test().split(0.005, 1)?;
    let splits = Splits::new(data.train().clone(), few.clone());
    let stats = splits.train.channel_stats()?;
    let model = vision::lenet5(device, Init::seed(1), 10)?;
    let feed = Feed::new(device).normalize(Normalize::new(&stats.mean, &stats.std)?);
    let classes = few.classes().clone();
    let input = [1, 28, 28];
    let card = ModelCard { model: "lenet5".into(), classes, mean: stats.mean, std: stats.std, input };
    let trainer = Trainer::new(Length::Steps(100)).seed(1).out(out).metadata(card.to_metadata());
    trainer.run(&model, &mut Adam::new(model.parameters(), 3e-3), &splits, &feed, &mut ())?;
    Ok(few)
}
