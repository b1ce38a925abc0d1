//! Softmax, its logarithm, cross-entropy, and their gradients.

use kiln_autograd::Var;
use kiln_tensor::ops::loss::{self, cross_entropy_grad};
use kiln_tensor::ops::softmax::{log_softmax_grad, softmax_grad};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::recorded::Recorded;
use crate::reference::array::numel;
use crate::reference::{Array, movement, reduce as reference};
use crate::row::{Case, Domain, Input, Layout, NO_GRADIENT, REDUCTION, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8, U32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![
        forward("softmax", Tensor::softmax, Var::softmax, reference::softmax),
        forward("log_softmax", Tensor::log_softmax, Var::log_softmax, reference::log_softmax),
        gradient("softmax::softmax_grad", softmax_grad, softmax_slope),
        gradient("softmax::log_softmax_grad", log_softmax_grad, log_softmax_slope),
        cross_entropy(),
        row_stats(),
        cross_entropy_gradient(),
    ]
}

fn shapes() -> Vec<(Vec<usize>, Layout, usize)> {
    vec![
        (vec![1], Contiguous, 0),
        (vec![63], Contiguous, 0),
        (vec![64, 10], Contiguous, 1),
        (vec![10, 65], Contiguous, 0),
        (vec![7, 11, 13], Contiguous, 1),
        (vec![7, 11, 13], Transposed, 2),
        (vec![13, 17], Offset, 1),
        (vec![9, 31], Tail, 0),
        (vec![3, 4099], Contiguous, 1),
        (vec![3, 0], Contiguous, 1),
        (vec![0, 3], Contiguous, 1),
        (vec![4, 1], Contiguous, 1),
        (vec![37, 61], Contiguous, 1),
        (vec![13, 5, 23], Contiguous, 1),
    ]
}

/// The bounds: `x - max` is off by half an ULP of the largest difference, which `exp` turns into so many parts of its
/// result, and the sum of n terms has its own error.
fn spread(x: &Array, axis: usize) -> Array {
    if x.numel() == 0 {
        return x.clone();
    }
    x.zip(&reference::max(x, &[axis], true), |v, m| (v - m).abs() + 1.0)
}

fn expected(log: bool, compute: fn(&Array, usize) -> Array, x: &Array, axis: usize) -> Expected {
    let (value, spread) = (compute(x, axis), spread(x, axis));
    let magnitude = if log { spread } else { value.zip(&spread, |v, s| v * s) };
    Expected::joined(value, magnitude, x.shape[axis])
}

fn forward(
    name: &'static str,
    tensor: fn(&Tensor, usize) -> Result<Tensor>,
    var: fn(&Var, usize) -> kiln_autograd::Result<Var>,
    compute: fn(&Array, usize) -> Array,
) -> Row {
    let log = name == "log_softmax";
    let case = |label: String, x: Input, axis: usize| {
        Case::new(label, vec![x], move |x| tensor(&x[0], axis), move |x| expected(log, compute, &x[0], axis))
            .differentiable(move |x| var(&x[0], axis))
    };
    let mut cases = Vec::new();
    for (i, (shape, layout, axis)) in shapes().into_iter().enumerate() {
        let of = |dtype: DType| input(&shape, Domain::Within(-4.0, 4.0)).layout(layout).dtype(dtype);
        let made = case(format!("{shape:?} {layout:?} along {axis}"), of(F32), axis);
        cases.push(if shape.contains(&61) || shape.contains(&23) { made.tight() } else { made });
        if [2, 5, 6].contains(&i) {
            let mut made = case(format!("{shape:?} {layout:?} along {axis} f16"), of(F16), axis).gives(F16);
            made.differentiable = None;
            cases.push(made);
        }
    }
    let recorded = Recorded::open("softmax");
    for file_case in recorded.cases() {
        let axis = recorded.number(file_case, "axis").unwrap() as usize;
        let made = case(format!("recorded {file_case}"), Input::given(recorded.get(file_case, "x")), axis);
        cases.push(made.recorded(recorded.get(file_case, name)));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(leak(format!("{name}: axis 2 of a tensor of shape [2, 3]; needs an axis below 2")), move |d| {
            tensor(&zeros(d, &[2, 3], F32)?, 2)
        }),
        wrong(leak(format!("{name}: the tensor is u8; needs f32, f16: convert it by to_dtype")), move |d| {
            tensor(&zeros(d, &[2, 3], U8)?, 0)
        }),
    ]);
    Row { name, class: Class::Sum, gradient: REDUCTION, cases, wrong }
}

