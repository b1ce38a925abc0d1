//! A network of one's own, with a residual connection: a struct, its forward pass, and one method that names its parts.
//!
//! `cargo run --release --example custom_model [STEPS]`.

use kiln::autograd::Var;
use kiln::data::Splits;
use kiln::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Build, Conv2d, Flatten, Linear, ReLU, Result, Sequential, Visitor, summary,
};
use kiln::prelude::*;
use kiln::train::{Feed, Length, Progress, Trainer};

/// `y = relu(x + f(x))`, f being two convolutions with batch norm (He et al. 2016).
struct Residual {
    body: Sequential,
}

impl Residual {
    fn new(device: &Device, init: &Init, channels: usize) -> Result<Residual> {
        let conv = || Conv2d::builder(channels, channels, 3).padding(1).bias(false);
        let body = Sequential::builder()
            .layer(conv())
            .layer(BatchNorm2d::builder(channels))
            .layer(ReLU)
            .layer(conv())
            .layer(BatchNorm2d::builder(channels));
        Ok(Residual { body: body.build(device, &init.child("body"))? })
    }
}

impl Module for Residual {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.add(&self.body.forward_as("body", x)?)?.relu()?)
    }

    // Names, counts, saving, loading, freezing and the optimizer's order all follow from this one visit.
    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("body", &self.body);
    }
}

/// A convolution, a residual block, the mean of each channel, and a linear layer.
struct SmallNet {
    stem: Conv2d,
    block: Residual,
    head: Linear,
}

impl Module for SmallNet {
    fn forward(&self, x: &Var) -> Result<Var> {
        let x = self.stem.forward_as("stem", x)?.relu()?;
        let x = self.block.forward_as("block", &x)?;
        let x = Flatten.forward(&AdaptiveAvgPool2d::new(1).forward(&x)?)?;
        self.head.forward_as("head", &x)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("stem", &self.stem);
        v.child("block", &self.block);
        v.child("head", &self.head);
    }
}

fn main() -> anyhow::Result<()> {
    let steps = std::env::args().nth(1).map_or(Ok(200), |steps| steps.parse())?;
    let device = Device::open_default()?;
    let init = Init::seed(3);
    let model = SmallNet {
        stem: Conv2d::builder(1, 16, 3).stride(2).padding(1).build(&device, &init.child("stem"))?,
        block: Residual::new(&device, &init.child("block"), 16)?,
        head: Linear::builder(16, 10).build(&device, &init.child("head"))?,
    };
    println!("{}", summary(&model, &device, [1, 1, 28, 28])?);

    let data = FashionMnist::embedded()?;
    let data = Splits::new(data.train().clone(), data.test().clone());
    let mut optim = Adam::new(model.parameters(), 3e-3);
    let trainer = Trainer::new(Length::Steps(steps)).seed(3);
    trainer.run(&model, &mut optim, &data, &Feed::new(&device), &mut Progress::new())?;
    std::fs::create_dir_all("runs")?;
    model.save("runs/small-net.safetensors")?;
    Ok(())
}
