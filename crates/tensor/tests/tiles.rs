//! Every tile of the tiled product computes the same sums, whatever the sizes and wherever the operands lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_gpu::{Device, Options};
use kiln_tensor::ops::conv::{
    Conv2dOptions, conv2d_grads, conv2d_input_grad, conv2d_keeping, conv2d_relu, conv2d_weight_grad,
};
use kiln_tensor::plan::{self, Algorithm, TileSize};
use kiln_tensor::{DType, Tensor};

/// Small whole numbers, so that sums are exact in any order.
fn whole(device: &Device, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() as u32;
    let values: Vec<f32> = (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 29) as f32 - 3.0).collect();
    Tensor::from_slice(device, shape, &values).unwrap()
}

/// What `work` gives under each algorithm is the same.
fn alike(device: &Device, name: &str, algorithms: &[Algorithm], work: impl Fn() -> Tensor) {
    plan::pin(device, Some(Algorithm::Tiles));
    let expected = work().to_vec::<f32>().unwrap();
    for &algorithm in algorithms {
        plan::pin(device, Some(algorithm));
        let (got, choices) = plan::watch(device, &work);
        assert_eq!(choices[0].algorithm, algorithm, "{name}");
        let got = got.to_vec::<f32>().unwrap();
        let wrong = got.iter().zip(&expected).filter(|(got, expected)| got != expected).count();
        assert_eq!(wrong, 0, "{wrong} of {} results of {name} by {algorithm}", got.len());
    }
}

/// Every tile.
const TILES: [Algorithm; 5] = [
    Algorithm::Tile(TileSize::T64x64),
    Algorithm::Tile(TileSize::T128x128),
    Algorithm::Tile(TileSize::T64x128),
    Algorithm::Tile(TileSize::T32x128),
    Algorithm::Tile(TileSize::T32x32),
];
/// The one that software adapters compile the soonest: all share the code that depends on how operands lie.
const ONE: &[Algorithm] = &[Algorithm::Tile(TileSize::T64x64)];

fn open() -> Device {
    Device::open(Options::new()).unwrap()
}

#[test]
fn products_of_every_layout() {
    let device = open();
    // More than one tile each way and an end within one; the second is read and written by four.
    for [m, n, k] in [[131, 133, 21], [132, 136, 44]] {
        let transposed = |matrix: Tensor| matrix.transpose(1, 2).unwrap().contiguous().unwrap();
        let (a, b) = (whole(&device, &[2, m, k]), whole(&device, &[2, k, n]));
        let (at, bt) = (transposed(a.clone()), transposed(b.clone()));
        for turned in 0..4 {
            let a = if turned & 1 == 0 { a.clone() } else { at.transpose(1, 2).unwrap() };
            let b = if turned & 2 == 0 { b.clone() } else { bt.transpose(1, 2).unwrap() };
            let name = format!("{m}x{n}x{k}, turned {turned}");
            // By four from both memories' rows, and one by one from neither.
            let all = (k == 44 && turned == 0) || (k == 21 && turned == 3);
            alike(&device, &name, if all { &TILES } else { ONE }, || a.matmul(&b).unwrap());
        }
    }
}

#[test]
fn a_long_k_is_cut_alike() {
    let device = open();
    let (a, b) = (whole(&device, &[20, 3000]), whole(&device, &[3000, 24]));
    alike(&device, "20x24x3000", ONE, || a.matmul(&b).unwrap());
}

