//! Random numbers, bit by bit against Philox in Rust where the arithmetic is exact, and dropout.

use kiln_tensor::{DType, Random, Tensor};

use super::binary::zeros;
use crate::reference::Array;
use crate::reference::array::numel;
use crate::reference::philox::philox4x32_10;
use crate::row::{Case, Domain, Gradient, LINEAR, Layout, Row, Wrongs, input, wrong};
use crate::run::{TAPE_SEED, devices};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const SHAPES: [&[usize]; 10] = [&[], &[1], &[63], &[64], &[65], &[7, 11, 13], &[0], &[2, 3, 5, 7], &[1021], &[257, 5]];
/// Both words of each count.
const STREAMS: [Random; 3] = [
    Random { seed: 0, stream: 0 },
    Random { seed: 42, stream: 7 },
    Random { seed: 0x0123_4567_89ab_cdef, stream: 0xfedc_ba98_7654_3210 },
];

pub fn rows() -> Vec<Row> {
    vec![uniform(), normal(), bernoulli(), dropout(), dropout2d()]
}

/// The random words of a tensor: four neighbours from a call with counter (element / 4, 0, stream) and the seed as key.
fn words(count: usize, random: Random) -> Vec<u32> {
    let halves = |word: u64| [word as u32, (word >> 32) as u32];
    let [low, high] = halves(random.stream);
    let quads = (0..count.div_ceil(4)).flat_map(|quad| philox4x32_10([quad as u32, 0, low, high], halves(random.seed)));
    quads.take(count).collect()
}

/// Multiples of 2^-24 in 0..1.
fn unit(word: u32) -> f64 {
    f64::from(word >> 8) / 16_777_216.0
}

fn each(make: impl Fn(&'static [usize], Random) -> Case) -> Vec<Case> {
    let cases = SHAPES.iter().flat_map(|&shape| STREAMS.map(|random| (shape, make(shape, random))));
    cases.map(|(shape, case)| if numel(shape) > 1024 { case.tight() } else { case }).collect()
}

const MADE: Gradient = Gradient::None("is made of nothing that has one");

fn uniform() -> Row {
    let case = |shape: &'static [usize], random: Random, low: f64, high: f64, class: Class| {
        Case::creating(
            format!("{shape:?} {random:?} {low}..{high}"),
            move |d| Tensor::uniform(d, shape, low, high, random),
            move || {
                let (low, high) = (f64::from(low as f32), f64::from(high as f32));
                let values = words(numel(shape), random).iter().map(|&w| low + unit(w) * (high - low)).collect();
                Expected::joined(Array::new(shape, values), Array::full(shape, low.abs() + high.abs()), 3)
            },
        )
        .class(class)
    };
    let mut cases = each(|shape, random| case(shape, random, 0.0, 1.0, Class::Exact));
    cases.extend(each(|shape, random| case(shape, random, -0.3, 2.7, Class::Sum)));
    cases.push(case(&[5], STREAMS[1], 2.0, 2.0, Class::Exact));
    let wrong = Wrongs::Calls(vec![
        wrong("uniform: low 1 and high 0; needs finite low <= high", |d| Tensor::uniform(d, [2], 1.0, 0.0, STREAMS[0])),
        wrong("uniform: low 0 and high inf; needs finite low <= high", |d| {
            Tensor::uniform(d, [2], 0.0, f64::INFINITY, STREAMS[0])
        }),
    ]);
    Row { name: "uniform", class: Class::Sum, gradient: MADE, cases, wrong }
}

fn too_large(
    op: &'static str,
    call: impl Fn(&kiln_tensor::Device) -> kiln_tensor::Result<Tensor> + 'static,
) -> crate::row::Wrong {
    let message = format!(
        "{op}: 1025 elements, more than this adapter can bind at once (4096 bytes); make parts and join them by cat"
    );
    wrong(super::unary::leak(message), move |_| call(&devices().tight))
}

/// Box and Muller's transform of two words; the second of a pair is the sine.
fn normal_pair(words: [u32; 2]) -> [f64; 2] {
    // The device reads the first word as an f32, which is what its 24 bits make of it.
    let u = f64::from(words[0] as f32 + 0.5) / 4_294_967_296.0;
    let (radius, angle) = ((-2.0 * u.ln()).max(0.0).sqrt(), std::f64::consts::TAU * unit(words[1]));
    [radius * angle.cos(), radius * angle.sin()]
}

