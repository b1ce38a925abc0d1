//! Throughput of the kernels that training spends its time in. Each iteration waits for the GPU, so the figures hold the fixed cost
//! of one submission.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kiln_gpu::Device;
use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_input_grad, conv2d_weight_grad};
use kiln_tensor::ops::random::Random;
use kiln_tensor::{DType, Tensor};

fn uniform(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::uniform(device, shape, -1.0, 1.0, Random { seed: 1, stream: 0 }).unwrap()
}

fn matmul(criterion: &mut Criterion) {
    let device = Device::open_default().unwrap();
    let mut group = criterion.benchmark_group("matmul");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for n in [256, 512, 1024] {
        let (a, b) = (uniform(&device, &[n, n]), uniform(&device, &[n, n]));
        // Criterion's "elements per second" are multiply-adds times two: FLOP/s.
        group.throughput(Throughput::Elements(2 * (n as u64).pow(3)));
        for (name, b) in [("plain", b.clone()), ("right transposed", b.t().unwrap())] {
            group.bench_function(format!("{name} {n}"), |bencher| {
                bencher.iter(|| {
                    let c = a.matmul(&b).unwrap();
                    device.sync().unwrap();
                    c
                });
            });
        }
    }
    group.finish();
}

fn conv2d(criterion: &mut Criterion) {
    let device = Device::open_default().unwrap();
    let mut group = criterion.benchmark_group("conv2d");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, n, c, size, k, kernel, padding, groups) in [
        ("3x3 64-64 56x56", 8, 64, 56, 64, 3, 1, 1),
        ("5x5 1-6 28x28", 64, 1, 28, 6, 5, 2, 1),
        ("5x5 6-16 14x14", 64, 6, 14, 16, 5, 0, 1),
        ("3x3 depthwise 96 56x56", 8, 96, 56, 96, 3, 1, 96),
    ] {
        let options = Conv2dOptions { padding: [padding; 2], groups, ..Default::default() };
        let out = size + 2 * padding + 1 - kernel;
        let (x, weight) = (uniform(&device, &[n, c, size, size]), uniform(&device, &[k, c / groups, kernel, kernel]));
        let dy = uniform(&device, &[n, k, out, out]);
        group.throughput(Throughput::Elements((2 * n * k * out * out * c / groups * kernel * kernel) as u64));
        let waited = |op: &dyn Fn() -> Tensor| {
            let result = op();
            device.sync().unwrap();
            result
        };
        group.bench_function(format!("forward {name}"), |bencher| {
            bencher.iter(|| waited(&|| x.conv2d(&weight, None, options).unwrap()));
        });
        group.bench_function(format!("data gradient {name}"), |bencher| {
            bencher.iter(|| waited(&|| conv2d_input_grad(&dy, &weight, x.shape(), &options).unwrap()));
        });
        group.bench_function(format!("weight gradient {name}"), |bencher| {
            bencher.iter(|| waited(&|| conv2d_weight_grad(&x, &dy, weight.shape(), &options).unwrap()));
        });
    }
    group.finish();
}

fn pointwise(criterion: &mut Criterion) {
    let device = Device::open_default().unwrap();
    let mut group = criterion.benchmark_group("pointwise");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    let n = 1 << 22;
    let (a, b) = (uniform(&device, &[n]), uniform(&device, &[n]));
    let image = uniform(&device, &[64, 64, 32, 32]);
    let bias = uniform(&device, &[64, 1, 1]);
    let mut case = |name: &str, floats: usize, op: &dyn Fn() -> Tensor| {
        group.throughput(Throughput::Bytes(4 * floats as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let result = op();
                device.sync().unwrap();
                result
            });
        });
    };
    case("relu", 2 * n, &|| a.relu().unwrap());
    case("add", 3 * n, &|| a.add(&b).unwrap());
    case("exp", 2 * n, &|| a.exp().unwrap());
    case("add channel bias", 2 * image.numel(), &|| image.add(&bias).unwrap());
    case("transpose", 2 * n, &|| a.reshape([2048, 2048]).unwrap().t().unwrap().contiguous().unwrap());
    case("sum rows", n, &|| a.reshape([2048, 2048]).unwrap().sum(1).unwrap());
    case("sum columns", n, &|| a.reshape([2048, 2048]).unwrap().sum(0).unwrap());
    case("to u8", n + n / 4, &|| a.to_dtype(DType::U8).unwrap());
    group.finish();
}

criterion_group!(benches, pointwise, matmul, conv2d);
criterion_main!(benches);
