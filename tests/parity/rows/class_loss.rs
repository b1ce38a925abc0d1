//! Cross-entropy with class weights, ignored targets and label smoothing.

use kiln_tensor::ops::class_loss::{CrossEntropyOptions, class_loss, class_loss_grad};
use kiln_tensor::ops::loss::Reduction;
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::array::unravel;
use crate::row::{Case, Domain, Input, Layout, NO_GRADIENT, REDUCTION, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![forward(), stats(), gradient()]
}

/// Options of a case: the weight is input 2.
#[derive(Clone, Copy, Debug)]
struct Settings {
    weighted: bool,
    ignore_index: i64,
    reduction: Reduction,
    smoothing: f64,
}

impl Settings {
    fn options(self, t: &[Tensor]) -> CrossEntropyOptions {
        CrossEntropyOptions {
            weight: self.weighted.then(|| t[2].clone()),
            ignore_index: self.ignore_index,
            reduction: self.reduction,
            label_smoothing: self.smoothing,
        }
    }
}

fn settings(i: usize) -> Settings {
    let of = |weighted, ignore_index, reduction, smoothing| Settings { weighted, ignore_index, reduction, smoothing };
    [
        of(true, -100, Reduction::Mean, 0.0),
        of(false, 1, Reduction::Mean, 0.1),
        of(true, 0, Reduction::None, 0.3),
        of(false, -100, Reduction::Sum, 0.0),
        of(true, 2, Reduction::Sum, 0.5),
        of(false, -100, Reduction::None, 0.0),
        of(true, 1, Reduction::Mean, 1.0),
    ][i % 7]
}

/// Shapes, layouts and the targets' type; floats are probabilities.
fn problems() -> Vec<(Vec<usize>, Layout, DType)> {
    vec![
        (vec![1, 3], Contiguous, I32),
        (vec![63, 10], Contiguous, I32),
        (vec![64, 7], Contiguous, U8),
        (vec![65, 5], Offset, F32),
        (vec![13, 1000], Contiguous, I32),
        (vec![13, 17], Transposed, F32),
        (vec![9, 31], Tail, U8),
        (vec![3, 5, 7], Contiguous, F32),
        (vec![2, 4, 3, 5], Transposed, I32),
        (vec![2, 6, 4, 4], Contiguous, F32),
        (vec![5, 1], Contiguous, I32),
        // Too large for the tight device.
        (vec![67, 37], Contiguous, I32),
        (vec![67, 37], Contiguous, F32),
    ]
}

fn inputs(shape: &[usize], layout: Layout, targets: DType, dtype: DType) -> Vec<Input> {
    let target = if targets.is_float() {
        input(shape, Domain::Within(0.0, 1.0)).dtype(dtype)
    } else {
        let mut rows = shape.to_vec();
        rows.remove(1);
        input(&rows, Domain::Whole(0, shape[1] as i64 - 1)).dtype(targets)
    };
    vec![
        input(shape, Domain::Within(-4.0, 4.0)).layout(layout).dtype(dtype),
        target.layout(layout),
        input(&[shape[1]], Domain::Within(0.5, 2.0)),
    ]
}

/// Of each row: loss, divisor, size, and by class its coefficients and probabilities; `[batch, ..]` in order.
struct Rows {
    shape: Vec<usize>,
    losses: Vec<f64>,
    divisors: Vec<f64>,
    sizes: Vec<f64>,
    coefficients: Array,
    probabilities: Array,
}

