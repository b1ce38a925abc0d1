//! AlexNet, VGG-11 and VGG-16 at 224x224 pixels against what PyTorch recorded: `tests/data/record_networks.py` tells how, and how both
//! sides make the same weights without a file of them. AlexNet's first linear weight is larger than what lavapipe binds at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use kiln::autograd::Tape;
use kiln::gpu::Device;
use kiln::nn::{Init, Module, Sgd};
use kiln::tensor::Tensor;
use kiln::vision::{Model, ModelOptions};
use safetensors::SafeTensors;

const CLASSES: usize = 1000;
const IMAGES: u32 = 1000;
const LABELS: u32 = 2000;
const SKETCHES: u32 = 3000;
const BUCKETS: usize = 64;
const SAMPLES: usize = 16;
const STEPS: usize = 5;
const BATCH: usize = 8;
const RATE: f64 = 0.001;
const MOMENTUM: f64 = 0.9;

struct Recorded(Vec<u8>);

impl Recorded {
    fn open() -> Recorded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/networks.safetensors");
        Recorded(std::fs::read(path).unwrap())
    }

    fn get(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        bytemuck::pod_collect_to_vec(file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data())
    }
}

/// Element `i` of a stream.
fn hash(stream: u32, i: usize) -> u32 {
    let mut h = (i as u32).wrapping_mul(0x9e37_79b9).wrapping_add(stream.wrapping_mul(0x85eb_ca6b));
    h = (h ^ (h >> 16)).wrapping_mul(0x21f0_aaad);
    h = (h ^ (h >> 15)).wrapping_mul(0x735a_2d97);
    h ^ (h >> 15)
}

fn uniform(device: &Device, stream: u32, shape: &[usize], bound: f32) -> Tensor {
    let count = shape.iter().product();
    let scale = 2.0f32.powi(-23);
    let values: Vec<f32> = (0..count).map(|i| ((hash(stream, i) >> 8) as f32 * scale - 1.0) * bound).collect();
    Tensor::from_slice(device, shape, &values).unwrap()
}

fn network(device: &Device, name: &str) -> Box<dyn Module> {
    let options = ModelOptions { dropout: Some(0.0), ..ModelOptions::new(CLASSES) };
    let model = Model::find(name).unwrap().build_with(device, Init::seed(0), &options).unwrap();
    for (stream, (_, parameter)) in model.parameters().iter().enumerate() {
        let shape = parameter.shape().to_vec();
        let inputs: usize = shape[1..].iter().product();
        let bound = if shape.len() > 1 { (6.0 / inputs as f64).sqrt() as f32 } else { 0.1 };
        parameter.set(uniform(device, stream as u32, &shape, bound)).unwrap();
    }
    model
}

fn batch(device: &Device, count: usize) -> (Tensor, Tensor) {
    let labels: Vec<i32> = (0..count).map(|i| (hash(LABELS, i) % CLASSES as u32) as i32).collect();
    let images = uniform(device, IMAGES, &[count, 3, 224, 224], 0.25);
    (images, Tensor::from_slice(device, [count], &labels).unwrap())
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn difference<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b))
}

/// Sums of elements with random signs, each in one of 64 random places: linear, and its length is in the mean that of the values.
fn sketch(stream: u32, values: &[f32]) -> Vec<f32> {
    let mut sums = [0.0f64; BUCKETS];
    for (i, &value) in values.iter().enumerate() {
        let h = hash(stream, i);
        sums[h as usize % BUCKETS] += if h >> 31 == 1 { -f64::from(value) } else { f64::from(value) };
    }
    sums.iter().map(|&sum| sum as f32).collect()
}

/// How far the gradients of convolutions may be apart, in parts of their norm. A pre-activation within a rounding of 0, or two
/// pixels that are the largest of a window within one, send the gradient another way, and all layers below feel it. VGG has millions of
/// either: PyTorch's own f32 and f64 gradients of VGG-16 are 3.4e-3 apart, and where no such place is met they are 2e-6 apart. Worst
/// measured: 7.6e-3, VGG-11 with `KILN_PLAN=direct`. A wrong rule misses by the norm itself.
const VGG_FEATURES: f64 = 2e-2;

