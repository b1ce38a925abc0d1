//! The derivatives of elementwise ops that are kernels of their own, `ops::pointwise::gradient`.

use kiln_tensor::ops::pointwise::gradient as ops;
use kiln_tensor::{DType, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::reference::Array;
use crate::reference::array::broadcast_shape;
use crate::row::{Case, Domain, Layout, NO_GRADIENT, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8};
use Layout::{Contiguous, Offset, Tail, Transposed};

/// One derivative: its operands' domains, dy last, and its formula.
struct Derivative {
    name: &'static str,
    class: Class,
    op: Op,
    domains: Vec<Domain>,
    formula: fn(&[f64]) -> f64,
}

type Op = fn(&[Tensor]) -> Result<Tensor>;

/// The formula on whole arrays, broadcasting.
fn apply(formula: fn(&[f64]) -> f64, operands: &[Array]) -> Array {
    let shape = operands.iter().fold(Vec::new(), |shape, operand| broadcast_shape(&shape, &operand.shape));
    let operands: Vec<Array> = operands.iter().map(|operand| operand.expand(&shape)).collect();
    let data = (0..operands[0].numel()).map(|i| formula(&operands.iter().map(|o| o.data[i]).collect::<Vec<_>>()));
    Array::new(&shape, data.collect())
}

pub fn rows() -> Vec<Row> {
    use Domain::{Whole, Within};
    let dy = || Within(-2.0, 2.0);
    let of = |name, class, op: Op, domains: Vec<Domain>, formula| Derivative { name, class, op, domains, formula };
    let two = |x: Domain| vec![x, dy()];
    vec![
        of(
            "abs_grad",
            Class::Exact,
            |x| ops::abs_grad(&x[0], &x[1]),
            two(Whole(-2, 2)),
            |v| v[1] * if v[0] == 0.0 || v[0].is_nan() { 0.0 } else { v[0].signum() },
        ),
        of("sqrt_grad", Class::Div, |x| ops::sqrt_grad(&x[0], &x[1]), two(Within(0.2, 5.0)), |v| v[1] / (2.0 * v[0])),
        of(
            "rsqrt_grad",
            Class::Transcendental,
            |x| ops::rsqrt_grad(&x[0], &x[1]),
            two(Within(0.2, 5.0)),
            |v| -0.5 * v[1] * v[0].powi(3),
        ),
        of(
            "sin_grad",
            Class::Transcendental,
            |x| ops::sin_grad(&x[0], &x[1]),
            two(Within(-7.0, 7.0)),
            |v| v[1] * v[0].cos(),
        ),
        of(
            "cos_grad",
            Class::Transcendental,
            |x| ops::cos_grad(&x[0], &x[1]),
            two(Within(-7.0, 7.0)),
            |v| -v[1] * v[0].sin(),
        ),
        of(
            "tanh_grad",
            Class::Transcendental,
            |x| ops::tanh_grad(&x[0], &x[1]),
            two(Within(-0.999, 0.999)),
            |v| v[1] * (1.0 - v[0] * v[0]),
        ),
        of(
            "sigmoid_grad",
            Class::Transcendental,
            |x| ops::sigmoid_grad(&x[0], &x[1]),
            two(Within(0.001, 0.999)),
            |v| v[1] * v[0] * (1.0 - v[0]),
        ),
        of(
            "relu_grad",
            Class::Exact,
            |x| ops::relu_grad(&x[0], &x[1]),
            two(Whole(-2, 2)),
            |v| {
                if v[0] > 0.0 { v[1] } else { 0.0 }
            },
        ),
        of(
            "reciprocal_grad",
            Class::Div,
            |x| ops::reciprocal_grad(&x[0], &x[1]),
            two(Within(-5.0, 5.0)),
            |v| -v[1] * v[0] * v[0],
        ),
        of(
            "square_grad",
            Class::Div,
            |x| ops::square_grad(&x[0], &x[1]),
            two(Within(-5.0, 5.0)),
            |v| 2.0 * v[0] * v[1],
        ),
        of(
            "div_grad",
            Class::Transcendental,
            |x| ops::div_grad(&x[0], &x[1], &x[2]),
            vec![Within(-5.0, 5.0), Within(0.3, 5.0), dy()],
            |v| -v[2] * v[0] / (v[1] * v[1]),
        ),
        // Exponents from which 1 can be taken without a rounding: that rounding is not the kernel's error.
        of(
            "pow_grad_base",
            Class::Transcendental,
            |x| ops::pow_grad_base(&x[0], &x[1], &x[2]),
            vec![Within(0.2, 4.0), Whole(-3, 4), dy()],
            |v| if v[1] == 0.0 { 0.0 } else { v[2] * v[1] * v[0].powf(v[1] - 1.0) },
        ),
        of(
            "pow_grad_exponent",
            Class::Transcendental,
            |x| ops::pow_grad_exponent(&x[0], &x[1], &x[2]),
            vec![Within(0.2, 4.0), Within(-3.0, 3.0), dy()],
            |v| v[2] * v[0].powf(v[1]) * v[0].ln(),
        ),
        of(
            "maximum_grad",
            Class::Exact,
            |x| ops::maximum_grad(&x[0], &x[1], &x[2]),
            vec![Whole(-2, 2), Whole(-2, 2), dy()],
            |v| larger_share(v[0], v[1], v[2]),
        ),
        of(
            "minimum_grad",
            Class::Exact,
            |x| ops::minimum_grad(&x[0], &x[1], &x[2]),
            vec![Whole(-2, 2), Whole(-2, 2), dy()],
            |v| larger_share(-v[0], -v[1], v[2]),
        ),
        of(
            "clamp_grad",
            Class::Exact,
            |x| ops::clamp_grad(&x[0], &x[1], -1.0, 1.0),
            two(Whole(-2, 2)),
            |v| {
                if (-1.0..=1.0).contains(&v[0]) { v[1] } else { 0.0 }
            },
        ),
        of(
            "pow_scalar_grad",
            Class::Transcendental,
            |x| ops::pow_scalar_grad(&x[0], &x[1], 2.5),
            two(Within(0.2, 4.0)),
            |v| v[1] * 2.5 * v[0].powf(1.5),
        ),
    ]
    .into_iter()
    .map(row)
    .chain([masked("gradient::keep", ops::keep, true), masked("gradient::drop", ops::drop, false)])
    .collect()
}

/// What of `dy` goes to `a`, where the larger of `a` and `b` was taken: all of it also where either is NaN.
fn larger_share(a: f64, b: f64, dy: f64) -> f64 {
    if a == b {
        0.5 * dy
    } else if a < b {
        0.0
    } else {
        dy
    }
}

/// Shapes of all operands but dy, shape of dy, layouts.
fn shapes() -> Vec<(Vec<usize>, Vec<usize>, Layout)> {
    let same = |shape: &[usize], layout| (shape.to_vec(), shape.to_vec(), layout);
    vec![
        same(&[], Contiguous),
        same(&[1], Contiguous),
        same(&[63], Contiguous),
        same(&[64], Contiguous),
        same(&[65], Contiguous),
        same(&[7, 11, 13], Contiguous),
        same(&[13, 17], Offset),
        same(&[9, 31], Tail),
        same(&[5, 7, 8], Transposed),
        same(&[3, 0, 5], Contiguous),
        (vec![11, 13], vec![1], Contiguous),
        (vec![13], vec![7, 11, 13], Contiguous),
    ]
}

fn row(derivative: Derivative) -> Row {
    let Derivative { name, class, op, domains, formula } = derivative;
    let mut cases = Vec::new();
    for (i, (shape, dy, layout)) in shapes().into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![4, 6].contains(&i) {
                continue;
            }
            let inputs = domains.iter().enumerate().map(|(operand, domain)| {
                let shape = if operand + 1 == domains.len() { &dy } else { &shape };
                input(shape, domain.clone()).layout(layout).dtype(dtype)
            });
            let reference = move |x: &[Array]| Expected::new(apply(formula, x));
            let label = format!("{shape:?} and {dy:?} {layout:?} {dtype}");
            cases.push(Case::new(label, inputs.collect(), op, reference).gives(dtype));
        }
    }
    // An exponent's rounding in f16 is none of the kernel's, and is in the reference's inputs already.
    let wrong = Wrongs::Calls(wrongs(name, op, domains.len()));
    Row { name: leak(format!("gradient::{name}")), class, gradient: NO_GRADIENT, cases, wrong }
}