/// `y (dy - sum(dy y))` and the magnitude of what is joined.
fn softmax_slope(y: &Array, dy: &Array, axis: usize) -> (Array, Array) {
    let of = |dy: &Array, sign: f64| {
        let inner = reference::sum(&dy.zip(y, |d, y| d * y), &[axis], true);
        dy.zip(&inner, |d, s| d - sign * s).zip(y, |d, y| d * y)
    };
    (of(dy, 1.0), of(&dy.abs(), -1.0))
}

/// `dy - exp(y) sum(dy)`.
fn log_softmax_slope(y: &Array, dy: &Array, axis: usize) -> (Array, Array) {
    let of = |dy: &Array, sign: f64| {
        let total = reference::sum(dy, &[axis], true);
        dy.zip(&y.map(f64::exp).zip(&total, |p, s| p * s), |d, ps| d - sign * ps)
    };
    (of(dy, 1.0), of(&dy.abs(), -1.0))
}

type Slope = fn(&Array, &Array, usize) -> (Array, Array);

fn gradient(name: &'static str, op: fn(&Tensor, &Tensor, usize) -> Result<Tensor>, slope: Slope) -> Row {
    let log = name.contains("log");
    let case = |label: String, inputs: Vec<Input>, axis: usize| {
        Case::new(
            label,
            inputs,
            move |x| op(&x[0], &x[1], axis),
            move |x| {
                let (value, magnitude) = slope(&x[0], &x[1], axis);
                Expected::joined(value, magnitude, x[0].shape[axis])
            },
        )
    };
    // Results of the forward pass: shares, or their logarithms.
    let ys = if log { Domain::Within(-6.0, -0.1) } else { Domain::Within(0.0, 1.0) };
    let mut cases = Vec::new();
    for (i, (shape, layout, axis)) in shapes().into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![2, 5, 6].contains(&i) {
                continue;
            }
            let of = |domain: Domain| input(&shape, domain).layout(layout).dtype(dtype);
            let inputs = vec![of(ys.clone()), of(Domain::Within(-1.0, 1.0))];
            let made = case(format!("{shape:?} {layout:?} along {axis} {dtype}"), inputs, axis).gives(dtype);
            cases.push(if shape.contains(&61) || shape.contains(&23) { made.tight() } else { made });
        }
    }
    let recorded = Recorded::open("softmax");
    for file_case in recorded.cases() {
        let axis = recorded.number(file_case, "axis").unwrap() as usize;
        let op_name = if log { "log_softmax" } else { "softmax" };
        let inputs = [op_name, "dy"].map(|tensor| Input::given(recorded.get(file_case, tensor)));
        let made = case(format!("recorded {file_case}"), inputs.to_vec(), axis);
        cases.push(made.recorded(recorded.get(file_case, &format!("{op_name}_dx"))));
    }
    let short = name.trim_start_matches("softmax::");
    let wrong = Wrongs::Calls(vec![
        wrong(leak(format!("{short}: axis 2 of a tensor of shape [2, 3]; needs an axis below 2")), move |d| {
            op(&zeros(d, &[2, 3], F32)?, &zeros(d, &[2, 3], F32)?, 2)
        }),
        wrong(leak(format!("{short}: y is [2, 3] of f32, dy [3, 2] of f32; needs a dy like y")), move |d| {
            op(&zeros(d, &[2, 3], F32)?, &zeros(d, &[3, 2], F32)?, 1)
        }),
    ]);
    Row { name, class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

/// Logits, targets and how the logits lie. Targets lie along.
fn losses() -> Vec<(Vec<usize>, Layout, DType)> {
    vec![
        (vec![1, 1], Contiguous, I32),
        (vec![1, 10], Contiguous, U32),
        (vec![63, 10], Contiguous, U8),
        (vec![64, 10], Contiguous, I32),
        (vec![65, 7], Offset, U8),
        (vec![13, 1000], Contiguous, I32),
        (vec![13, 17], Transposed, U32),
        (vec![9, 31], Tail, U8),
        (vec![3, 5, 7], Contiguous, I32),
        (vec![2, 4, 3, 5], Transposed, U8),
        // So many elements that a thread of the gradient makes several classes of a pixel.
        (vec![4, 37, 5, 7], Contiguous, I32),
        // More rows than one workgroup sums.
        (vec![4099, 3], Contiguous, U8),
        (vec![67, 37], Contiguous, I32),
    ]
}

/// `[batch, classes, ..]` as rows of classes, in the order of the targets.
fn rows_of(logits: &Array) -> Array {
    let classes = logits.shape[1];
    let mut axes: Vec<usize> = (0..logits.rank()).collect();
    axes.remove(1);
    axes.push(1);
    let moved = movement::permute(logits, &axes);
    movement::reshape(&moved, &[logits.numel() / classes, classes])
}

fn indices(targets: &Array) -> Vec<usize> {
    targets.data.iter().map(|&v| v as usize).collect()
}

fn target_shape(logits: &[usize]) -> Vec<usize> {
    let mut shape = logits.to_vec();
    shape.remove(1);
    shape
}

fn loss_inputs(shape: &[usize], layout: Layout, targets: DType, dtype: DType) -> Vec<Input> {
    let classes = shape[1].min(256) as i64;
    vec![
        input(shape, Domain::Within(-4.0, 4.0)).layout(layout).dtype(dtype),
        input(&target_shape(shape), Domain::Whole(0, classes - 1)).layout(layout).dtype(targets),
    ]
}

/// The mean over rows; the magnitude is that of the logits' spread.
fn loss_of(x: &[Array]) -> Expected {
    let rows = rows_of(&x[0]);
    let value = reference::cross_entropy(&rows, &indices(&x[1]));
    let magnitude = Array::scalar(reference::mean(&spread(&rows, 1), &[], false).item().max(value.item()));
    Expected::joined(value, magnitude, rows.shape[1])
}

fn each_loss(mut make: impl FnMut(String, Vec<Input>, &[usize], DType) -> Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (shape, layout, targets)) in losses().into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![3, 4].contains(&i) {
                continue;
            }
            let label = format!("{shape:?} {layout:?} {targets} {dtype}");
            let made = make(label, loss_inputs(&shape, layout, targets, dtype), &shape, dtype);
            cases.push(if shape == [67, 37] { made.tight() } else { made });
        }
    }
    cases
}