/// Logits and all gradients of a first step; those of convolutions within `features`.
fn check(name: &str, count: usize, features: f64) {
    let device = Device::open_default().unwrap();
    let recorded = Recorded::open();
    let model = network(&device, name);
    let (images, labels) = batch(&device, count);
    let tape = Tape::train();
    let logits = model.forward(&tape.constant(images)).unwrap();
    let (found, expected) = (logits.to_vec::<f32>().unwrap(), recorded.get(&format!("{name}.logits")));
    let apart = norm(difference(&found, &expected)) / norm(expected.iter().map(|&value| f64::from(value)));
    println!("{name}: logits are {apart:.1e} of their norm apart");
    assert!(apart < 1e-4, "{name}: logits are {apart:e} of their norm apart");
    let loss = logits.cross_entropy(&labels).unwrap();
    let (found, expected) = (loss.item::<f32>().unwrap(), recorded.get(&format!("{name}.loss"))[0]);
    assert!((found / expected - 1.0).abs() < 1e-4, "{name}: the loss is {found}, PyTorch's {expected}");

    let gradients = loss.backward().unwrap();
    let mut worst = (0.0f64, String::new());
    for (number, (key, parameter)) in model.parameters().iter().enumerate() {
        let gradient = parameter.gradient(&gradients).unwrap().to_vec::<f32>().unwrap();
        let of = |what: &str| recorded.get(&format!("{name}.{key}.{what}"));
        let pair = of("norm_and_sum");
        let (length, sum) = (f64::from(pair[0]), f64::from(pair[1]));
        let allowed = if key.starts_with("features") { features } else { 1e-3 };
        let mut told = |what: &str, apart: f64| {
            assert!(apart < allowed, "{name}: the gradient of {key} has its {what} {apart:e} of its norm apart");
            if apart > worst.0 {
                worst = (apart, format!("{what} of {key}"));
            }
        };
        let sketched = sketch(SKETCHES + number as u32, &gradient);
        told("sketch", norm(difference(&sketched, &of("sketch"))) / length);
        told("norm", (norm(gradient.iter().map(|&value| f64::from(value))) - length).abs() / length);
        // A sum of n errors that are independent grows with the root of n.
        let total: f64 = gradient.iter().map(|&value| f64::from(value)).sum();
        told("sum", (total - sum).abs() / (length * (gradient.len() as f64).sqrt()));
        let step = (gradient.len() / SAMPLES).max(1);
        let samples: Vec<f32> = gradient.iter().step_by(step).take(SAMPLES).copied().collect();
        told("samples", norm(difference(&samples, &of("samples"))) / length);
    }
    println!("{name}: of the gradients, {} is the worst: {:.1e}", worst.1, worst.0);
}

#[test]
fn alexnet_is_pytorchs() {
    check("alexnet", 2, 1e-3);
}

#[test]
fn vgg11_is_pytorchs() {
    check("vgg11", 1, VGG_FEATURES);
}

#[test]
fn vgg16_is_pytorchs() {
    check("vgg16", 1, VGG_FEATURES);
}

#[test]
fn alexnet_trains_as_pytorchs() {
    let device = Device::open_default().unwrap();
    let expected = Recorded::open().get("alexnet.losses");
    assert_eq!(expected.len(), STEPS);
    assert!(expected[STEPS - 1] < 0.9 * expected[0], "the recorded run learns nothing: {expected:?}");
    let model = network(&device, "alexnet");
    let (images, labels) = batch(&device, BATCH);
    let mut optim = Sgd::new(model.parameters(), RATE).momentum(MOMENTUM);
    for (step, &expected) in expected.iter().enumerate() {
        let tape = Tape::train();
        let loss = model.forward(&tape.constant(images.clone())).unwrap().cross_entropy(&labels).unwrap();
        optim.step(&loss.backward().unwrap()).unwrap();
        let found = loss.item::<f32>().unwrap();
        println!("step {step}: {found}, PyTorch {expected}");
        assert!((found / expected - 1.0).abs() < 1e-4, "step {step}: the loss is {found}, PyTorch's {expected}");
    }
}