fn rows_of(x: &[Array], s: Settings) -> Rows {
    let (logits, targets) = (&x[0], &x[1]);
    let classes = logits.shape[1];
    let mut shape = logits.shape.clone();
    shape.remove(1);
    let weight = |k: usize| if s.weighted { x[2].data[k] } else { 1.0 };
    let mut rows = Rows {
        shape: shape.clone(),
        losses: Vec::new(),
        divisors: Vec::new(),
        sizes: Vec::new(),
        coefficients: Array::zeros(&logits.shape),
        probabilities: Array::zeros(&logits.shape),
    };
    for at in 0..shape.iter().product() {
        let index = unravel(&shape, at);
        let place = |k: usize| {
            let mut full = index.clone();
            full.insert(1, k);
            crate::reference::array::ravel(&logits.shape, &full)
        };
        let values: Vec<f64> = (0..classes).map(|k| logits.data[place(k)]).collect();
        let largest = values.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let log_sum = largest + values.iter().map(|v| (v - largest).exp()).sum::<f64>().ln();
        let even = s.smoothing / classes as f64;
        let indexed = targets.rank() < logits.rank();
        let class = if indexed { targets.data[at] as i64 } else { -1 };
        let ignored = indexed && class == s.ignore_index;
        let mut loss = 0.0;
        for (k, value) in values.iter().enumerate() {
            let share = if indexed { f64::from(class == k as i64) } else { targets.data[place(k)] };
            let c = if ignored { 0.0 } else { weight(k) * ((1.0 - s.smoothing) * share + even) };
            loss += c * (log_sum - value);
            rows.coefficients.data[place(k)] = c;
            rows.probabilities.data[place(k)] = (value - log_sum).exp();
        }
        rows.losses.push(loss);
        rows.divisors.push(if ignored {
            0.0
        } else if indexed {
            weight(class as usize)
        } else {
            1.0
        });
        let taken: f64 = (0..classes).map(|k| rows.coefficients.data[place(k)]).sum();
        rows.sizes.push(taken * (log_sum.abs() + largest.abs() + 9.0));
    }
    rows
}

fn expected(x: &[Array], s: Settings) -> Expected {
    let rows = rows_of(x, s);
    let terms = x[0].shape[1].max(rows.losses.len());
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    let divisor = sum(&rows.divisors);
    match s.reduction {
        Reduction::None => {
            Expected::joined(Array::new(&rows.shape, rows.losses), Array::new(&rows.shape, rows.sizes), terms)
        }
        Reduction::Sum => Expected::joined(Array::scalar(sum(&rows.losses)), Array::scalar(sum(&rows.sizes)), terms),
        Reduction::Mean => {
            let size = if divisor == 0.0 { 1.0 } else { sum(&rows.sizes) / divisor };
            Expected::joined(Array::scalar(sum(&rows.losses) / divisor), Array::scalar(size), terms)
        }
    }
}

fn is_tight(shape: &[usize]) -> bool {
    shape.contains(&37)
}

fn recorded_cases(mut add: impl FnMut(&Recorded, &str, Vec<Input>, Settings)) {
    let recorded = Recorded::open("class_loss");
    for name in recorded.cases() {
        let get = |tensor: &str| Input::given(recorded.get(name, tensor));
        let indexed = recorded.get(name, "target").rank() < recorded.get(name, "x").rank();
        let target = if indexed { get("target").dtype(I32) } else { get("target") };
        let s = Settings {
            weighted: recorded.flag(name, "weighted"),
            ignore_index: recorded.number(name, "ignore_index").map_or(-100, |index| index as i64),
            reduction: match recorded.text(name, "reduction") {
                "none" => Reduction::None,
                "sum" => Reduction::Sum,
                _ => Reduction::Mean,
            },
            smoothing: recorded.number(name, "label_smoothing").unwrap_or(0.0),
        };
        add(&recorded, name, vec![get("x"), target, get("weight")], s);
    }
}

