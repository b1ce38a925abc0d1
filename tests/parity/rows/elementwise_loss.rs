//! Losses of each element by itself, and their gradients.

use kiln_autograd::Var;
use kiln_tensor::ops::elementwise_loss::{
    BceOptions, Distance, bce_with_logits_grad, distance_loss, distance_loss_grad,
};
use kiln_tensor::ops::loss::Reduction;
use kiln_tensor::{DType, Result, Tensor};

use super::binary::zeros;
use super::unary::{leak, shapes};
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::row::{Case, Domain, Input, LINEAR, NO_GRADIENT, Row, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F32, I32};

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = distances().into_iter().map(row).collect();
    rows.extend([dispatched(), gradient(), bce(), bce_gradient()]);
    rows
}

type OnTensors = fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>;
type OnVars = fn(&Var, &Var, Reduction) -> kiln_autograd::Result<Var>;

fn distances() -> [(&'static str, Distance, OnTensors, OnVars); 4] {
    [
        ("mse_loss", Distance::Squared, Tensor::mse_loss, Var::mse_loss),
        ("l1_loss", Distance::Absolute, Tensor::l1_loss, Var::l1_loss),
        (
            "smooth_l1_loss",
            Distance::Smooth { beta: 0.5 },
            |x, t, r| x.smooth_l1_loss(t, r, 0.5),
            |x, t, r| x.smooth_l1_loss(t, r, 0.5),
        ),
        (
            "huber_loss",
            Distance::Huber { delta: 1.5 },
            |x, t, r| x.huber_loss(t, r, 1.5),
            |x, t, r| x.huber_loss(t, r, 1.5),
        ),
    ]
}

/// The loss of an error, and its slope.
fn formula(distance: Distance, d: f64) -> (f64, f64) {
    let smooth = |end: f64, factor: f64| {
        if d.abs() < end {
            (factor / end * d * d / 2.0, factor / end * d)
        } else {
            (factor * (d.abs() - end / 2.0), factor * sign(d))
        }
    };
    match distance {
        Distance::Squared => (d * d, 2.0 * d),
        Distance::Absolute => (d.abs(), sign(d)),
        Distance::Smooth { beta } => smooth(beta, 1.0),
        Distance::Huber { delta } => smooth(delta, delta),
    }
}

fn sign(d: f64) -> f64 {
    if d == 0.0 { 0.0 } else { d.signum() }
}

fn reduced(losses: Array, sizes: Array, reduction: Reduction) -> Expected {
    let count = losses.numel();
    let over = |values: &Array, divisor: f64| Array::scalar(values.data.iter().sum::<f64>() / divisor);
    match reduction {
        Reduction::None => Expected::joined(losses, sizes, 2),
        Reduction::Mean => Expected::joined(over(&losses, count as f64), over(&sizes, count as f64), count),
        Reduction::Sum => Expected::joined(over(&losses, 1.0), over(&sizes, 1.0), count),
    }
}

/// What an error of a few units is rounded relative to: the subtraction's operands, and the slope.
fn distance_expected(x: &[Array], distance: Distance, reduction: Reduction) -> Expected {
    let losses = x[0].zip(&x[1], |x, t| formula(distance, x - t).0);
    let sizes = x[0].zip(&x[1], |x, t| formula(distance, x - t).0 + (x.abs() + t.abs()) * (1.0 + (x - t).abs()));
    reduced(losses, sizes, reduction)
}

fn pairs() -> Vec<(String, Vec<Input>, Reduction)> {
    let all = shapes().into_iter().filter(|(shape, _)| !shape.contains(&0));
    all.enumerate()
        .map(|(i, (shape, layout))| {
            let reduction = REDUCTIONS[i % 3];
            // Errors stay away from 0, 0.5 and 1.5: the kinks.
            let of = |low: f64, high: f64| input(&shape, Domain::Within(low, high)).layout(layout);
            let (x, t) = match i % 4 {
                0 => (of(0.1, 0.2), of(-0.1, 0.0)),
                1 => (of(-0.8, -0.4), of(0.3, 0.6)),
                2 => (of(2.0, 4.0), of(-1.0, 0.4)),
                _ => (of(-0.05, 0.1), of(0.15, 0.4)),
            };
            (format!("{shape:?} {layout:?} {reduction:?} {}", i % 4), vec![x, t], reduction)
        })
        .collect()
}

fn row((name, distance, tensor, var): (&'static str, Distance, OnTensors, OnVars)) -> Row {
    let mut cases = Vec::new();
    for (label, inputs, reduction) in pairs() {
        let tight = inputs[0].shape == [37, 61];
        let made = Case::new(
            label,
            inputs,
            move |x| tensor(&x[0], &x[1], reduction),
            move |x| distance_expected(x, distance, reduction),
        )
        .differentiable(move |x| var(&x[0], &x[1], reduction));
        cases.push(if tight { made.tight() } else { made });
    }
    let recorded = Recorded::open("elementwise_loss");
    for (reduction, word) in REDUCTIONS.into_iter().zip(["none", "mean", "sum"]) {
        let inputs = ["x", "target"].map(|tensor| Input::given(recorded.whole(tensor)));
        let made = Case::new(
            format!("recorded {word}"),
            inputs.to_vec(),
            move |x| tensor(&x[0], &x[1], reduction),
            move |x| distance_expected(x, distance, reduction),
        );
        cases.push(made.recorded(recorded.whole(&format!("{name}.{word}"))));
    }
    let mut wrongs = vec![
        wrong(
            leak(format!("{name}: input has shape [2, 3], target [3]; needs one shape: expand one of them")),
            move |d| tensor(&zeros(d, &[2, 3], F32)?, &zeros(d, &[3], F32)?, Reduction::Mean),
        ),
        wrong(leak(format!("{name}: the first tensor is i32; needs f32, f16: convert it by to_dtype")), move |d| {
            tensor(&zeros(d, &[3], I32)?, &zeros(d, &[3], I32)?, Reduction::Mean)
        }),
    ];
    match distance {
        Distance::Smooth { .. } => {
            wrongs.push(wrong("smooth_l1_loss: beta -1; needs a finite number of at least 0", |d| {
                zeros(d, &[3], F32)?.smooth_l1_loss(&zeros(d, &[3], F32)?, Reduction::Mean, -1.0)
            }));
        }
        Distance::Huber { .. } => wrongs.push(wrong("huber_loss: delta 0; needs a finite number above 0", |d| {
            zeros(d, &[3], F32)?.huber_loss(&zeros(d, &[3], F32)?, Reduction::Mean, 0.0)
        })),
        _ => {}
    }
    Row { name, class: Class::Sum, gradient: LINEAR, cases, wrong: Wrongs::Calls(wrongs) }
}

/// What the four losses share, at the ends of the settings: a beta of 0.
fn dispatched() -> Row {
    let mut cases = Vec::new();
    for (label, inputs, reduction) in pairs() {
        for distance in [Distance::Squared, Distance::Smooth { beta: 0.0 }, Distance::Huber { delta: 1e38 }] {
            cases.push(Case::new(
                format!("{label} {distance:?}"),
                inputs.clone(),
                move |x| distance_loss(&x[0], &x[1], distance, reduction),
                move |x| match distance {
                    Distance::Smooth { .. } => distance_expected(x, Distance::Absolute, reduction),
                    other => distance_expected(x, other, reduction),
                },
            ));
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("huber_loss: delta NaN; needs a finite number above 0", |d| {
            let x = zeros(d, &[3], F32)?;
            distance_loss(&x, &x, Distance::Huber { delta: f64::NAN }, Reduction::Sum)
        }),
        wrong("l1_loss: input has shape [3], target []; needs one shape: expand one of them", |d| {
            distance_loss(&zeros(d, &[3], F32)?, &zeros(d, &[], F32)?, Distance::Absolute, Reduction::Sum)
        }),
    ]);
    Row { name: "elementwise_loss::distance_loss", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn gradient() -> Row {
    let slope = |distance: Distance, reduction: Reduction| {
        move |x: &[Array]| {
            let share = if reduction == Reduction::Mean { 1.0 / x[0].numel() as f64 } else { 1.0 };
            let of = |pick: fn(f64, f64, f64) -> f64| {
                let by_pair = x[0].zip(&x[1], |x, t| pick(x, t, formula(distance, x - t).1));
                by_pair.zip(&x[2], |s, d| s * d * share)
            };
            let value = of(|_, _, slope| slope);
            let size = of(|x, t, slope| slope.abs() + x.abs() + t.abs()).abs().map(|v| 3.0 * v);
            Expected::joined(value, size, 2)
        }
    };
    let mut cases = Vec::new();
    for (label, mut inputs, reduction) in pairs() {
        let dloss = if reduction == Reduction::None { inputs[0].shape.clone() } else { Vec::new() };
        inputs.push(input(&dloss, Domain::Within(0.5, 2.0)));
        for (name, distance, ..) in distances() {
            cases.push(Case::new(
                format!("{name} {label}"),
                inputs.clone(),
                move |x| distance_loss_grad(&x[0], &x[1], &x[2], distance, reduction),
                slope(distance, reduction),
            ));
        }
    }
    let recorded = Recorded::open("elementwise_loss");
    for (name, distance, ..) in distances() {
        let inputs = vec![
            Input::given(recorded.whole("x")),
            Input::given(recorded.whole("target")),
            Input::given(&Array::scalar(1.0)),
        ];
        let made = Case::new(
            format!("recorded {name}"),
            inputs,
            move |x| distance_loss_grad(&x[0], &x[1], &x[2], distance, Reduction::Mean),
            slope(distance, Reduction::Mean),
        );
        cases.push(made.recorded(recorded.whole(&format!("{name}.dx"))));
    }
    let wrong = Wrongs::Calls(vec![
        wrong("distance_loss_grad: input has shape [3], target [2]; needs one shape: expand one of them", |d| {
            let (x, t) = (zeros(d, &[3], F32)?, zeros(d, &[2], F32)?);
            distance_loss_grad(&x, &t, &zeros(d, &[], F32)?, Distance::Squared, Reduction::Sum)
        }),
        wrong(
            "distance_loss_grad: shapes [3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or \
             expand one of them",
            |d| {
                let x = zeros(d, &[3], F32)?;
                distance_loss_grad(&x, &x, &zeros(d, &[2], F32)?, Distance::Squared, Reduction::None)
            },
        ),
    ]);
    Row { name: "elementwise_loss::distance_loss_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

/// The weights of a case: inputs 2 and 3 are a factor on each loss and the weight of ones, each by column.
#[derive(Clone, Copy, Debug)]
struct Weights {
    weight: bool,
    pos_weight: bool,
}

const WEIGHTS: [Weights; 4] = [
    Weights { weight: false, pos_weight: false },
    Weights { weight: true, pos_weight: false },
    Weights { weight: false, pos_weight: true },
    Weights { weight: true, pos_weight: true },
];

impl Weights {
    fn options(self, t: &[Tensor], reduction: Reduction) -> BceOptions {
        let of = |wanted: bool, i: usize| wanted.then(|| t[i].clone());
        BceOptions { weight: of(self.weight, 2), pos_weight: of(self.pos_weight, 3), reduction }
    }

    /// Losses, slopes and sizes.
    fn reference(self, x: &[Array]) -> [Array; 3] {
        let of = |wanted: bool, i: usize| if wanted { x[i].clone() } else { Array::ones(&[1]) };
        let (weight, ones) = (of(self.weight, 2), of(self.pos_weight, 3));
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let both = |term: &dyn Fn(f64, f64, f64) -> f64| {
            let ones = ones.expand(&x[0].shape);
            let all = x[0].data.iter().zip(&x[1].data).zip(&ones.data).map(|((&x, &t), &p)| term(x, t, p));
            Array::new(&x[0].shape, all.collect()).zip(&weight, |v, w| v * w)
        };
        [
            both(&|x, t, p| p * t * softplus(-x) + (1.0 - t) * softplus(x)),
            both(&|x, t, p| (1.0 - t) / (1.0 + (-x).exp()) - p * t / (1.0 + x.exp())),
            both(&|x, _, p| (1.0 + x.abs()) * (1.0 + p)),
        ]
    }
}

fn bce_inputs(shape: &[usize], layout: crate::row::Layout) -> Vec<Input> {
    let last = shape.last().copied().unwrap_or(1);
    vec![
        input(shape, Domain::Within(-5.0, 5.0)).layout(layout),
        input(shape, Domain::Within(0.0, 1.0)).layout(layout),
        input(&[last], Domain::Within(0.5, 2.0)),
        input(&[last], Domain::Within(0.5, 3.0)),
    ]
}

/// Logits that are sure of their class, whose losses and slopes are held to a bound relative to themselves.
fn far_logits() -> Vec<Input> {
    let logits = Array::new(&[1, 8], vec![80.0, -80.0, 40.0, -40.0, 15.0, -15.0, 15.0, -15.0]);
    let targets = Array::new(&[1, 8], vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    let weights = [0.75, 2.5].map(|weight| Input::given(&Array::full(&[1], weight)));
    [Input::given(&logits), Input::given(&targets)].into_iter().chain(weights).collect()
}

const BCE: &str = "binary_cross_entropy_with_logits";

fn bce() -> Row {
    let mut cases = Vec::new();
    for (i, (shape, layout)) in
        shapes().into_iter().filter(|(shape, _)| !shape.is_empty() && !shape.contains(&0)).enumerate()
    {
        let (weights, reduction) = (WEIGHTS[i % 4], REDUCTIONS[i % 3]);
        let made = Case::new(
            format!("{shape:?} {layout:?} {weights:?} {reduction:?}"),
            bce_inputs(&shape, layout),
            move |t| t[0].binary_cross_entropy_with_logits(&t[1], &weights.options(t, reduction)),
            move |x| {
                let [losses, _, sizes] = weights.reference(x);
                reduced(losses, sizes, reduction)
            },
        );
        // Only the logits have a gradient: the others stand still as constants of the reference, too.
        cases.push(made.differentiable_with(move |t, x| {
            let y = x[0].binary_cross_entropy_with_logits(&t[1], &weights.options(t, reduction))?;
            slopes_of_constants(t, x, y, weights, reduction)
        }));
    }
    for weights in WEIGHTS {
        cases.push(Case::new(
            format!("far logits {weights:?}"),
            far_logits(),
            move |t| t[0].binary_cross_entropy_with_logits(&t[1], &weights.options(t, Reduction::None)),
            move |x| Expected::joined(weights.reference(x)[0].clone(), weights.reference(x)[0].clone(), 4),
        ));
    }
    let recorded = Recorded::open("elementwise_loss");
    for (weights, name) in WEIGHTS.into_iter().zip(["plain", "weight", "pos_weight", "both"]) {
        let inputs = ["logits", "probabilities", "weight", "pos_weight"].map(|name| Input::given(recorded.whole(name)));
        let made = Case::new(
            format!("recorded {name}"),
            inputs.to_vec(),
            move |t| t[0].binary_cross_entropy_with_logits(&t[1], &weights.options(t, Reduction::Mean)),
            move |x| {
                let [losses, _, sizes] = weights.reference(x);
                reduced(losses, sizes, Reduction::Mean)
            },
        );
        cases.push(made.recorded(recorded.whole(&format!("bce.{name}"))));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(leak(format!("{BCE}: input has shape [3], target [2]; needs one shape: expand one of them")), |d| {
            zeros(d, &[3], F32)?.binary_cross_entropy_with_logits(&zeros(d, &[2], F32)?, &BceOptions::default())
        }),
        wrong(leak(format!("{BCE}: f32 and i32 tensors; needs one type for all: convert one by to_dtype")), |d| {
            zeros(d, &[3], F32)?.binary_cross_entropy_with_logits(&zeros(d, &[3], I32)?, &BceOptions::default())
        }),
    ]);
    Row { name: BCE, class: Class::Sum, gradient: LINEAR, cases, wrong }
}

/// The loss is linear in target, weight and the weight of ones, and has no gradient for them here: their slopes, by other
/// operations, are added without changing the value.
fn slopes_of_constants(
    t: &[Tensor],
    x: &[Var],
    y: Var,
    weights: Weights,
    reduction: Reduction,
) -> kiln_autograd::Result<Var> {
    let logits = x[0].detach();
    // softplus(x) and softplus(-x), by the loss itself.
    let single = BceOptions { reduction: Reduction::None, ..BceOptions::default() };
    let ones = Tensor::ones(t[0].device(), *t[0].shape(), F32)?;
    let up = logits.binary_cross_entropy_with_logits(&ones.mul_scalar(0.0)?, &single)?;
    let down = logits.binary_cross_entropy_with_logits(&ones, &single)?;
    let mut positive = x[1].mul(&down)?;
    if weights.pos_weight {
        positive = positive.mul(&x[3])?;
    }
    let mut losses = positive.add(&up.sub(&x[1].mul(&up)?)?)?;
    if weights.weight {
        losses = losses.mul(&x[2])?;
    }
    let again = match reduction {
        Reduction::None => losses,
        Reduction::Mean => losses.mean(..)?,
        Reduction::Sum => losses.sum(..)?,
    };
    y.add(&again.sub(&again.detach())?)
}

fn bce_gradient() -> Row {
    let mut cases = Vec::new();
    let shaped = shapes().into_iter().filter(|(shape, _)| !shape.is_empty() && !shape.contains(&0));
    for (i, (shape, layout)) in shaped.enumerate() {
        let (weights, reduction) = (WEIGHTS[i % 4], REDUCTIONS[i % 3]);
        let mut inputs = bce_inputs(&shape, layout);
        let dloss = if reduction == Reduction::None { shape.clone() } else { Vec::new() };
        inputs.push(input(&dloss, Domain::Within(0.5, 2.0)));
        cases.push(Case::new(
            format!("{shape:?} {layout:?} {weights:?} {reduction:?}"),
            inputs,
            move |t| bce_with_logits_grad(&t[0], &t[1], &t[4], &weights.options(t, reduction)),
            move |x| {
                let [_, slopes, sizes] = weights.reference(x);
                let share = if reduction == Reduction::Mean { 1.0 / x[0].numel() as f64 } else { 1.0 };
                let times = |values: &Array| values.zip(&x[4], |v, d| v * d * share);
                Expected::joined(times(&slopes), times(&sizes), 2)
            },
        ));
    }
    for weights in WEIGHTS {
        let mut inputs = far_logits();
        inputs.push(input(&[], Domain::Within(0.5, 2.0)));
        cases.push(Case::new(
            format!("far logits {weights:?}"),
            inputs,
            move |t| bce_with_logits_grad(&t[0], &t[1], &t[4], &weights.options(t, Reduction::Sum)),
            move |x| {
                let value = weights.reference(x)[1].zip(&x[4], |v, d| v * d);
                Expected::joined(value.clone(), value.abs(), 4)
            },
        ));
    }
    let wrong = Wrongs::Calls(vec![
        wrong("bce_with_logits_grad: input has shape [3], target [2]; needs one shape: expand one of them", |d| {
            let x = zeros(d, &[3], F32)?;
            bce_with_logits_grad(&x, &zeros(d, &[2], F32)?, &x, &BceOptions::default())
        }),
        wrong("bce_with_logits_grad: f32 and i32 tensors; needs one type for all: convert one by to_dtype", |d| {
            let x = zeros(d, &[3], F32)?;
            bce_with_logits_grad(&x, &zeros(d, &[3], I32)?, &zeros(d, &[], F32)?, &BceOptions::default())
        }),
    ]);
    Row { name: "elementwise_loss::bce_with_logits_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
