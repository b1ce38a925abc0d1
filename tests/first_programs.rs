//! What someone who knows PyTorch writes first, with nothing but the prelude. Most of it is held by compiling at all; what runs is
//! small.

#![allow(clippy::unwrap_used)]

use kiln::data::{Dataset, ReadOptions, Splits, Transforms, read_folder};
use kiln::prelude::*;
use kiln::tensor::ops::conv::Conv2dOptions;
use kiln::tensor::ops::pool::MaxPool2dOptions;
use kiln::train::{Feed, Length, Progress, Trainer, evaluate};

/// The functional style: pooling and activations are calls in `forward`.
struct Net {
    conv1: nn::Conv2d,
    conv2: nn::Conv2d,
    fc: nn::Linear,
}

impl Net {
    // A device's error is one of the network's.
    fn on_default_device() -> nn::Result<(Device, Net)> {
        let device = Device::open_default()?;
        let init = Init::seed(1);
        let net = Net {
            conv1: nn::Conv2d::new(&device, &init.child("conv1"), 1, 4, 3)?,
            conv2: nn::Conv2d::builder(4, 8, (3, 3)).stride(1).padding([1, 1]).build(&device, &init.child("conv2"))?,
            fc: nn::Linear::new(&device, &init.child("fc"), 8 * 3 * 3, 2)?,
        };
        Ok((device, net))
    }
}

impl Module for Net {
    fn forward(&self, x: &Var) -> nn::Result<Var> {
        let x = self.conv1.forward(x)?.relu()?.max_pool2d(2)?;
        let x = self.conv2.forward(&x)?.relu()?.flatten(1)?;
        self.fc.forward(&x)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        v.child("conv1", &self.conv1);
        v.child("conv2", &self.conv2);
        v.child("fc", &self.fc);
    }
}

/// Dark images and bright ones, of 8x8 pixels.
fn shades() -> Dataset {
    let pixel = |at: usize| if (at / 64).is_multiple_of(2) { 20 } else { 220 };
    Dataset::from_memory(
        (0..16 * 64).map(pixel).collect(),
        [16, 1, 8, 8],
        (0..16).map(|n| n % 2).collect(),
        ["dark", "bright"],
    )
    .unwrap()
}

fn train(net: &dyn Module, device: &Device, data: &Dataset) -> anyhow::Result<f64> {
    let mut optim = Adam::new(net.parameters(), 1e-2);
    let loader = data.loader(8).shuffle(42);
    let mut accuracy = 0.0;
    for epoch in 1..=8 {
        let (mut right, mut total) = (0, 0.0);
        for batch in &loader {
            let (images, labels) = batch?.to(device)?;
            let output = net.forward(&Tape::train().constant(images))?;
            let loss = output.cross_entropy(&labels)?;
            optim.step(&loss.backward()?)?;
            right += output.argmax(1)?.eq(&labels)?.sum(..)?.item::<u32>()?;
            total += loss.item::<f32>()?;
        }
        accuracy = f64::from(right) / data.len() as f64;
        println!("epoch {epoch}: loss {:.4}, accuracy {:.1} %", total / 2.0, 100.0 * accuracy);
    }
    Ok(accuracy)
}

#[test]
fn a_model_of_its_own_is_trained_saved_and_loaded() {
    let (device, net) = Net::on_default_device().unwrap();
    let data = shades();
    assert_eq!(train(&net, &device, &data).unwrap(), 1.0);
    let test = evaluate(&net, &data, &Feed::new(&device)).unwrap();
    assert_eq!(test.top1, 1.0);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors").to_str().unwrap().to_string();
    net.save(&path).unwrap();
    let (_, other) = Net::on_default_device().unwrap();
    // A path in any form, of a module behind a reference or in a box.
    let model: &dyn Module = &other;
    model.load(path.as_str()).unwrap();
    let boxed: Box<dyn Module> = Box::new(other);
    boxed.load(path).unwrap();
    let weight = |net: &dyn Module| net.parameters().get("fc.weight").unwrap().value().to_vec::<f32>().unwrap();
    assert_eq!(weight(&boxed), weight(&net));
}

/// An epoch has its own order, and the first pass is epoch 0.
#[test]
fn each_pass_over_a_loader_is_the_next_epoch() {
    let data = shades();
    let loader = data.loader(16).shuffle(7);
    let order = |batches: kiln::data::Batches| batches.flat_map(|batch| batch.unwrap().samples).collect::<Vec<_>>();
    let passes = [order((&loader).into_iter()), order((&loader).into_iter()), order(loader.clone().into_iter())];
    assert_eq!(passes, [order(loader.epoch(0)), order(loader.epoch(1)), order(loader.epoch(2))]);
    assert_ne!(passes[0], passes[1]);

    let mut count = 0;
    for batch in data.loader(4) {
        count += batch.unwrap().labels.len();
    }
    assert_eq!(count, 16);
}

