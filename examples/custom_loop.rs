//! A training loop of one's own: every part that the Trainer uses is public, and this is what it does with them.
//!
//! `cargo run --release --example custom_loop [STEPS]`.

use kiln::nn::{Schedule, clip_grad_norm};
use kiln::prelude::*;
use kiln::train::{Feed, evaluate};

/// The largest learning rate.
const LR: f64 = 2e-3;

fn main() -> anyhow::Result<()> {
    let steps: u64 = std::env::args().nth(1).map_or(Ok(300), |steps| steps.parse())?;
    let device = Device::open_default()?;
    let data = FashionMnist::embedded()?;
    let model = vision::lenet5(&device, Init::seed(7), 10)?;
    let parameters = model.parameters();
    let mut optim = Adam::new(parameters.clone(), LR);
    let schedule = Schedule::cosine(0);

    // Batches without end, in an order that the seed decides; `zip` stops after the last step.
    let batches = data.train().loader(64).shuffle(7).epochs(u64::MAX);
    for (step, batch) in (0..steps).zip(batches) {
        let (images, labels) = batch?.to(&device)?;
        // A tape is a step: it records what is computed, for backward.
        let tape = Tape::train_seeded(step);
        let logits = model.forward(&tape.constant(images))?;
        let loss = logits.cross_entropy(&labels)?;
        let mut gradients = loss.backward()?;
        clip_grad_norm(&parameters, &mut gradients, 5.0, false)?;
        optim.set_lr(schedule.lr(LR, step, steps));
        optim.step(&gradients)?;
        // Reading the loss waits for the GPU; everything else only queues work.
        if step % 50 == 0 || step + 1 == steps {
            println!("step {step:4}  loss {:.4}", loss.tensor().item::<f32>()?);
        }
    }

    let test = evaluate(&model, data.test(), &Feed::new(&device))?;
    println!("test loss {:.4}, {:.1} % right", test.loss, 100.0 * test.top1);
    Ok(())
}
