//! Elementwise ops of one tensor, with and without scalars, and conversions.

use kiln_autograd::Var;
use kiln_tensor::{DType, Result, Tensor};

use crate::reference::{Array, pointwise as reference};
use crate::row::{Case, Domain, Gradient, Input, LINEAR, Layout, Row, Wrongs, input, upload, wrapped, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8, U32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Every shape that the flat and the strided loop tell apart.
pub fn shapes() -> Vec<(Vec<usize>, Layout)> {
    vec![
        (vec![], Contiguous),
        (vec![1], Contiguous),
        (vec![63], Contiguous),
        (vec![64], Contiguous),
        (vec![65], Contiguous),
        (vec![7, 11, 13], Contiguous),
        (vec![13, 17], Offset),
        (vec![], Offset),
        (vec![5, 7, 8], Transposed),
        (vec![9, 31], Tail),
        (vec![3, 0, 5], Contiguous),
        (vec![2, 3, 2, 3, 2, 3], Transposed),
        (vec![37, 61], Transposed),
    ]
}

/// One op of one tensor.
struct Unary {
    name: &'static str,
    class: Class,
    tensor: fn(&Tensor) -> Result<Tensor>,
    var: fn(&Var) -> kiln_autograd::Result<Var>,
    reference: fn(f64) -> f64,
    /// Where the shapes' values are drawn from; the gradient is tried there too.
    domain: Domain,
    /// Where a thousand values more are drawn from, without a gradient.
    wide: Domain,
    /// Values that stand alone: infinities, NaN, the ends of f32.
    special: Vec<f64>,
    /// On integers, before they wrap around; `None` where the op is for floats.
    whole: Option<fn(f64) -> f64>,
}

macro_rules! unary {
    ($name:ident, $class:ident, $reference:expr, $domain:expr, $wide:expr, $special:expr, $whole:expr) => {
        Unary {
            name: stringify!($name),
            class: Class::$class,
            tensor: Tensor::$name,
            var: Var::$name,
            reference: $reference,
            domain: $domain,
            wide: $wide,
            special: Vec::from($special),
            whole: $whole,
        }
    };
}

/// The reference works on arrays; here it is wanted by element.
fn one(op: fn(&Array) -> Array, value: f64) -> f64 {
    op(&Array::scalar(value)).item()
}

fn ops() -> Vec<Unary> {
    use Domain::{Apart, Within};
    let max = f64::from(f32::MAX);
    vec![
        unary!(neg, Exact, |x| -x, Within(-9.0, 9.0), Within(-1e30, 1e30), [INF, -INF, NAN, 0.0, max], Some(|x| -x)),
        unary!(
            abs,
            Exact,
            f64::abs,
            Apart(-9.0, 9.0, &[0.0]),
            Within(-1e30, 1e30),
            [INF, -INF, NAN, -0.0, -max],
            Some(f64::abs)
        ),
        unary!(
            sign,
            Exact,
            |x| one(reference::sign, x),
            Apart(-9.0, 9.0, &[0.0]),
            Within(-1e-30, 1e-30),
            [INF, -INF, NAN, 0.0, -0.0, 1e-38, -max],
            Some(|x| one(reference::sign, x))
        ),
        unary!(
            exp,
            Transcendental,
            f64::exp,
            Within(-4.0, 4.0),
            Within(-87.0, 88.7),
            [INF, -INF, NAN, 0.0, -0.0, 1e-30, 88.722_84, 89.0, 1e30, -104.0, -1e30],
            None
        ),
        unary!(
            log,
            Transcendental,
            f64::ln,
            Within(0.05, 20.0),
            Within(0.0, 1e30),
            [INF, -INF, NAN, 0.0, -0.0, 1.0, -1.0, 1.2e-38, max, 0.999_999_94, 1.000_000_1],
            None
        ),
        unary!(
            sqrt,
            Div,
            f64::sqrt,
            Within(0.05, 20.0),
            Within(0.0, 1e30),
            [INF, -INF, NAN, 0.0, 1.0, -1.0, 1.2e-38, max],
            None
        ),
        unary!(
            rsqrt,
            Div,
            |x| one(reference::rsqrt, x),
            Within(0.05, 20.0),
            Within(1e-30, 1e30),
            [INF, NAN, 0.0, 1.0, -1.0, 1.2e-38, max],
            None
        ),
        unary!(
            sin,
            Transcendental,
            f64::sin,
            Within(-7.0, 7.0),
            Within(-1e4, 1e4),
            [INF, NAN, 0.0, 1e-20, 2047.5, 2048.5, 1e6, -1e10, 3.4e38, std::f64::consts::PI as f32 as f64],
            None
        ),
        unary!(
            cos,
            Transcendental,
            f64::cos,
            Within(-7.0, 7.0),
            Within(-1e4, 1e4),
            [INF, NAN, 0.0, 1e-20, 2047.5, 2048.5, 1e6, -1e10, 3.4e38, std::f64::consts::FRAC_PI_2 as f32 as f64],
            None
        ),
        unary!(
            tanh,
            Transcendental,
            f64::tanh,
            Within(-4.0, 4.0),
            Within(-12.0, 12.0),
            [INF, -INF, NAN, 0.0, 1e-20, 0.625, -0.624_999_9, 100.0, -1e30],
            None
        ),
        unary!(
            sigmoid,
            Transcendental,
            |x| one(reference::sigmoid, x),
            Within(-8.0, 8.0),
            Within(-87.0, 100.0),
            [INF, -INF, NAN, 0.0, -0.0, 1e30, -200.0],
            None
        ),
        unary!(
            relu,
            Round,
            |x| one(reference::relu, x),
            Apart(-9.0, 9.0, &[0.0]),
            Within(-1e30, 1e30),
            [INF, -INF, NAN, 0.0, -0.0, 1e-38],
            Some(|x| x.max(0.0))
        ),
        unary!(
            floor,
            Exact,
            f64::floor,
            Apart(-3.0, 3.0, &[-2.0, -1.0, 0.0, 1.0, 2.0]),
            Within(-1e7, 1e7),
            [INF, -INF, 0.0, -0.5, 0.5, -1.0, 8_388_609.0],
            Some(|x| x)
        ),
        unary!(
            ceil,
            Exact,
            f64::ceil,
            Apart(-3.0, 3.0, &[-2.0, -1.0, 0.0, 1.0, 2.0]),
            Within(-1e7, 1e7),
            [INF, -INF, 0.0, -0.5, 0.5, -1.0, 8_388_609.0],
            Some(|x| x)
        ),
        unary!(
            round,
            Exact,
            f64::round_ties_even,
            Apart(-3.0, 3.0, &[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]),
            Within(-1e7, 1e7),
            [INF, -INF, 0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 0.499_999_97, 8_388_607.5],
            Some(|x| x)
        ),
        unary!(
            reciprocal,
            Div,
            |x| 1.0 / x,
            Apart(-4.0, 4.0, &[-0.1, -0.09, -0.08, -0.07, -0.06, -0.05, -0.04, -0.03, -0.02, -0.01, 0.0]),
            Within(1e-30, 1e30),
            [1.0, -3.0, 1e37, 1e-37],
            None
        ),
        unary!(square, Round, |x| x * x, Within(-9.0, 9.0), Within(-1e18, 1e18), [0.0, 1e19, -1e-18], Some(|x| x * x)),
    ]
}

/// Integers of a dtype, some beyond half its range.
fn integers(dtype: DType) -> Domain {
    match dtype {
        U8 => Domain::Whole(0, 255),
        U32 => Domain::Whole(0, 200_000),
        _ => Domain::Whole(-100_000, 100_000),
    }
}

/// A case without gradient of another dtype or of values that the gradient has no place for.
fn forward(
    what: &str,
    x: Input,
    dtype: DType,
    op: fn(&Tensor) -> Result<Tensor>,
    reference: impl Fn(&Array) -> Array + 'static,
) -> Case {
    let label = format!("{:?} {:?} {what}", x.shape, x.layout);
    Case::new(label, vec![x], move |x| op(&x[0]), move |x| Expected::new(reference(&x[0]))).gives(dtype)
}

fn unary_row(op: Unary) -> Row {
    let Unary { name, class, tensor, var, reference, domain, wide, special, whole } = op;
    let mut cases: Vec<Case> = shapes()
        .into_iter()
        .map(|(shape, layout)| {
            let x = input(&shape, domain.clone()).layout(layout);
            let case = forward("", x, F32, tensor, move |x| x.map(reference)).differentiable(move |x| var(&x[0]));
            if shape == [37, 61] { case.tight() } else { case }
        })
        .collect();
    cases.push(forward("wide", input(&[1021], wide), F32, tensor, move |x| x.map(reference)));
    let special = Array::new(&[special.len()], special);
    cases.push(forward("special", Input::given(&special), F32, tensor, move |x| x.map(reference)));
    for (shape, layout) in [(vec![65], Contiguous), (vec![13, 17], Offset)] {
        let x = input(&shape, domain.clone()).layout(layout).dtype(F16);
        cases.push(forward("f16", x, F16, tensor, move |x| x.map(reference)));
        let Some(whole) = whole else { continue };
        for dtype in [I32, U32, U8] {
            let x = input(&shape, integers(dtype)).layout(layout).dtype(dtype);
            let case = forward(&dtype.to_string(), x, dtype, tensor, move |x| x.map(|v| wrapped(dtype, whole(v))));
            cases.push(case);
        }
    }
    // Steps are flat wherever they have a slope.
    let wrong = match whole {
        Some(_) => Wrongs::Infallible("defined on every type"),
        None => Wrongs::Calls(vec![
            wrong(leak(format!("{name}: the tensor is i32; needs f32, f16: convert it by to_dtype")), move |d| {
                tensor(&upload(d, &Array::zeros(&[3]), I32)?)
            }),
            wrong(leak(format!("{name}: the tensor is u8; needs f32, f16: convert it by to_dtype")), move |d| {
                tensor(&upload(d, &Array::zeros(&[2, 0]), U8)?)
            }),
        ]),
    };
    Row { name, class, gradient: LINEAR, cases, wrong }
}

/// Messages live as long as the table.
pub fn leak(message: String) -> &'static str {
    message.leak()
}

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = ops().into_iter().map(unary_row).collect();
    rows.extend([
        with_scalar(
            "add_scalar",
            Class::Round,
            &[0.0, -2.5, 1e-3, 7.0, 1e6, 0.1],
            Tensor::add_scalar,
            Var::add_scalar,
            |x, s| x + s,
            Domain::Within(-9.0, 9.0),
        ),
        with_scalar(
            "mul_scalar",
            Class::Round,
            &[0.0, -2.5, 1e-3, 7.0, 1e6, 0.1],
            Tensor::mul_scalar,
            Var::mul_scalar,
            |x, s| x * s,
            Domain::Within(-9.0, 9.0),
        ),
        with_scalar(
            "pow_scalar",
            Class::Transcendental,
            &[2.0, -0.5, 3.0, 0.0, 1.0, 2.5, -3.0],
            Tensor::pow_scalar,
            Var::pow_scalar,
            f64::powf,
            Domain::Within(0.1, 9.0),
        ),
        clamp(),
        to_dtype(),
        contiguous_types(),
    ]);
    rows
}

