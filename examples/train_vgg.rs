//! Trains VGG-11 with batch norm for 32x32 pixels, and goes on where an interrupted run stopped.
//!
//! `cargo run --release --example train_vgg [FOLDER] [EPOCHS]`. Without a folder, or with `drawn`, it draws
//! shapes and learns those. Stop it by
//! Ctrl-C and start it again: it ends with the weights that it would have had without the pause.

use std::path::{Path, PathBuf};

use kiln::data::{ReadOptions, Transforms, read_folder};
use kiln::nn::Schedule;
use kiln::prelude::*;
use kiln::train::{CHECKPOINT_FILE, Feed, Interrupt, Length, Normalize, Progress, Stopped, Trainer};

mod shapes;

const OUT: &str = "runs/vgg";

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

    let mut data = read_folder(&folder, &ReadOptions::new(32))?;
    let stats = data.train.channel_stats()?;
    data.train = data.train.transforms(Transforms::cifar_train(32))?;

    let device = Device::open_default()?;
    let model = vision::vgg11_bn_32(&device, Init::seed(1), data.train.classes().len())?;
    let mut optim = Sgd::new(model.parameters(), 0.05).momentum(0.9).nesterov(true).weight_decay(5e-4);
    let feed = Feed::new(&device).batch(32).workers(2).normalize(Normalize::new(&stats.mean, &stats.std)?);

    let trainer = Trainer::new(Length::Epochs(epochs))
        .seed(1)
        .schedule(Schedule::one_cycle())
        .ema(0.99)
        .checkpoint_every(10)
        .resume(Path::new(OUT).join(CHECKPOINT_FILE).exists())
        .out(OUT);
    let mut hooks = (Progress::new(), Interrupt::new()?);
    let outcome = trainer.run(&model, &mut optim, &data, &feed, &mut hooks)?;
    if outcome.stopped == Stopped::Interrupted {
        println!("stopped after {} steps; start it again to go on", outcome.steps);
    }
    Ok(())
}