/// Calls `add` with each recorded case's name, logits and targets.
fn each_recorded(mut add: impl FnMut(&Recorded, &str, Vec<Input>)) {
    let recorded = Recorded::open("cross_entropy");
    for name in recorded.cases() {
        let [logits, targets] = ["logits", "targets"].map(|tensor| Input::given(recorded.get(name, tensor)));
        add(&recorded, name, vec![logits, targets.dtype(I32)]);
    }
}

fn cross_entropy() -> Row {
    let case = |label: String, inputs: Vec<Input>| {
        Case::new(label, inputs, |x| x[0].cross_entropy(&x[1]), loss_of)
            .differentiable_with(|t, x| x[0].cross_entropy(&t[1]))
    };
    let mut cases = each_loss(|label, inputs, _, dtype| {
        let mut made = case(label, inputs);
        if dtype == F16 {
            made.differentiable = None;
        }
        made
    });
    each_recorded(|recorded, name, inputs| {
        cases.push(case(format!("recorded {name}"), inputs).recorded(recorded.get(name, "loss")));
    });
    // No rows have no mean; a target that is no class shows.
    let nan = |label: &str, inputs: Vec<Input>| {
        Case::new(
            label,
            inputs,
            |x| x[0].cross_entropy(&x[1]),
            |_| Expected::joined(Array::scalar(f64::NAN), Array::scalar(1.0), 1),
        )
    };
    let given = |values: Vec<f64>| Input::given(&Array::new(&[values.len()], values)).dtype(I32);
    cases.push(nan("no rows", vec![input(&[0, 5], Domain::Within(0.0, 1.0)), given(vec![])]));
    cases.push(nan("target 5 of 5", vec![input(&[2, 5], Domain::Within(0.0, 1.0)), given(vec![1.0, 5.0])]));
    cases.push(nan("target -1", vec![input(&[2, 5], Domain::Within(0.0, 1.0)), given(vec![1.0, -1.0])]));
    let wrong = Wrongs::Calls(loss_wrongs("cross_entropy", |x, t| x.cross_entropy(t)));
    Row { name: "cross_entropy", class: Class::Sum, gradient: REDUCTION, cases, wrong }
}

