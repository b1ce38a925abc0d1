//! LeNet-5 against the values that PyTorch recorded: `tests/data/record_pytorch.py` tells how they were made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use kiln::autograd::{Gradients, Tape};
use kiln::data::FashionMnist;
use kiln::gpu::Device;
use kiln::nn::{Init, Module, Sgd};
use kiln::tensor::Tensor;
use kiln::train::Normalize;
use kiln::vision::{LeNet5, lenet5};
use safetensors::SafeTensors;

/// The recorded tensors.
struct Recorded(Vec<u8>);

impl Recorded {
    fn open() -> Recorded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lenet5.safetensors");
        Recorded(std::fs::read(path).unwrap())
    }

    fn get<T: bytemuck::Pod>(&self, name: &str) -> Vec<T> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
    }
}

const STEPS: usize = 20;
const BATCH: usize = 64;

/// The recorded batches: the first images of the training set, in order.
fn batches(device: &Device, recorded: &Recorded) -> Vec<(Tensor, Tensor)> {
    let normalize = Normalize::new(&[0.2860], &[0.3530]).unwrap();
    let data = FashionMnist::embedded().unwrap();
    let chosen = recorded.get::<i32>("batches");
    let (sums, labels) = (recorded.get::<i32>("pixel_sums"), recorded.get::<u8>("labels"));
    let batches = chosen.chunks(BATCH).zip(sums.iter().zip(labels.chunks(BATCH)));
    let batches = batches.map(|(indices, (sum, labels))| {
        let samples: Vec<_> = indices.iter().map(|&index| data.train().get(index as usize).unwrap()).collect();
        let pixels: Vec<u8> = samples.iter().flat_map(|sample| sample.image.clone()).collect();
        let same = pixels.iter().map(|&pixel| i32::from(pixel)).sum::<i32>() == *sum
            && samples.iter().zip(labels).all(|(sample, label)| sample.label == u32::from(*label));
        assert!(same, "these are not the images that were recorded");
        let images = Tensor::from_slice(device, [BATCH, 1, 28, 28], &pixels).unwrap();
        (normalize.apply(&images).unwrap(), Tensor::from_slice(device, BATCH, labels).unwrap())
    });
    batches.collect()
}

/// LeNet-5 with the recorded weights.
fn model(device: &Device, recorded: &Recorded) -> LeNet5 {
    let model = lenet5(device, Init::seed(0), 10).unwrap();
    for (name, parameter) in model.parameters().iter() {
        let values = recorded.get::<f32>(&format!("initial.{name}"));
        parameter.set(Tensor::from_slice(device, parameter.shape(), &values).unwrap()).unwrap();
    }
    model
}

/// The length of the difference, as a part of the length of `expected`.
fn distance(given: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(given.len(), expected.len());
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = given.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
    length(&mut difference.into_iter()) / length(&mut expected.iter().map(|value| f64::from(*value)))
}

#[test]
fn logits_and_first_gradients_are_those_of_pytorch() {
    let device = Device::open_default().unwrap();
    let recorded = Recorded::open();
    let model = model(&device, &recorded);
    let (images, labels) = batches(&device, &recorded).swap_remove(0);

    let tape = Tape::train();
    let logits = model.forward(&tape.constant(images)).unwrap();
    let apart = distance(&logits.to_vec::<f32>().unwrap(), &recorded.get::<f32>("logits"));
    assert!(apart < 1e-4, "logits are {apart:e} of their norm apart");

    let gradients: Gradients = logits.cross_entropy(&labels).unwrap().backward().unwrap();
    for (name, parameter) in model.parameters().iter() {
        let gradient = parameter.gradient(&gradients).unwrap().to_vec::<f32>().unwrap();
        let apart = distance(&gradient, &recorded.get::<f32>(&format!("gradient.{name}")));
        assert!(apart < 1e-3, "the gradient of {name} is {apart:e} of its norm apart");
    }
}

/// Trains from the recorded weights over the recorded batches. The memory in use after each step is looked at on the way.
fn losses(run: &str, lr: f64) -> Vec<f32> {
    let device = Device::open_default().unwrap();
    let recorded = Recorded::open();
    let model = model(&device, &recorded);
    let mut optim = Sgd::new(model.parameters(), lr).momentum(0.9).weight_decay(5e-4);
    let batches = batches(&device, &recorded);
    let mut losses = Vec::new();
    let mut memory = Vec::new();
    for (images, labels) in &batches {
        let tape = Tape::train();
        let loss = model.forward(&tape.constant(images.clone())).unwrap().cross_entropy(labels).unwrap();
        optim.step(&loss.backward().unwrap()).unwrap();
        losses.push(loss.item::<f32>().unwrap());
        drop((tape, loss));
        let report = device.memory();
        memory.push((report.in_use, report.reserved, report.peak));
    }
    assert!(memory[1..].iter().all(|figures| *figures == memory[1]), "{run}: memory is not flat: {memory:?}");
    losses
}

fn check_losses(run: &str, lr: f64) {
    let losses = losses(run, lr);
    let expected = Recorded::open().get::<f32>(run);
    assert_eq!((losses.len(), expected.len()), (STEPS, STEPS));
    for (step, (loss, expected)) in losses.iter().zip(&expected).enumerate() {
        let apart = f64::from((loss - expected).abs() / expected);
        assert!(apart < 1e-4, "{run}: the loss of step {step} is {loss}, PyTorch's {expected}, {apart:e} apart");
    }
}

#[test]
fn twenty_losses_are_those_of_pytorch() {
    check_losses("losses", 0.01);
}

#[test]
fn twenty_losses_at_a_high_rate_are_those_of_pytorch() {
    check_losses("losses_fast", 0.05);
}
