//! The CPU cost of recording one launch.
//!
//! Batches of 40 launches, fewer than are submitted by themselves, are recorded and timed; encoding them, submitting and waiting
//! happens outside of the clock. `add` is a whole tensor operation: shape rules, memory, plan, launch.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_gpu::{Binding, Device, PipelineDescriptor};
use kiln_tensor::{DType, Tensor};

const BATCH: u32 = 40;

fn launch(criterion: &mut Criterion) {
    let device = Device::open_default().unwrap();
    let pipeline = device
        .pipeline(&PipelineDescriptor {
            label: "nothing",
            source: "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
                     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
                     @compute @workgroup_size(1) fn main() { y[0] = x[0]; }",
            bindings: 2,
            params_bytes: 0,
            param_space: device.param_space(0),
        })
        .unwrap();
    let (x, y) = (device.allocate(64, "x").unwrap(), device.allocate(64, "y").unwrap());
    let bind = |allocation| Binding { allocation, offset: 0, size: 64 };
    let a = Tensor::ones(&device, [64], DType::F32).unwrap();

    let timed = |iterations: u64, one: &dyn Fn()| {
        let mut time = Duration::ZERO;
        for _ in 0..iterations {
            device.sync().unwrap();
            let start = Instant::now();
            for _ in 0..BATCH {
                one();
            }
            time += start.elapsed();
        }
        device.sync().unwrap();
        time / BATCH
    };
    let mut group = criterion.benchmark_group("launch");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("launch", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(iterations, &|| device.launch(&pipeline, &[bind(&x), bind(&y)], &[], 1).unwrap())
        });
    });
    group.bench_function("add", |bencher| {
        bencher.iter_custom(|iterations| timed(iterations, &|| drop(a.add(&a).unwrap())));
    });
    group.finish();
}

criterion_group!(benches, launch);
criterion_main!(benches);