#[test]
fn shapes_and_axes_are_said_as_in_pytorch() -> anyhow::Result<()> {
    let device = Device::open_default()?;
    let values: Vec<f32> = (0..2 * 3 * 4 * 4).map(|at| at as f32).collect();
    let x = Tensor::from_slice(&device, [2, 3, 4, 4], &values)?;
    let [n, c, h, w] = x.dims()?;

    assert_eq!(x.reshape([2, -1])?.dims()?, [2, 48]);
    assert_eq!(x.reshape((n, -1))?.dims()?, [2, 48]);
    assert_eq!(x.reshape((n, c, h * w))?.dims()?, [2, 3, 16]);
    assert_eq!(x.reshape(-1)?.dims()?, [96]);
    assert_eq!(x.flatten(1)?.dims()?, [2, 48]);
    assert_eq!(x.flatten(2)?.dims()?, [2, 3, 16]);
    assert_eq!(x.flatten(-2)?.dims()?, [2, 3, 16]);
    assert_eq!(x.flatten(0..=1)?.dims()?, [6, 4, 4]);
    assert_eq!(x.flatten((1, -2))?.dims()?, [2, 12, 4]);
    assert_eq!(x.flatten(..)?.dims()?, [96]);
    assert_eq!(x.permute([0, 2, 3, 1])?.dims()?, [2, 4, 4, 3]);
    assert_eq!(x.permute([0, -2, -1, 1])?.dims()?, [2, 4, 4, 3]);
    assert_eq!(x.transpose(-1, 1)?.dims()?, [2, 4, 4, 3]);
    assert_eq!(x.unsqueeze(-1)?.squeeze(-1)?.dims()?, [2, 3, 4, 4]);
    assert_eq!(Tensor::cat(&[&x, &x], -1)?.dims()?, [2, 3, 4, 8]);
    assert_eq!(Tensor::stack(&[&x, &x], -1)?.dims()?, [2, 3, 4, 4, 2]);
    assert_eq!(x.dim(-1)?, 4);

    assert_eq!(x.sum(..)?.item::<f32>()?, 96.0 * 95.0 / 2.0);
    assert_eq!(x.mean([2, 3])?.to_vec::<f32>()?, [7.5, 23.5, 39.5, 55.5, 71.5, 87.5]);
    assert_eq!(x.mean_keepdim([-2, -1])?.dims()?, [2, 3, 1, 1]);
    assert_eq!(x.reshape([2, 48])?.argmax(1)?.to_vec::<i32>()?, [47, 47]);
    assert_eq!(x.argmax_keepdim(-1)?.dims()?, [2, 3, 4, 1]);
    assert_eq!(x.max(1)?.min(-1)?.dims()?, [2, 4]);
    assert_eq!(x.softmax(-1)?.sum(3)?.to_vec::<f32>()?.len(), 24);

    // Counted from the end, an axis is the same one, in the gradient as well.
    let tape = Tape::train();
    let leaf = tape.leaf(x.clone());
    let there = leaf.log_softmax(-1)?.transpose(-1, -2)?.narrow(-1, 1, 2)?.max_keepdim([-1])?.flatten(1)?.sum(..)?;
    let back = there.backward()?.get(&leaf).unwrap().to_vec::<f32>()?;
    let tape = Tape::train();
    let leaf = tape.leaf(x.clone());
    let there = leaf.log_softmax(3)?.transpose(3, 2)?.narrow(3, 1, 2)?.max_keepdim(3)?.flatten(1..=3)?.sum([0, 1])?;
    assert_eq!(back, there.backward()?.get(&leaf).unwrap().to_vec::<f32>()?);
    Ok(())
}

