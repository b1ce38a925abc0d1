//! Trains LeNet-5 on the embedded part of Fashion-MNIST: the shortest way from data to a trained network.
//!
//! `cargo run --release --example train_lenet [STEPS]` (500 steps, three epochs, unless given).

use kiln::data::Splits;
use kiln::nn::Schedule;
use kiln::prelude::*;
use kiln::train::{Feed, Length, Progress, Trainer};

fn main() -> anyhow::Result<()> {
    let steps = std::env::args().nth(1).map_or(Ok(500), |steps| steps.parse())?;
    let device = Device::open_default()?;
    println!("on {}", device.info());

    let data = FashionMnist::embedded()?;
    let data = Splits::new(data.train().clone(), data.test().clone());
    let model = vision::lenet5(&device, Init::seed(42), 10)?;
    let mut optim = Adam::new(model.parameters(), 2e-3);

    let trainer = Trainer::new(Length::Steps(steps)).seed(42).schedule(Schedule::cosine(steps.min(50) / 2));
    let outcome = trainer.run(&model, &mut optim, &data, &Feed::new(&device), &mut Progress::new())?;

    if let Some(test) = outcome.evaluation {
        println!("{:.1} % of {} test images are right", 100.0 * test.top1, test.samples);
        for (class, metrics) in data.test.classes().iter().zip(test.confusion.per_class()) {
            println!("{class:12} precision {:.2}  recall {:.2}", metrics.precision, metrics.recall);
        }
    }
    Ok(())
}