fn wrongs(name: &'static str, op: Op, operands: usize) -> Vec<Wrong> {
    let call = move |d: &kiln_tensor::Device, last: &[usize], dtype: DType| {
        let mut tensors = vec![zeros(d, &[2, 3], F32)?; operands - 1];
        tensors.push(zeros(d, last, dtype)?);
        op(&tensors)
    };
    vec![
        wrong(
            leak(format!(
                "{name}: shapes [2, 3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or \
                 expand one of them"
            )),
            move |d| call(d, &[2], F32),
        ),
        wrong(
            leak(format!("{name}: f32 and i32 tensors; needs one type for all: convert one by to_dtype")),
            move |d| call(d, &[2, 3], I32),
        ),
    ]
}

fn masked(name: &'static str, op: fn(&Tensor, &Tensor) -> Result<Tensor>, kept: bool) -> Row {
    let mut cases = Vec::new();
    for (shape, dy, layout) in shapes() {
        for dtype in [F32, F16, I32] {
            let domain = if dtype.is_float() { Domain::Within(-2.0, 2.0) } else { Domain::Whole(-9, 9) };
            let inputs = vec![
                input(&shape, Domain::Whole(0, 2)).layout(layout).dtype(U8),
                input(&dy, domain).layout(layout).dtype(dtype),
            ];
            let case = Case::new(
                format!("{shape:?} and {dy:?} {layout:?} {dtype}"),
                inputs,
                move |x| op(&x[0], &x[1]),
                move |x| Expected::new(x[0].zip(&x[1], |m, v| if (m != 0.0) == kept { v } else { 0.0 })),
            );
            cases.push(case.gives(dtype));
        }
    }
    let short = name.trim_start_matches("gradient::");
    let wrong = Wrongs::Calls(vec![
        wrong(leak(format!("{short}: the mask is f32; needs u8: convert it by to_dtype")), move |d| {
            op(&zeros(d, &[2], F32)?, &zeros(d, &[2], F32)?)
        }),
        wrong(
            leak(format!(
                "{short}: shapes [3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or \
                 expand one of them"
            )),
            move |d| op(&zeros(d, &[3], U8)?, &zeros(d, &[2], F32)?),
        ),
    ]);
    Row { name, class: Class::Exact, gradient: NO_GRADIENT, cases, wrong }
}