#[test]
fn convolutions_in_every_direction() {
    let device = open();
    let case = |input: [usize; 4], weight: [usize; 4], options: Conv2dOptions, tiles: &[Algorithm]| {
        let (x, w) = (whole(&device, &input), whole(&device, &weight));
        let bias = whole(&device, &weight[..1]);
        let forward = || conv2d_relu(&x, &w, Some(&bias), &options).unwrap();
        let dy = whole(&device, forward().shape());
        let name = |direction: &str| format!("{direction} of {input:?} by {weight:?}");
        alike(&device, &name("forward"), tiles, forward);
        alike(&device, &name("input grad"), tiles, || conv2d_input_grad(&dy, &w, input, &options).unwrap());
        alike(&device, &name("weight grad"), tiles, || conv2d_weight_grad(&x, &dy, weight, &options).unwrap());
    };
    let plain = Conv2dOptions::default();
    case([2, 8, 10, 8], [36, 8, 3, 3], Conv2dOptions { padding: [1; 2], ..plain }, &TILES);
    case([3, 6, 11, 9], [10, 3, 3, 2], Conv2dOptions { stride: [2, 1], dilation: [1, 2], groups: 2, ..plain }, ONE);
    case([2, 12, 6, 6], [20, 12, 1, 1], plain, ONE);
    case([2, 12, 7, 7], [20, 12, 1, 1], Conv2dOptions { stride: [2; 2], ..plain }, ONE);
}

/// By the dense product, where the adapter has it: pixels that are a multiple of 4 and not, strides, few and many images.
#[test]
fn kernels_of_one_point() {
    let device = open();
    if device.info().subgroup_size != 8 {
        return;
    }
    for (input, outputs, stride) in [
        ([2, 16, 6, 6], 20, [1, 1]),
        ([4, 16, 7, 7], 24, [1, 1]),
        ([4, 20, 7, 9], 16, [2, 2]),
        ([3, 64, 2, 2], 64, [1, 1]),
        ([1, 16, 9, 8], 16, [2, 1]),
    ] {
        let weight = [outputs, input[1], 1, 1];
        let options = Conv2dOptions { stride, ..Conv2dOptions::default() };
        let (x, w, bias) = (whole(&device, &input), whole(&device, &weight), whole(&device, &[outputs]));
        let forward = || conv2d_relu(&x, &w, Some(&bias), &options).unwrap();
        let dy = whole(&device, forward().shape());
        let name = |direction: &str| format!("{direction} of {input:?} to {outputs} by {stride:?}");
        let quads = [Algorithm::Quads];
        alike(&device, &name("forward"), &quads, forward);
        alike(&device, &name("input grad"), &quads, || conv2d_input_grad(&dy, &w, input, &options).unwrap());
        if (input[0] * dy.shape()[2] * dy.shape()[3]).is_multiple_of(4) {
            alike(&device, &name("weight grad"), &quads, || conv2d_weight_grad(&x, &dy, weight, &options).unwrap());
        }
    }
}

#[test]
fn halves_are_rounded_once() {
    let device = open();
    if !device.info().features.f16 {
        return;
    }
    let half = |shape: &[usize]| whole(&device, shape).to_dtype(DType::F16).unwrap();
    let (a, b) = (half(&[40, 24]), half(&[24, 36]));
    alike(&device, "40x36x24 f16", ONE, || a.matmul(&b).unwrap().to_dtype(DType::F32).unwrap());
}

/// Another plan between the passes: what the forward pass kept is of other tiles, and left alone.
#[test]
fn what_was_kept_under_another_plan_is_not_used() {
    let device = open();
    let (x, w, dy) = (whole(&device, &[2, 8, 9, 8]), whole(&device, &[8, 8, 3, 3]), whole(&device, &[2, 8, 9, 8]));
    let options = Conv2dOptions { padding: [1; 2], ..Conv2dOptions::default() };
    let plans = [Algorithm::Winograd2, Algorithm::Winograd4];
    for (first, then) in [(plans[0], plans[1]), (plans[1], plans[0])] {
        plan::pin(&device, Some(first));
        let kept = conv2d_keeping(&x, &w, None, false, &options).unwrap().1;
        plan::pin(&device, Some(then));
        let of = |kept| {
            let (dx, dw, _) = conv2d_grads(&x, &w, &dy, kept, false, false, &options).unwrap();
            [dx, dw].map(|tensor| tensor.to_vec::<f32>().unwrap())
        };
        assert_eq!(of(&kept), of(&Default::default()), "{first} then {then}");
    }
}