fn normal() -> Row {
    let case = |shape: &'static [usize], random: Random, mean: f64, std: f64| {
        Case::creating(
            format!("{shape:?} {random:?} {mean} {std}"),
            move |d| Tensor::normal(d, shape, mean, std, random),
            move || {
                let (mean, std) = (f64::from(mean as f32), f64::from(std as f32));
                let count = numel(shape);
                let words = words(count.next_multiple_of(4), random);
                let z: Vec<f64> = words.chunks_exact(2).flat_map(|pair| normal_pair([pair[0], pair[1]])).collect();
                let of = |op: &dyn Fn(f64) -> f64| Array::new(shape, z[..count].iter().map(|&z| op(z)).collect());
                // The angle is off by half an ULP of up to 2 pi, and the radius reaches 6.7.
                let magnitude = |_: f64| mean.abs() + std * 7.0 * 2.0;
                Expected::joined(of(&|z| mean + std * z), of(&magnitude), 2)
            },
        )
    };
    let mut cases = each(|shape, random| case(shape, random, 0.0, 1.0));
    cases.extend(each(|shape, random| case(shape, random, -3.5, 0.25)));
    cases.push(case(&[5], STREAMS[1], 2.0, 0.0));
    let wrong = Wrongs::Calls(vec![
        wrong("normal: mean 0 and std -1; needs both finite and std >= 0", |d| {
            Tensor::normal(d, [2], 0.0, -1.0, STREAMS[0])
        }),
        wrong("normal: mean NaN and std 1; needs both finite and std >= 0", |d| {
            Tensor::normal(d, [2], f64::NAN, 1.0, STREAMS[0])
        }),
    ]);
    Row { name: "normal", class: Class::Sum, gradient: MADE, cases, wrong }
}

fn bernoulli() -> Row {
    let cases = each(|shape, random| {
        let p = [0.0, 0.3, 1.0, 0.5][shape.len() % 4];
        Case::creating(
            format!("{shape:?} {random:?} {p}"),
            move |d| Tensor::bernoulli(d, shape, p, random),
            move || {
                let p = f64::from(p as f32);
                let values = words(numel(shape), random).iter().map(|&w| f64::from(unit(w) < p)).collect();
                Expected::new(Array::new(shape, values))
            },
        )
    });
    let wrong = Wrongs::Calls(vec![
        wrong("bernoulli: p 1.5; needs a probability from 0 to 1", |d| Tensor::bernoulli(d, [2], 1.5, STREAMS[0])),
        wrong("bernoulli: p NaN; needs a probability from 0 to 1", |d| Tensor::bernoulli(d, [2], f64::NAN, STREAMS[0])),
    ]);
    Row { name: "bernoulli", class: Class::Exact, gradient: MADE, cases, wrong }
}

fn dropout() -> Row {
    let shapes: Vec<(Vec<usize>, Layout)> = vec![
        (vec![], Contiguous),
        (vec![1], Contiguous),
        (vec![63], Contiguous),
        (vec![64], Contiguous),
        (vec![65], Contiguous),
        (vec![7, 11, 13], Contiguous),
        (vec![13, 17], Offset),
        (vec![5, 7, 8], Transposed),
        (vec![9, 31], Tail),
        (vec![3, 0, 5], Contiguous),
    ];
    let case = |shape: &[usize], layout: Layout, dtype: DType, p: f64, random: Random| {
        Case::new(
            format!("{shape:?} {layout:?} {dtype} {p} {random:?}"),
            vec![input(shape, Domain::Within(-9.0, 9.0)).layout(layout).dtype(dtype)],
            move |x| x[0].dropout(p, random),
            move |x| {
                let p = f64::from(p as f32);
                let words = words(x[0].numel(), random);
                let kept = |(&v, &w): (&f64, &u32)| if unit(w) >= p { v / (1.0 - p) } else { 0.0 };
                Expected::new(Array::new(&x[0].shape, x[0].data.iter().zip(&words).map(kept).collect()))
            },
        )
        .gives(dtype)
    };
    // The first random numbers of the tape on which the gradient is tried.
    let first = Random { seed: TAPE_SEED, stream: 0 };
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes.iter().enumerate() {
        let p = [0.5, 0.1, 0.9][i % 3];
        cases.push(case(shape, *layout, F32, p, first).differentiable(move |x| x[0].dropout(p)));
        cases.push(case(shape, *layout, F32, [0.25, 0.0, 1.0][i % 3], STREAMS[i % 3]));
        if i == 4 || i == 6 {
            cases.push(case(shape, *layout, F16, p, STREAMS[i % 3]));
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("dropout: p -0.1; needs a probability from 0 to 1", |d| zeros(d, &[2], F32)?.dropout(-0.1, STREAMS[0])),
        wrong("dropout: p 2; needs a probability from 0 to 1", |d| zeros(d, &[2], F32)?.dropout(2.0, STREAMS[0])),
        wrong("dropout: the tensor is i32; needs f32, f16: convert it by to_dtype", |d| {
            zeros(d, &[2], I32)?.dropout(0.5, STREAMS[0])
        }),
        too_large("dropout", |_| zeros(&devices().tight, &[1025], F32)?.dropout(0.5, STREAMS[0])),
    ]);
    Row { name: "dropout", class: Class::Div, gradient: LINEAR, cases, wrong }
}

