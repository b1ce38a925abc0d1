//! A whole training step of LeNet-5, batch 64: forward, loss, backward, SGD with momentum. Ten steps an iteration, then one wait, as
//! in training.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kiln_autograd::Tape;
use kiln_gpu::Device;
use kiln_nn::{Init, Module, Sgd};
use kiln_tensor::{DType, Random, Tensor};

const BATCH: usize = 64;
const STEPS: u64 = 10;

fn lenet(criterion: &mut Criterion) {
    let device = Device::open_default().unwrap();
    let model = kiln_vision::lenet5(&device, Init::seed(1), 10).unwrap();
    let mut optim = Sgd::new(model.parameters(), 0.01).momentum(0.9);
    let images = Tensor::normal(&device, [BATCH, 1, 28, 28], 0.0, 1.0, Random { seed: 1, stream: 0 }).unwrap();
    let labels = Tensor::zeros(&device, [BATCH], DType::I32).unwrap();
    let mut step = || {
        let tape = Tape::train();
        let loss = model.forward(&tape.constant(images.clone())).unwrap().cross_entropy(&labels).unwrap();
        optim.step(&loss.backward().unwrap()).unwrap();
    };
    step();
    let before = device.launches();
    step();
    println!("lenet5, batch {BATCH}: {} launches a step", device.launches() - before);
    let mut group = criterion.benchmark_group("lenet5");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(BATCH as u64 * STEPS));
    group.bench_function("10 training steps, batch 64", |bencher| {
        bencher.iter(|| {
            for _ in 0..STEPS {
                step();
            }
            device.sync().unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, lenet);
criterion_main!(benches);