fn forward() -> Row {
    let case = |label: String, inputs: Vec<Input>, s: Settings| {
        Case::new(label, inputs, move |t| t[0].cross_entropy_with(&t[1], &s.options(t)), move |x| expected(x, s))
    };
    let mut cases = Vec::new();
    for (i, (shape, layout, targets)) in problems().into_iter().enumerate() {
        // The last has no weights, of which a gradient would be asked.
        for s in [settings(i), settings(i + 3), settings([3, 5, 1][i % 3])] {
            let made = case(format!("{shape:?} {layout:?} {targets} {s:?}"), inputs(&shape, layout, targets, F32), s);
            // Probabilities and weights are floats without a gradient: only indices without weights are tried by differences.
            let made = if s.weighted || targets.is_float() {
                made
            } else {
                made.differentiable_with(move |t, x| x[0].cross_entropy_with(&t[1], &s.options(t)))
            };
            cases.push(if is_tight(&shape) { made.tight() } else { made });
        }
        if [1, 9].contains(&i) {
            let s = Settings { reduction: Reduction::Mean, ..settings(i) };
            cases.push(case(format!("{shape:?} {targets} f16"), inputs(&shape, layout, targets, F16), s));
        }
    }
    let plain = settings(3);
    let all_ignored = Settings { ignore_index: 2, reduction: Reduction::Mean, ..plain };
    let given = |values: Vec<f64>| Input::given(&Array::new(&[values.len()], values)).dtype(I32);
    let two = |targets: Vec<f64>| vec![input(&[2, 5], Domain::Within(0.0, 1.0)), given(targets)];
    cases.push(case("all ignored".to_owned(), two(vec![2.0, 2.0]), all_ignored));
    let nan = |label: &str, inputs: Vec<Input>| {
        Case::new(
            label,
            inputs,
            move |t| t[0].cross_entropy_with(&t[1], &plain.options(t)),
            |_| Expected::joined(Array::scalar(f64::NAN), Array::scalar(1.0), 1),
        )
    };
    cases.push(nan("target 5 of 5", two(vec![1.0, 5.0])));
    cases.push(nan("target -1", two(vec![1.0, -1.0])));
    recorded_cases(|recorded, name, inputs, s| {
        cases.push(case(format!("recorded {name}"), inputs, s).recorded(recorded.get(name, "loss")));
    });
    let wrong = Wrongs::Calls(wrongs("cross_entropy_with", Tensor::cross_entropy_with));
    Row { name: "cross_entropy_with", class: Class::Sum, gradient: REDUCTION, cases, wrong }
}

fn wrongs(op: &'static str, call: fn(&Tensor, &Tensor, &CrossEntropyOptions) -> Result<Tensor>) -> Vec<Wrong> {
    let message = |rest: &str| leak(format!("{op}: {rest}"));
    let plain = CrossEntropyOptions::default;
    let of = move |x: &'static [usize], target: &'static [usize], dtype: DType| {
        move |d: &Device| call(&zeros(d, x, F32)?, &zeros(d, target, dtype)?, &plain())
    };
    vec![
        wrong(message("input has shape [5]; needs [batch, classes, ..] with at least one class"), of(&[5], &[5], F32)),
        wrong(
            message("input has shape [4, 3], target [3]; needs a target of [4], one class index per row"),
            of(&[4, 3], &[3], I32),
        ),
        wrong(
            message("input has shape [4, 3], target [4]; needs a target of [4, 3], a probability for each class"),
            of(&[4, 3], &[4], F32),
        ),
        wrong(message("weight has shape [4]; an input of shape [4, 3] needs [3]"), move |d| {
            let options = CrossEntropyOptions { weight: Some(zeros(d, &[4], F32)?), ..plain() };
            call(&zeros(d, &[4, 3], F32)?, &zeros(d, &[4], I32)?, &options)
        }),
        wrong(message("label_smoothing 1.5; needs a number from 0 to 1"), move |d| {
            let options = CrossEntropyOptions { label_smoothing: 1.5, ..plain() };
            call(&zeros(d, &[4, 3], F32)?, &zeros(d, &[4], I32)?, &options)
        }),
    ]
}