type WithScalar<T, R> = fn(&T, f64) -> R;

fn with_scalar(
    name: &'static str,
    class: Class,
    scalars: &'static [f64],
    tensor: WithScalar<Tensor, Result<Tensor>>,
    var: WithScalar<Var, kiln_autograd::Result<Var>>,
    reference: fn(f64, f64) -> f64,
    domain: Domain,
) -> Row {
    let case = |x: Input, dtype: DType, scalar: f64| {
        // The device gets the scalar as it gets the elements.
        let rounded = if dtype == F32 || dtype == F16 { f64::from(scalar as f32) } else { scalar };
        Case::new(
            format!("{:?} {:?} {dtype} {scalar}", x.shape, x.layout),
            vec![x],
            move |x| tensor(&x[0], scalar),
            move |x| {
                let value = |v| reference(v, rounded);
                Expected::new(x[0].map(|v| if dtype.is_float() { value(v) } else { wrapped(dtype, value(v)) }))
            },
        )
        .gives(dtype)
    };
    let mut cases: Vec<Case> = shapes()
        .into_iter()
        .zip(scalars.iter().cycle())
        .map(|((shape, layout), &scalar)| {
            let made = case(input(&shape, domain.clone()).layout(layout), F32, scalar);
            let made = made.differentiable(move |x| var(&x[0], scalar));
            if shape == [37, 61] { made.tight() } else { made }
        })
        .collect();
    for (shape, layout) in [(vec![65], Contiguous), (vec![13, 17], Offset)] {
        cases.push(case(input(&shape, domain.clone()).layout(layout).dtype(F16), F16, scalars[1]));
        for (dtype, low, high) in [(I32, -40, 40), (U32, 0, 200), (U8, 0, 255)] {
            for scalar in scalars.iter().copied().filter(|s| s.fract() == 0.0 && (0.0..1000.0).contains(s)) {
                cases.push(case(input(&shape, Domain::Whole(low, high)).layout(layout).dtype(dtype), dtype, scalar));
            }
        }
    }
    Row { name, class, gradient: LINEAR, cases, wrong: Wrongs::Infallible("defined on every type and number") }
}

