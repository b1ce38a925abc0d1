//! Batch norm and its gradients.

use kiln_tensor::ops::batch_norm::{Affine, BatchNormOptions, Running, Statistics, batch_norm_grad, batch_norm_train};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::norm as reference;
use crate::row::{Case, Domain, Input, Layout, NO_GRADIENT, REDUCTION, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const EPS: f64 = 1e-5;

pub fn rows() -> Vec<Row> {
    vec![train(), given(), gradient()]
}

fn shapes() -> Vec<(Vec<usize>, Layout)> {
    vec![
        (vec![3, 1], Contiguous),
        (vec![63, 5], Contiguous),
        (vec![8, 64], Contiguous),
        (vec![65, 3], Offset),
        (vec![4, 7, 9], Contiguous),
        (vec![2, 3, 8, 8], Contiguous),
        (vec![3, 5, 7, 11], Transposed),
        (vec![2, 4, 6, 6], Tail),
        (vec![1, 2, 3, 5], Offset),
        // Long channels: several parts each, and on a GPU a tree.
        (vec![3, 2, 64, 64], Contiguous),
        (vec![4099, 3], Contiguous),
        // More images than the tight device binds, and images larger than it binds.
        (vec![5, 6, 11, 11], Contiguous),
        (vec![2, 3, 24, 24], Contiguous),
    ]
}

fn vector(channels: usize, low: f64, high: f64) -> Input {
    input(&[channels], Domain::Within(low, high))
}

/// x, weight, bias. Means lie away from 0.
fn inputs(shape: &[usize], layout: Layout, dtype: DType) -> Vec<Input> {
    let x = input(shape, Domain::Within(-1.0, 3.0)).layout(layout).dtype(dtype);
    vec![x, vector(shape[1], 0.5, 2.0), vector(shape[1], -1.0, 1.0)]
}

fn affine(t: &[Tensor]) -> Option<Affine<'_>> {
    Some(Affine { weight: &t[0], bias: &t[1] })
}

fn options(relu: bool) -> BatchNormOptions {
    BatchNormOptions { eps: EPS, relu }
}

fn clipped(relu: bool, y: Array) -> Array {
    if relu { y.map(|v| v.max(0.0)) } else { y }
}

fn trained(x: &[Array], relu: bool) -> Expected {
    let (mean, var) = reference::moments(&x[0]);
    let y = clipped(relu, reference::batch_norm(&x[0], &mean, &var, &x[1], &x[2], EPS));
    let size = reference::batch_norm_size(&x[0], &mean, &var, &x[1], &x[2], EPS);
    Expected::joined(y, size, x[0].numel() / mean.numel())
}

fn is_tight(shape: &[usize]) -> bool {
    shape.contains(&24) || shape.contains(&11)
}