#[test]
fn wrong_axes_and_shapes_are_told() -> anyhow::Result<()> {
    let x = Tensor::zeros(&Device::open_default()?, [2, 3], DType::F32)?;
    let told = |result: kiln::tensor::Result<Tensor>| result.unwrap_err().to_string();
    assert_eq!(
        told(x.softmax(-3)),
        "softmax: axis -3 of a tensor of shape [2, 3]; needs an axis below 2 and at least -2"
    );
    assert_eq!(told(x.sum([0, -2])), "sum: axes [0, -2] name axis 0 twice; name each once");
    assert_eq!(
        told(x.unsqueeze(-4)),
        "unsqueeze: axis -4 for a tensor of shape [2, 3]; needs at most 2 and at least -3"
    );
    assert_eq!(
        told(x.reshape([-1, 4])),
        "reshape: [2, 3] has 6 elements, not a multiple of 4, which the other sizes of [-1, 4] make"
    );
    assert_eq!(told(x.reshape([-1, -1])), "reshape: [-1, -1]; needs sizes of at least 0, of which one may be -1");
    assert_eq!(told(x.reshape([2, -3])), "reshape: [2, -3]; needs sizes of at least 0, of which one may be -1");
    assert_eq!(
        told(x.reshape([1; 9])),
        "reshape: a shape of 9 axes; needs at most 6: merge neighbouring axes by reshape"
    );
    Ok(())
}

#[test]
fn options_are_numbers_or_pairs_and_operands_numbers() -> anyhow::Result<()> {
    let device = Device::open_default()?;
    let x = Tensor::ones(&device, [1, 2, 6, 8], DType::F32)?;
    let w = Tensor::ones(&device, [4, 2, 3, 3], DType::F32)?;
    assert_eq!(x.conv2d(&w, None, Conv2dOptions::new())?.dims()?, [1, 4, 4, 6]);
    assert_eq!(x.conv2d(&w, None, Conv2dOptions::new().stride(2).padding((1, 0)))?.dims()?, [1, 4, 3, 3]);
    assert_eq!(x.max_pool2d(2)?.dims()?, [1, 2, 3, 4]);
    assert_eq!(x.max_pool2d([3, 2])?.dims()?, [1, 2, 2, 4]);
    assert_eq!(x.max_pool2d(MaxPool2dOptions::new(3).stride(2).padding(1))?.dims()?, [1, 2, 3, 4]);
    assert_eq!(x.avg_pool2d((2, 4))?.dims()?, [1, 2, 3, 2]);
    assert_eq!(x.adaptive_avg_pool2d(1)?.dims()?, [1, 2, 1, 1]);

    let noise = |seed: u64| Tensor::normal(&device, [3], 0.0, 1.0, seed)?.to_vec::<f32>();
    assert_eq!(noise(7)?, Tensor::normal(&device, [3], 0.0, 1.0, 7)?.to_vec::<f32>()?);
    assert_ne!(noise(7)?, noise(8)?);

    let a = Tensor::from_slice(&device, [3], &[1.0f32, 2.0, 4.0])?;
    let y = 1.0 - (&a * 2.0 + a.clone()) / 2.0 - &a * &a;
    assert_eq!(y.to_vec::<f32>()?, [-1.5, -6.0, -21.0]);
    let tape = Tape::train();
    let a = tape.leaf(a);
    let y = (1.0 - (&a * 2.0 + a.clone()) / 2.0 - &a * &a).sum(..)?;
    // -3/2 - 2 a
    assert_eq!(y.backward()?.get(&a).unwrap().to_vec::<f32>()?, [-3.5, -5.5, -9.5]);
    let integers = Tensor::ones(&device, [1], DType::I32)?;
    let told = integers.div_scalar(2.0).unwrap_err().to_string();
    assert!(told.starts_with("div_scalar: ") && told.contains("i32"), "{told}");
    Ok(())
}

/// Layers in a row, by the trainer, on a folder of images. Only compiled.
#[allow(dead_code)]
fn trained_on_a_folder() -> anyhow::Result<()> {
    let device = Device::open_default()?;
    let mut data: Splits = read_folder("photos", &ReadOptions::new(32))?;
    data.train = data.train.transforms(Transforms::cifar_train(32))?;
    let init = Init::seed(0);
    let model = nn::Sequential::builder()
        .layer(nn::Conv2d::builder(3, 16, 3).padding(1))
        .layer(nn::BatchNorm2d::builder(16))
        .layer(nn::ReLU)
        .layer(nn::MaxPool2d::new(2))
        .layer(nn::Flatten)
        .layer(nn::Dropout::new(0.5)?)
        .layer(nn::Linear::builder(16 * 16 * 16, data.train.classes().len()))
        .build(&device, &init)?;
    let mut optim = AdamW::new(model.parameters(), 1e-3);
    let trainer = Trainer::new(Length::Epochs(10)).out("runs/photos");
    trainer.run(&model, &mut optim, &data, &Feed::new(&device), &mut Progress::new())?;
    model.save("model.safetensors")?;

    let fashion = FashionMnist::embedded()?;
    let model = vision::lenet5(&device, &init, 10)?;
    let mut optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
    trainer.run(&model, &mut optim, fashion.splits(), &Feed::new(&device), &mut Progress::new())?;
    Ok(())
}