fn clamp() -> Row {
    let bounds = [(-1.0, 1.0), (0.5, 3.0), (-INF, 0.0), (2.0, 2.0)];
    let case = |x: Input, dtype: DType, (low, high): (f64, f64)| {
        Case::new(
            format!("{:?} {:?} {dtype} {low} {high}", x.shape, x.layout),
            vec![x],
            move |x| x[0].clamp(low, high),
            move |x| Expected::new(reference::clamp(&x[0], low, high)),
        )
        .gives(dtype)
    };
    let domain = Domain::Apart(-4.0, 4.0, &[-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]);
    let mut cases: Vec<Case> = shapes()
        .into_iter()
        .zip(bounds.into_iter().cycle())
        .map(|((shape, layout), (low, high))| {
            let made = case(input(&shape, domain.clone()).layout(layout), F32, (low, high));
            let made = made.differentiable(move |x| x[0].clamp(low, high));
            if shape == [37, 61] { made.tight() } else { made }
        })
        .collect();
    let special = Array::new(&[6], vec![NAN, INF, -INF, -0.0, 1.0, -1.0]);
    cases.push(case(Input::given(&special), F32, (-1.0, 1.0)));
    cases.push(case(Input::given(&special), F32, (2.0, -3.0)));
    cases.push(case(input(&[65], domain).dtype(F16), F16, (-1.0, 1.0)));
    for dtype in [I32, U32, U8] {
        cases.push(case(input(&[13, 17], integers(dtype)).dtype(dtype), dtype, (100.0, 3.0)));
        cases.push(case(input(&[13, 17], integers(dtype)).layout(Offset).dtype(dtype), dtype, (3.0, 100.0)));
    }
    let x = |d: &kiln_tensor::Device| upload(d, &Array::zeros(&[3]), F32);
    let wrong = Wrongs::Calls(vec![
        wrong("clamp: min NaN and max 1; needs two numbers", move |d| x(d)?.clamp(NAN, 1.0)),
        wrong("clamp: min 1 and max NaN; needs two numbers", move |d| x(d)?.clamp(1.0, NAN)),
    ]);
    Row { name: "clamp", class: Class::Exact, gradient: LINEAR, cases, wrong }
}