fn loss_wrongs(op: &'static str, call: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Vec<Wrong> {
    let message = |rest: &str| leak(format!("{op}: {rest}"));
    vec![
        wrong(message("input has shape [5]; needs [batch, classes, ..] with at least one class"), move |d| {
            call(&zeros(d, &[5], F32)?, &zeros(d, &[], I32)?)
        }),
        wrong(
            message("input has shape [4, 3], target [3]; needs a target of [4], one class index per row"),
            move |d| call(&zeros(d, &[4, 3], F32)?, &zeros(d, &[3], I32)?),
        ),
        wrong(message("the target is f32; needs i32, u32, u8: convert it by to_dtype"), move |d| {
            call(&zeros(d, &[4, 3], F32)?, &zeros(d, &[4], F32)?)
        }),
        wrong(message("the input is i32; needs f32, f16: convert it by to_dtype"), move |d| {
            call(&zeros(d, &[4, 3], I32)?, &zeros(d, &[4], I32)?)
        }),
    ]
}

/// `loss::cross_entropy`, whose loss is `Tensor::cross_entropy`'s: what its gradient needs.
fn row_stats() -> Row {
    let reference = |x: &[Array]| {
        let rows = rows_of(&x[0]);
        let (count, classes) = (rows.shape[0], rows.shape[1]);
        let (mut value, mut magnitude) = (Array::zeros(&[count, 2]), Array::zeros(&[count, 2]));
        for row in 0..count {
            let logits = &rows.data[row * classes..][..classes];
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            value.data[2 * row..][..2].copy_from_slice(&[largest, sum.ln()]);
            // The largest is one of them, and the logarithm of a sum of which each term is good to a few ULP is good to as much.
            magnitude.data[2 * row + 1] = 1.0 + sum.ln();
        }
        Expected::joined(value, magnitude, classes)
    };
    let cases = each_loss(|label, inputs, _, _| {
        Case::new(label, inputs, |x| Ok(loss::cross_entropy(&x[0], &x[1])?.stats), reference)
    });
    let wrong = Wrongs::Calls(loss_wrongs("cross_entropy", |x, t| Ok(loss::cross_entropy(x, t)?.loss)));
    Row { name: "loss::cross_entropy", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn cross_entropy_gradient() -> Row {
    let case = |label: String, mut inputs: Vec<Input>, dloss: f64| {
        inputs.push(Input::given(&Array::scalar(dloss)));
        Case::new(
            label,
            inputs,
            |t| {
                let forward = loss::cross_entropy(&t[0], &t[1])?;
                cross_entropy_grad(&t[0], &t[1], &forward.stats, &t[2])
            },
            |x| {
                let rows = rows_of(&x[0]);
                let (dx, classes) = (reference::cross_entropy_grad(&rows, &indices(&x[1]), x[2].item()), rows.shape[1]);
                let share = x[2].item().abs() / rows.shape[0] as f64;
                // `exp` turns what is rounded of the logits' distances, not of their size, into its own.
                let mut magnitude = reference::softmax(&rows, 1).zip(&spread(&rows, 1), |p, s| p * s * share);
                for (row, &class) in indices(&x[1]).iter().enumerate() {
                    // There the share of the class and 1 are subtracted.
                    magnitude.data[row * classes + class] += share;
                }
                // Back from rows to [batch, classes, ..].
                let back = |rows: &Array| {
                    let mut shape = target_shape(&x[0].shape);
                    shape.push(classes);
                    let last = shape.len() - 1;
                    let mut axes: Vec<usize> = (0..last).collect();
                    axes.insert(1, last);
                    movement::permute(&movement::reshape(rows, &shape), &axes)
                };
                assert_eq!(numel(&x[0].shape), dx.numel());
                Expected::joined(back(&dx), back(&magnitude), classes)
            },
        )
    };
    let mut cases = each_loss(|label, inputs, _, dtype| case(label, inputs, -1.75).gives(dtype));
    each_recorded(|recorded, name, inputs| {
        cases.push(case(format!("recorded {name}"), inputs, 1.0).recorded(recorded.get(name, "dlogits")));
    });
    let call = |d: &Device, stats: &[usize], dloss: &[usize]| {
        cross_entropy_grad(
            &zeros(d, &[4, 3], F32)?,
            &zeros(d, &[4], I32)?,
            &zeros(d, stats, F32)?,
            &zeros(d, dloss, F32)?,
        )
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "cross_entropy_grad: stats has shape [3, 2], dloss []; needs those of the forward pass: [4, 2] and one number",
            move |d| call(d, &[3, 2], &[]),
        ),
        wrong(
            "cross_entropy_grad: stats has shape [4, 2], dloss [2]; needs those of the forward pass: [4, 2] and one number",
            move |d| call(d, &[4, 2], &[2]),
        ),
    ]);
    Row { name: "loss::cross_entropy_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