fn dropout2d() -> Row {
    let shapes: Vec<(Vec<usize>, Layout)> = vec![
        (vec![1, 1], Contiguous),
        (vec![63, 3], Contiguous),
        (vec![8, 64], Transposed),
        (vec![5, 13, 3], Offset),
        (vec![2, 3, 5, 7], Contiguous),
        (vec![7, 11, 4, 4], Contiguous),
        (vec![4, 3, 7, 5], Transposed),
        (vec![3, 9, 2, 2], Tail),
        (vec![3, 0, 5], Contiguous),
    ];
    let case = |shape: &[usize], layout: Layout, p: f64, random: Random| {
        Case::new(
            format!("{shape:?} {layout:?} {p} {random:?}"),
            vec![input(shape, Domain::Within(-9.0, 9.0)).layout(layout)],
            move |x| x[0].dropout2d(p, random),
            move |x| {
                let plane = x[0].shape[2..].iter().product::<usize>().max(1);
                let p = f64::from(p as f32);
                let words = words(x[0].numel() / plane, random);
                let kept = |(at, &v): (usize, &f64)| if unit(words[at / plane]) >= p { v / (1.0 - p) } else { 0.0 };
                Expected::new(Array::new(&x[0].shape, x[0].data.iter().enumerate().map(kept).collect()))
            },
        )
    };
    let first = Random { seed: TAPE_SEED, stream: 0 };
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes.iter().enumerate() {
        let p = [0.5, 0.1, 0.9][i % 3];
        cases.push(case(shape, *layout, p, first).differentiable(move |x| x[0].dropout2d(p)));
        cases.push(case(shape, *layout, [0.25, 0.0, 1.0][i % 3], STREAMS[i % 3]));
    }
    let wrong = Wrongs::Calls(vec![
        wrong("dropout2d: p 2; needs a probability from 0 to 1", |d| {
            zeros(d, &[2, 3], F32)?.dropout2d(2.0, STREAMS[0])
        }),
        wrong("dropout2d: a tensor of shape [2]; needs [batch, channels, ..]", |d| {
            zeros(d, &[2], F32)?.dropout2d(0.5, STREAMS[0])
        }),
    ]);
    Row { name: "dropout2d", class: Class::Div, gradient: LINEAR, cases, wrong }
}

/// Mean, variance and independence, each within five standard errors.
#[test]
fn moments() {
    const COUNT: usize = 100_000;
    let device = &devices().whole;
    let random = Random { seed: 3, stream: 1 };
    let of = |values: kiln_tensor::Result<Tensor>| -> Vec<f64> {
        values.unwrap().to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
    };
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let check = |what: &str, x: &[f64], wanted_mean: f64, wanted_variance: f64, fourth: f64| {
        let found = mean(x);
        let variance = mean(&x.iter().map(|v| (v - found).powi(2)).collect::<Vec<_>>());
        let n = x.len() as f64;
        assert!((found - wanted_mean).abs() < 5.0 * (wanted_variance / n).sqrt(), "{what}: mean {found}");
        let error = 5.0 * ((fourth - wanted_variance.powi(2)) / n).sqrt() + 1e-9;
        assert!((variance - wanted_variance).abs() < error, "{what}: variance {variance}");
    };
    let uniform = of(Tensor::uniform(device, [COUNT], -1.0, 1.0, random));
    check("uniform", &uniform, 0.0, 1.0 / 3.0, 1.0 / 5.0);
    assert!(uniform.iter().all(|v| (-1.0..1.0).contains(v)));
    let normal = of(Tensor::normal(device, [COUNT], 2.0, 0.5, random));
    check("normal", &normal, 2.0, 0.25, 3.0 * 0.0625);
    let within = normal.iter().filter(|v| (*v - 2.0).abs() < 0.5).count() as f64 / COUNT as f64;
    assert!((within - 0.682_689).abs() < 0.01, "{within} within one deviation");
    check("bernoulli", &of(Tensor::bernoulli(device, [COUNT], 0.3, random)), 0.3, 0.21, 0.3 * 0.7 * (0.343 + 0.027));
    let ones = Tensor::ones(device, [COUNT], F32).unwrap();
    check("dropout", &of(ones.dropout(0.25, random)), 1.0, 1.0 / 3.0, 0.75 * (1.0_f64 / 3.0).powi(4) + 0.25);
    // Neighbours, streams and seeds have nothing to do with each other.
    let correlation = |a: &[f64], b: &[f64]| mean(&a.iter().zip(b).map(|(a, b)| 3.0 * a * b).collect::<Vec<_>>());
    let others = [Random { stream: 2, ..random }, Random { seed: 4, ..random }, Random { stream: 1 << 32, ..random }];
    for other in others.map(|other| of(Tensor::uniform(device, [COUNT], -1.0, 1.0, other))) {
        assert!(correlation(&uniform, &other).abs() < 5.0 / (COUNT as f64).sqrt());
    }
    for step in 1..5 {
        assert!(correlation(&uniform[step..], &uniform).abs() < 5.0 / (COUNT as f64).sqrt(), "distance {step}");
    }
}