/// What a conversion makes of a value.
fn converted(from: DType, to: DType, value: f64) -> f64 {
    match to {
        F32 | F16 => value,
        // Toward zero and saturated, NaN to 0; integers keep their bits.
        _ if from.is_float() => {
            let (low, high) = if to == I32 { (-2_147_483_648.0, 2_147_483_647.0) } else { (0.0, 4_294_967_295.0) };
            let whole = if value.is_nan() { 0.0 } else { value.trunc().clamp(low, high) };
            if to == U8 { wrapped(U8, whole) } else { whole }
        }
        _ => wrapped(to, value),
    }
}

fn to_dtype() -> Row {
    let all = [F32, F16, I32, U32, U8];
    let mut cases = Vec::new();
    for from in all {
        for to in all {
            for (shape, layout) in [(vec![65], Contiguous), (vec![13, 17], Offset), (vec![5, 7, 8], Transposed)] {
                let domain = match from {
                    F32 | F16 => Domain::Within(if to == I32 || to.is_float() { -900.0 } else { 0.0 }, 900.0),
                    other => integers(other),
                };
                // f16 holds no more than 65,504.
                let domain = if to == F16 && from != U8 && !from.is_float() { Domain::Whole(0, 2048) } else { domain };
                let x = input(&shape, domain).layout(layout).dtype(from);
                let label = format!("{shape:?} {layout:?} {from} to {to}");
                let reference = move |x: &[Array]| Expected::new(x[0].map(|v| converted(from, to, v)));
                let class = if to == F16 && from == F32 { Class::Half } else { Class::Exact };
                cases.push(Case::new(label, vec![x], move |x| x[0].to_dtype(to), reference).gives(to).class(class));
            }
        }
    }
    for (to, values) in [
        (I32, vec![NAN, 1e10, -1e10, INF, -INF, -0.9, 0.9, 2_147_483_520.0]),
        (U32, vec![NAN, 1e10, -5.0, INF, -INF, 0.9, 4_294_967_040.0]),
    ] {
        let special = Array::new(&[values.len()], values);
        let reference = move |x: &[Array]| Expected::new(x[0].map(|v| converted(F32, to, v)));
        let case =
            Case::new(format!("special to {to}"), vec![Input::given(&special)], move |x| x[0].to_dtype(to), reference);
        cases.push(case.gives(to));
    }
    // Of the two sides of 65,520 one rounds to the largest f16 and one beyond it.
    let special = Array::new(&[8], vec![NAN, INF, -INF, -0.0, 65_519.0, 65_520.0, -1e30, 6e-8]);
    for (from, to) in [(F32, F16), (F16, F32)] {
        let reference = |x: &[Array]| Expected::new(x[0].map(|v| half::f16::from_f64(v).to_f64()));
        let x = Input::given(&special).dtype(from);
        let case = Case::new(format!("special {from} to {to}"), vec![x], move |x| x[0].to_dtype(to), reference);
        cases.push(case.gives(to));
    }
    for (shape, layout) in shapes() {
        let x = input(&shape, Domain::Within(-9.0, 9.0)).layout(layout);
        let case = Case::new(
            format!("{shape:?} {layout:?} f32 to f32"),
            vec![x],
            |x| x[0].to_dtype(F32),
            |x| Expected::new(x[0].clone()),
        );
        cases.push(case.differentiable(|x| x[0].to_dtype(F32)));
    }
    let no_f16 = |d: &kiln_tensor::Device| {
        format!("to_dtype: f16 on adapter {:?}, which has no 16-bit floats; use f32", d.info().name)
    };
    let minimal = &crate::run::devices().minimal;
    let wrong = Wrongs::Calls(vec![
        wrong(leak(no_f16(minimal)), |_| {
            upload(&crate::run::devices().minimal, &Array::zeros(&[3]), F32)?.to_dtype(F16)
        }),
        wrong(leak(no_f16(minimal)), |_| {
            upload(&crate::run::devices().minimal, &Array::zeros(&[0]), U8)?.to_dtype(F16)
        }),
    ]);
    Row { name: "to_dtype", class: Class::Exact, gradient: LINEAR, cases, wrong }
}

/// The copy kernels of every type, beside the views' own row.
fn contiguous_types() -> Row {
    let mut cases = Vec::new();
    for dtype in [F32, F16, I32, U32, U8] {
        for (shape, layout) in
            [(vec![13, 17], Offset), (vec![5, 7, 3], Transposed), (vec![9], Tail), (vec![37, 61], Transposed)]
        {
            let domain = if dtype.is_float() { Domain::Within(-9.0, 9.0) } else { integers(dtype) };
            let x = input(&shape, domain).dtype(dtype).layout(layout);
            let case = forward(&dtype.to_string(), x, dtype, Tensor::contiguous, Array::clone);
            cases.push(if shape == [37, 61] { case.tight() } else { case });
        }
    }
    let gradient = Gradient::None("in the row of the views");
    Row {
        name: "contiguous",
        class: Class::Exact,
        gradient,
        cases,
        wrong: Wrongs::Infallible("any tensor can be copied"),
    }
}