fn train() -> Row {
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes().into_iter().enumerate() {
        for relu in [false, true] {
            let made = Case::new(
                format!("{shape:?} {layout:?} relu {relu}"),
                inputs(&shape, layout, F32),
                move |t| Ok(batch_norm_train(&t[0], affine(&t[1..]), None, &options(relu))?.y),
                move |x| trained(x, relu),
            )
            .differentiable(move |x| x[0].batch_norm_train(Some([&x[1], &x[2]]), None, &options(relu)));
            cases.push(if is_tight(&shape) { made.tight() } else { made });
        }
        let plain = Case::new(
            format!("{shape:?} {layout:?} without weight"),
            inputs(&shape, layout, F32)[..1].to_vec(),
            |t| Ok(batch_norm_train(&t[0], None, None, &options(false))?.y),
            |x| {
                let channels = [x[0].shape[1]];
                trained(&[x[0].clone(), Array::ones(&channels), Array::zeros(&channels)], false)
            },
        );
        cases.push(plain.differentiable(|x| x[0].batch_norm_train(None, None, &options(false))));
        // What it leaves in the running statistics, which start at the weight and the bias.
        let tracked = Case::new(
            format!("{shape:?} {layout:?} running"),
            inputs(&shape, layout, F32),
            |t| {
                let [mean, var] = [0, 1].map(|i| Tensor::cat(&[&t[1 + i]], 0));
                let (mean, var) = (mean?, var?);
                let running = Running { mean: &mean, var: &var, momentum: 0.3 };
                batch_norm_train(&t[0], None, Some(running), &options(false))?;
                Tensor::stack(&[&mean, &var], 0)
            },
            |x| {
                let (mean, var) = reference::moments(&x[0]);
                let count = (x[0].numel() / mean.numel()) as f64;
                let var = var.map(|v| v * count / (count - 1.0));
                let moved = |kept: &Array, new: &Array| kept.zip(new, |k, n| 0.7 * k + 0.3 * n);
                let data = [moved(&x[1], &mean).data, moved(&x[2], &var).data].concat();
                let value = Array::new(&[2, mean.numel()], data);
                let size = Array::full(&value.shape, 10.0);
                Expected::joined(value, size, count as usize)
            },
        );
        cases.push(if is_tight(&shape) { tracked.tight() } else { tracked });
        if [1, 5, 7].contains(&i) {
            let half = Case::new(
                format!("{shape:?} {layout:?} f16"),
                inputs(&shape, layout, F16),
                |t| Ok(batch_norm_train(&t[0], affine(&t[1..]), None, &options(false))?.y),
                |x| trained(x, false),
            );
            cases.push(half.gives(F16));
        }
    }
    let recorded = Recorded::open("batch_norm");
    for name in recorded.cases() {
        let given = ["x", "weight", "bias"].map(|tensor| Input::given(recorded.get(name, tensor)));
        let case = Case::new(
            format!("recorded {name}"),
            given.to_vec(),
            |t| Ok(batch_norm_train(&t[0], affine(&t[1..]), None, &options(false))?.y),
            |x| trained(x, false),
        );
        cases.push(case.recorded(recorded.get(name, "y")));
    }
    let mut calls = wrongs("batch_norm_train", |x, weight, options| {
        Ok(batch_norm_train(x, Some(Affine { weight, bias: weight }), None, options)?.y)
    });
    calls.push(wrong_running(
        "batch_norm_train: momentum 1.5; needs a number from 0 to 1",
        |d| Ok([zeros(d, &[3], F32)?, zeros(d, &[3], F32)?]),
        1.5,
    ));
    calls.push(wrong_running(
        "batch_norm_train: running_var is a view, and is to be written in place; needs a tensor of its own",
        |d| Ok([zeros(d, &[3], F32)?, zeros(d, &[1], F32)?.expand([3])?]),
        0.1,
    ));
    calls.push(wrong(
        "batch_norm_train: input has shape [1, 3]; needs more than one element in each channel: pass a larger batch, or \
         normalise by running statistics",
        |d| Ok(batch_norm_train(&zeros(d, &[1, 3], F32)?, None, None, &options(false))?.y),
    ));
    Row { name: "batch_norm_train", class: Class::Sum, gradient: REDUCTION, cases, wrong: Wrongs::Calls(calls) }
}

fn wrong_running(
    message: &'static str,
    running: impl Fn(&Device) -> Result<[Tensor; 2]> + 'static,
    momentum: f64,
) -> Wrong {
    wrong(message, move |d| {
        let [mean, var] = running(d)?;
        let running = Running { mean: &mean, var: &var, momentum };
        Ok(batch_norm_train(&zeros(d, &[4, 3], F32)?, None, Some(running), &options(false))?.y)
    })
}

type Call = fn(&Tensor, &Tensor, &BatchNormOptions) -> Result<Tensor>;