/// What the gradient needs besides the loss.
fn stats() -> Row {
    let mut cases = Vec::new();
    for (i, (shape, layout, targets)) in problems().into_iter().enumerate() {
        let s = settings(i);
        let made = Case::new(
            format!("{shape:?} {layout:?} {targets} {s:?}"),
            inputs(&shape, layout, targets, F32),
            // Their sum by row: the logarithm of the sum of exponentials, and the coefficients.
            move |t| class_loss(&t[0], &t[1], &s.options(t))?.stats.sum(0),
            move |x| {
                let rows = rows_of(x, s);
                let classes = x[0].shape[1];
                let count = rows.losses.len();
                let inner = count / x[0].shape[0];
                let of = |row: usize, k: usize| (row / inner * classes + k) * inner + row % inner;
                let value = (0..count).map(|row| {
                    let taken: f64 = (0..classes).map(|k| rows.coefficients.data[of(row, k)]).sum();
                    x[0].data[of(row, 0)] - rows.probabilities.data[of(row, 0)].ln() + taken
                });
                Expected::joined(Array::new(&[count], value.collect()), Array::full(&[count], 16.0), classes)
            },
        );
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    let wrong = Wrongs::Calls(wrongs("cross_entropy_with", |x, t, o| Ok(class_loss(x, t, o)?.loss)));
    Row { name: "class_loss::class_loss", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn gradient() -> Row {
    let case = |label: String, mut inputs: Vec<Input>, s: Settings, dloss: Domain| {
        let mut shape = inputs[0].shape.clone();
        shape.remove(1);
        inputs.push(input(if s.reduction == Reduction::None { &shape } else { &[] }, dloss));
        Case::new(
            label,
            inputs,
            move |t| {
                let found = class_loss(&t[0], &t[1], &s.options(t))?;
                class_loss_grad(&t[0], &t[1], &found, &t[3], &s.options(t))
            },
            move |x| {
                let rows = rows_of(x, s);
                let (classes, count) = (x[0].shape[1], rows.losses.len());
                let inner = count / x[0].shape[0];
                let divisor = if s.reduction == Reduction::Mean { rows.divisors.iter().sum() } else { 1.0 };
                let (mut value, mut size) = (Array::zeros(&x[0].shape), Array::zeros(&x[0].shape));
                for row in 0..count {
                    let of = |k: usize| (row / inner * classes + k) * inner + row % inner;
                    let taken: f64 = (0..classes).map(|k| rows.coefficients.data[of(k)]).sum();
                    let given = x[3].data[if x[3].numel() > 1 { row } else { 0 }] / divisor;
                    for k in 0..classes {
                        let (p, c) = (rows.probabilities.data[of(k)], rows.coefficients.data[of(k)]);
                        // Nothing counts in an ignored row, NaN neither.
                        value.data[of(k)] = if taken == 0.0 { 0.0 } else { (p * taken - c) * given };
                        // The exponent is off by the rounding of a difference of at most 8.
                        size.data[of(k)] = (9.0 * p * taken + c) * given.abs();
                    }
                }
                Expected::joined(value, size, classes)
            },
        )
    };
    let mut cases = Vec::new();
    for (i, (shape, layout, targets)) in problems().into_iter().enumerate() {
        let s = settings(i);
        let label = format!("{shape:?} {layout:?} {targets} {s:?}");
        let made = case(label, inputs(&shape, layout, targets, F32), s, Domain::Within(0.5, 2.0));
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    recorded_cases(|recorded, name, inputs, s| {
        let made = case(format!("recorded {name}"), inputs, s, Domain::Whole(1, 1));
        cases.push(made.recorded(recorded.get(name, "dx")));
    });
    let call = |d: &Device, dloss: &[usize], rows: usize| {
        let (x, t, o) = (zeros(d, &[4, 3], F32)?, zeros(d, &[4], I32)?, CrossEntropyOptions::default());
        let mut found = class_loss(&x, &t, &o)?;
        found.stats = zeros(d, &[3, rows], F32)?;
        class_loss_grad(&x, &t, &found, &zeros(d, dloss, F32)?, &o)
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "class_loss_grad: stats have shape [3, 5], dloss []; needs those of the forward pass: [3, 4] and []",
            move |d| call(d, &[], 5),
        ),
        wrong(
            "class_loss_grad: stats have shape [3, 4], dloss [4]; needs those of the forward pass: [3, 4] and []",
            move |d| call(d, &[4], 4),
        ),
    ]);
    Row { name: "class_loss::class_loss_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
