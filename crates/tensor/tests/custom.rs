//! Kernels of a program's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_gpu::Device;
use kiln_tensor::custom::{Kernel, groups, launch};
use kiln_tensor::{DType, Tensor};

/// `y = x + step`, an element a thread.
const ADD: &str = "//! use: index
struct Params { count: u32, step: f32 }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) all: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, all) * 32u + lane;
    if (i < params.count) {
        y[i] = x[i] + params.step;
    }
}";

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    step: f32,
}

fn add(x: &Tensor, y: &Tensor) -> kiln_tensor::Result<()> {
    let params = Params { count: x.numel() as u32, step: 0.5 };
    launch(&Kernel::from_wgsl("add", ADD), &[x], &[y], &params, groups(x.numel(), 32))
}

/// 0, 1, 2, ...
fn count(device: &Device, count: usize) -> Tensor {
    let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
    Tensor::from_slice(device, count, &values).unwrap()
}

#[test]
fn views_are_read_in_order_and_many_workgroups_run() {
    let device = Device::open_default().unwrap();
    // Columns 1 and 2 of three, turned: nothing of it lies as the kernel reads it.
    let x = count(&device, 12).reshape([4, 3]).unwrap().narrow(1, 1, 2).unwrap().transpose(0, 1).unwrap();
    let y = Tensor::zeros(&device, [2, 4], DType::F32).unwrap();
    add(&x, &y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.5, 4.5, 7.5, 10.5, 2.5, 5.5, 8.5, 11.5]);
    // A part that starts at no multiple of 256 bytes.
    let y = Tensor::zeros(&device, [5], DType::F32).unwrap();
    add(&count(&device, 8).narrow(0, 3, 5).unwrap(), &y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [3.5, 4.5, 5.5, 6.5, 7.5]);
    // More workgroups than a dimension takes.
    let x = Tensor::zeros(&device, [32 * 70_000], DType::F32).unwrap();
    let y = Tensor::zeros(&device, [32 * 70_000], DType::F32).unwrap();
    add(&x, &y).unwrap();
    assert!(y.to_vec::<f32>().unwrap().iter().all(|&value| value == 0.5));
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let device = Device::open_default().unwrap();
    let (x, y) = (count(&device, 8), count(&device, 8));
    let text = |result: kiln_tensor::Result<()>| result.unwrap_err().to_string();
    let none = Params { count: 8, step: 0.5 };
    let kernel = Kernel::from_wgsl("add", ADD);
    assert_eq!(
        text(launch(&kernel, &[], &[], &none, 1)),
        "custom::launch: add has no tensors; pass at least one output"
    );
    assert_eq!(
        text(add(&x, &y.narrow(0, 1, 4).unwrap())),
        "custom::launch: output 0 of add is a view; pass a tensor of its own: Tensor::zeros"
    );
    let other = Device::open_default().unwrap();
    assert_eq!(
        text(add(&x, &count(&other, 8))),
        "custom::launch: tensors on two devices; read one and write it to the other device"
    );
    let few = text(launch(&kernel, &[], &[&y], &none, 1));
    assert!(few.contains("add") && few.contains('1') && few.contains('2'), "{few}");
    let short = text(launch(&kernel, &[&x], &[&y], &8u32, 1));
    assert!(short.contains("add") && short.contains('4') && short.contains('8'), "{short}");
    // The place is that of the program's text: its third line.
    const WRONG: &str = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1)\n\
                         fn main() { y[0] = 1u; }";
    let wrong = text(launch(&Kernel::from_wgsl("wrong", WRONG), &[], &[&y], &(), 1));
    assert!(wrong.contains("wrong.wgsl:3:"), "{wrong}");
    // The device goes on.
    add(&x, &y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap()[7], 7.5);
}

#[test]
fn a_changed_output_is_noticed() {
    let device = Device::open_default().unwrap();
    let (x, y) = (count(&device, 8), count(&device, 8));
    let before = y.version();
    add(&x, &y).unwrap();
    assert_ne!(y.version(), before);
}