fn wrongs(op: &'static str, call: Call) -> Vec<Wrong> {
    let message = |rest: &str| super::unary::leak(format!("{op}: {rest}"));
    let of = move |x: &'static [usize], dtype: DType, weight: &'static [usize], eps: f64| {
        move |d: &Device| call(&zeros(d, x, dtype)?, &zeros(d, weight, F32)?, &BatchNormOptions { eps, relu: false })
    };
    vec![
        wrong(message("input has shape [5]; needs [batch, channels, ..]"), of(&[5], F32, &[5], EPS)),
        wrong(message("weight has shape [4]; an input of shape [2, 3, 4] needs [3]"), of(&[2, 3, 4], F32, &[4], EPS)),
        wrong(message("input is i32; needs f32, f16: convert it by to_dtype"), of(&[2, 3], I32, &[3], EPS)),
        wrong(message("eps -1; needs a finite number of at least 0"), of(&[2, 3], F32, &[3], -1.0)),
    ]
}

/// By given mean and variance: x, weight, bias, mean, variance.
fn given() -> Row {
    let expected = |x: &[Array], relu: bool| {
        let y = clipped(relu, reference::batch_norm(&x[0], &x[3], &x[4], &x[1], &x[2], EPS));
        Expected::joined(y, reference::batch_norm_size(&x[0], &x[3], &x[4], &x[1], &x[2], EPS), 4)
    };
    let all = |shape: &[usize], layout, dtype| {
        let mut inputs = inputs(shape, layout, dtype);
        inputs.extend([vector(shape[1], -1.0, 1.0), vector(shape[1], 0.2, 3.0)]);
        inputs
    };
    let mut cases = Vec::new();
    let with_empty = [(vec![0, 3, 2], Contiguous), (vec![1, 3], Contiguous)];
    for (i, (shape, layout)) in shapes().into_iter().chain(with_empty).enumerate() {
        for relu in [false, true] {
            let made = Case::new(
                format!("{shape:?} {layout:?} relu {relu}"),
                all(&shape, layout, F32),
                move |t| t[0].batch_norm(&t[3], &t[4], affine(&t[1..]), &options(relu)),
                move |x| expected(x, relu),
            );
            // Mean and variance are given: no gradient flows to them.
            let made = if relu || shape[0] == 0 { made } else { made.differentiable_with(frozen) };
            cases.push(if is_tight(&shape) { made.tight() } else { made });
        }
        if [1, 5, 7].contains(&i) {
            let half = Case::new(
                format!("{shape:?} {layout:?} f16"),
                all(&shape, layout, F16),
                |t| t[0].batch_norm(&t[3], &t[4], affine(&t[1..]), &options(false)),
                move |x| expected(x, false),
            );
            cases.push(half.gives(F16));
        }
    }
    let recorded = Recorded::open("batch_norm");
    for name in recorded.cases() {
        let given =
            ["x", "weight", "bias", "start_mean", "start_var"].map(|tensor| Input::given(recorded.get(name, tensor)));
        let case = Case::new(
            format!("recorded {name}"),
            given.to_vec(),
            |t| t[0].batch_norm(&t[3], &t[4], affine(&t[1..]), &options(false)),
            move |x| expected(x, false),
        );
        cases.push(case.recorded(recorded.get(name, "eval_y")));
    }
    let wrong = Wrongs::Calls(wrongs("batch_norm", |x, weight, options| {
        x.batch_norm(weight, weight, Some(Affine { weight, bias: weight }), options)
    }));
    Row { name: "batch_norm", class: Class::Sum, gradient: REDUCTION, cases, wrong }
}

/// The reference's slope along mean and variance is what it is along `mean - m` and `var - v`: a constant of zero
/// slope. As the op has no gradient there, the same terms are added by differentiable operations.
fn frozen(t: &[Tensor], x: &[kiln_autograd::Var]) -> kiln_autograd::Result<kiln_autograd::Var> {
    let shape: Vec<usize> = std::iter::once(t[3].numel()).chain(std::iter::repeat_n(1, t[0].rank() - 2)).collect();
    let y = x[0].batch_norm(&t[3], &t[4], Some([&x[1], &x[2]]), &options(false))?;
    let scale = x[4].add_scalar(EPS)?.rsqrt()?.mul(&x[1].detach())?.reshape(shape.as_slice())?;
    let away = x[0].detach().sub(&x[3].reshape(shape.as_slice())?)?;
    let same = away.mul(&scale)?;
    // Adds the slopes, and to the value nothing but a zero.
    y.add(&same.sub(&same.detach())?)
}

fn gradient() -> Row {
    // x, weight, bias, dy, and the statistics by which it was normalised, as the reference has them.
    let case = |label: String, shape: &[usize], layout, dtype, which: usize, running: bool| {
        let mut inputs = inputs(shape, layout, dtype);
        inputs.push(input(shape, Domain::Within(-1.0, 1.0)).layout(layout).dtype(dtype));
        inputs.extend([vector(shape[1], -1.0, 1.0), vector(shape[1], 0.2, 3.0)]);
        let made = Case::new(
            label,
            inputs,
            move |t| {
                let own = match running {
                    false => Some(batch_norm_train(&t[0], None, None, &options(false))?),
                    true => None,
                };
                let statistics = match &own {
                    Some(own) => Statistics::Batch { mean: &own.mean, inverse_std: &own.inverse_std },
                    None => Statistics::Given { mean: &t[4], var: &t[5] },
                };
                let found = batch_norm_grad(&t[0], &t[3], statistics, affine(&t[1..]), &options(false))?;
                Ok([found.x, found.weight, found.bias][which].clone())
            },
            move |x| {
                let given = running.then_some((&x[4], &x[5]));
                let value = reference::batch_norm_grad(&x[0], &x[3], given, &x[1], EPS)[which].clone();
                let count = x[0].numel() / x[1].numel();
                let (_, var) = reference::moments(&x[0]);
                let smallest = if running { 0.2 } else { var.data.iter().fold(f64::INFINITY, |a, &b| a.min(b)) };
                // Elements are up to 4 deviations away, weights up to 2 and dy up to 1.
                let away = 4.0 / smallest.sqrt();
                let size = [2.0 * (1.0 + away * away) / smallest.sqrt(), away * count as f64, count as f64][which];
                let size = Array::full(&value.shape, size);
                Expected::joined(value, size, count)
            },
        );
        if is_tight(shape) && dtype == F32 { made.tight() } else { made }
    };
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes().into_iter().enumerate() {
        for (which, name) in ["x", "weight", "bias"].into_iter().enumerate() {
            for running in [false, true] {
                let label = format!("{name} of {shape:?} {layout:?} given {running}");
                cases.push(case(label, &shape, layout, F32, which, running));
            }
        }
        if i == 5 {
            cases.push(case(format!("x of {shape:?} f16"), &shape, layout, F16, 0, false).gives(F16));
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("batch_norm_grad: x is [4, 3] of f32, dy [3, 4] of f32; needs a dy like x", |d| {
            let vector = zeros(d, &[3], F32)?;
            let given = Statistics::Given { mean: &vector, var: &vector };
            Ok(batch_norm_grad(&zeros(d, &[4, 3], F32)?, &zeros(d, &[3, 4], F32)?, given, None, &options(false))?.x)
        }),
        wrong("batch_norm_grad: the deviation has shape [4]; an input of shape [4, 3] needs [3]", |d| {
            let (mean, var) = (zeros(d, &[3], F32)?, zeros(d, &[4], F32)?);
            let given = Statistics::Given { mean: &mean, var: &var };
            Ok(batch_norm_grad(&zeros(d, &[4, 3], F32)?, &zeros(d, &[4, 3], F32)?, given, None, &options(false))?.x)
        }),
    ]);
    Row { name: "batch_norm::batch_norm_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
