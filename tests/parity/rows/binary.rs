//! Elementwise ops of two and three tensors: arithmetic, comparison, selection. All broadcast.

use kiln_autograd::Var;
use kiln_tensor::{DType, Device, Result, Tensor};

use super::unary::leak;
use crate::reference::{Array, pointwise as reference};
use crate::row::{Case, Domain, Gradient, Input, LINEAR, Layout, Row, Wrong, Wrongs, input, upload, wrapped, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8, U32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// A shape and how it lies.
pub type Laid = (Vec<usize>, Layout);

/// Both sides: alike, one of them broadcast, both broadcast, in every layout.
pub fn pairs() -> Vec<[Laid; 2]> {
    let flat = |a: &[usize], b: &[usize]| [(a.to_vec(), Contiguous), (b.to_vec(), Contiguous)];
    vec![
        flat(&[], &[]),
        flat(&[1], &[1]),
        flat(&[63], &[63]),
        flat(&[64], &[1]),
        flat(&[], &[65]),
        flat(&[7, 11, 13], &[13]),
        flat(&[11, 1], &[7, 11, 13]),
        flat(&[5, 1, 8], &[1, 12, 1]),
        flat(&[3, 0, 5], &[3, 1, 5]),
        flat(&[2, 1, 3, 1, 2, 2], &[1, 3, 1, 4, 2, 1]),
        [(vec![13, 17], Offset), (vec![13, 17], Contiguous)],
        [(vec![9, 31], Tail), (vec![31], Offset)],
        [(vec![5, 7, 8], Transposed), (vec![7, 8], Tail)],
        [(vec![37, 61], Contiguous), (vec![37, 1], Offset)],
    ]
}

fn inputs(pair: &[Laid; 2], domains: &[Domain; 2], dtype: DType) -> Vec<Input> {
    let made =
        pair.iter().zip(domains).map(|((shape, layout), d)| input(shape, d.clone()).layout(*layout).dtype(dtype));
    made.collect()
}

fn label(pair: &[Laid; 2], what: &str) -> String {
    format!("{:?} {:?} with {:?} {:?} {what}", pair[0].0, pair[0].1, pair[1].0, pair[1].1)
}

struct Binary {
    name: &'static str,
    class: Class,
    tensor: fn(&Tensor, &Tensor) -> Result<Tensor>,
    /// `None` for comparisons.
    var: Option<fn(&Var, &Var) -> kiln_autograd::Result<Var>>,
    reference: fn(&Array, &Array) -> Array,
    domains: [Domain; 2],
    /// Pairs that stand alone.
    special: Vec<[f64; 2]>,
    /// On integers, before they wrap around, and where they are drawn from.
    whole: fn(f64, f64) -> f64,
    whole_domains: [Domain; 2],
}

macro_rules! binary {
    (@var compare $name:ident) => { None };
    (@var differentiable $name:ident) => { Some(Var::$name) };
    ($kind:ident $name:ident, $class:ident, $domains:expr, $special:expr, $whole:expr, $whole_domains:expr) => {
        Binary {
            name: stringify!($name),
            class: Class::$class,
            tensor: Tensor::$name,
            var: binary!(@var $kind $name),
            reference: reference::$name,
            domains: $domains,
            special: Vec::from($special),
            whole: $whole,
            whole_domains: $whole_domains,
        }
    };
}

/// By squaring modulo 2^32; a negative power is the inverse, rounded toward zero.
fn whole_power(x: f64, y: f64) -> f64 {
    match (y < 0.0, x) {
        (true, 1.0) => 1.0,
        (true, -1.0) => x.powf(y),
        (true, _) => 0.0,
        (false, _) => x.powf(y),
    }
}

fn ops() -> Vec<Binary> {
    use Domain::{Apart, Distinct, Whole, Within};
    let any = || [Within(-9.0, 9.0), Within(-9.0, 9.0)];
    // Products of these are whole numbers in f64, and beyond 2^32.
    let large = || [Whole(-90_000, 90_000), Whole(-90_000, 90_000)];
    let near = || [Whole(-3, 3), Whole(-3, 3)];
    let extremes = || {
        let values = [NAN, INF, -INF, 0.0, -0.0, 1.0, -2.0];
        values.iter().flat_map(|&a| values.map(|b| [a, b])).collect::<Vec<_>>()
    };
    vec![
        binary!(differentiable add, Round, any(), [[1e30, 1.0], [3e38, 3e38], [1.0, -1.0]], |x, y| x + y, large()),
        binary!(differentiable sub, Round, any(), [[1e30, 1.0], [3e38, -3e38], [1.0, 1.0]], |x, y| x - y, large()),
        binary!(differentiable mul, Round, any(), [[1e30, 1e30], [1e-10, 1e10], [0.0, -3.0]], |x, y| x * y, large()),
        binary!(
            differentiable div,
            Div,
            [Within(-9.0, 9.0), Within(0.3, 9.0)],
            [[1.0, 3.0], [-1e20, 7.0], [0.0, 2.0], [5.0, -1e-5]],
            |x, y| if y == 0.0 { 0.0 } else { (x / y).trunc() },
            [Whole(-90_000, 90_000), Whole(-9, 9)]
        ),
        binary!(
            differentiable pow,
            Transcendental,
            [Within(0.1, 4.0), Within(-3.0, 3.0)],
            [
                [2.0, 10.0], [-2.0, 3.0], [-2.0, 2.0], [-2.0, 0.5], [0.0, 0.0], [0.0, 2.0], [0.0, -1.0], [1.0, NAN],
                [NAN, 0.0], [NAN, 1.0], [INF, 2.0], [INF, -2.0], [2.0, INF], [0.5, INF], [2.0, -INF], [1e10, 3.7],
                [1.000_001, 1e7], [9.0, 40.0], [10.0, 39.0], [3.0, 1e20], [0.3, 1e20]
            ],
            whole_power,
            [Whole(-9, 9), Whole(-3, 13)]
        ),
        binary!(
            differentiable maximum, Exact, [Distinct, Apart(-1.0, 1.0, &[0.0])], extremes(), f64::max, large()
        ),
        binary!(
            differentiable minimum, Exact, [Distinct, Apart(-1.0, 1.0, &[0.0])], extremes(), f64::min, large()
        ),
        binary!(compare eq, Exact, near(), extremes(), |x, y| f64::from(x == y), near()),
        binary!(compare ne, Exact, near(), extremes(), |x, y| f64::from(x != y), near()),
        binary!(compare lt, Exact, near(), extremes(), |x, y| f64::from(x < y), near()),
        binary!(compare le, Exact, near(), extremes(), |x, y| f64::from(x <= y), near()),
        binary!(compare gt, Exact, near(), extremes(), |x, y| f64::from(x > y), near()),
        binary!(compare ge, Exact, near(), extremes(), |x, y| f64::from(x >= y), near()),
    ]
}

fn binary_row(op: Binary) -> Row {
    let Binary { name, class, tensor, var, reference, domains, special, whole, whole_domains } = op;
    let result = |dtype: DType| if var.is_some() { dtype } else { U8 };
    let case = |pair: &[Laid; 2], what: &str, inputs: Vec<Input>, dtype: DType| {
        let expected = move |x: &[Array]| Expected::new(reference(&x[0], &x[1]));
        Case::new(label(pair, what), inputs, move |x| tensor(&x[0], &x[1]), expected).gives(result(dtype))
    };
    let mut cases = Vec::new();
    for pair in pairs() {
        let mut made = case(&pair, "", inputs(&pair, &domains, F32), F32);
        if let Some(var) = var {
            made = made.differentiable(move |x| var(&x[0], &x[1]));
        }
        cases.push(if pair[0].0 == [37, 61] { made.tight() } else { made });
    }
    let [a, b] = [0, 1].map(|side| Array::new(&[special.len()], special.iter().map(|pair| pair[side]).collect()));
    let pair = [(a.shape.clone(), Contiguous), (b.shape.clone(), Contiguous)];
    cases.push(case(&pair, "special", vec![Input::given(&a), Input::given(&b)], F32));
    for pair in pairs().into_iter().filter(|pair| [vec![63], vec![13, 17], vec![5, 1, 8]].contains(&pair[0].0)) {
        cases.push(case(&pair, "f16", inputs(&pair, &domains, F16), F16));
        for dtype in [I32, U32, U8] {
            let domains = whole_domains.clone().map(|domain| match (domain, dtype) {
                (domain, I32) => domain,
                (Domain::Whole(_, high), U8) => Domain::Whole(0, high.min(255)),
                (Domain::Whole(_, high), _) => Domain::Whole(0, high),
                (domain, _) => domain,
            });
            let expected = move |x: &[Array]| Expected::new(x[0].zip(&x[1], |x, y| wrapped(dtype, whole(x, y))));
            let inputs = inputs(&pair, &domains, dtype);
            let made = Case::new(label(&pair, &dtype.to_string()), inputs, move |x| tensor(&x[0], &x[1]), expected);
            cases.push(made.gives(result(dtype)));
        }
    }
    let gradient = if var.is_some() { LINEAR } else { Gradient::None("constant between its jumps, and a mask") };
    Row { name, class, gradient, cases, wrong: Wrongs::Calls(wrongs(name, tensor)) }
}

pub fn zeros(d: &Device, shape: &[usize], dtype: DType) -> Result<Tensor> {
    upload(d, &Array::zeros(shape), dtype)
}

/// What every op of two tensors refuses.
fn wrongs(name: &'static str, op: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Vec<Wrong> {
    vec![
        wrong(
            leak(format!(
                "{name}: shapes [2, 3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or \
                 expand one of them"
            )),
            move |d| op(&zeros(d, &[2, 3], F32)?, &zeros(d, &[2], F32)?),
        ),
        wrong(
            leak(format!("{name}: f32 and i32 tensors; needs one type for all: convert one by to_dtype")),
            move |d| op(&zeros(d, &[2], F32)?, &zeros(d, &[2], I32)?),
        ),
        wrong(leak(format!("{name}: tensors on two devices; read one and write it to the other device")), move |d| {
            op(&zeros(d, &[2], F32)?, &zeros(&crate::run::devices().minimal, &[2], F32)?)
        }),
    ]
}

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = ops().into_iter().map(binary_row).collect();
    rows.push(where_());
    rows
}

fn where_() -> Row {
    let flat = |shapes: [&[usize]; 3]| shapes.map(|shape| (shape.to_vec(), Contiguous));
    let triples: Vec<[Laid; 3]> = vec![
        flat([&[], &[], &[]]),
        flat([&[1], &[1], &[1]]),
        flat([&[63], &[63], &[63]]),
        flat([&[64], &[], &[64]]),
        flat([&[1], &[65], &[65]]),
        flat([&[7, 11, 13], &[13], &[11, 1]]),
        flat([&[11, 1], &[7, 11, 13], &[1, 1, 1]]),
        flat([&[3, 0, 5], &[5], &[]]),
        [(vec![13, 17], Offset), (vec![13, 17], Contiguous), (vec![13, 17], Tail)],
        [(vec![13, 17], Contiguous), (vec![13, 17], Offset), (vec![17], Offset)],
        [(vec![5, 7, 8], Transposed), (vec![5, 7, 8], Transposed), (vec![5, 7, 8], Contiguous)],
        [(vec![37, 61], Contiguous), (vec![37, 61], Contiguous), (vec![61], Contiguous)],
    ];
    let mut cases = Vec::new();
    for (i, triple) in triples.iter().enumerate() {
        for dtype in [F32, F16, I32, U32, U8] {
            if dtype != F32 && ![2, 8, 10].contains(&i) {
                continue;
            }
            let inputs = triple.iter().enumerate().map(|(operand, (shape, layout))| {
                let (domain, dtype) = match (operand, dtype.is_float()) {
                    (0, _) => (Domain::Whole(0, 2), U8),
                    (_, true) => (Domain::Within(-9.0, 9.0), dtype),
                    _ => (Domain::Whole(0, 255), dtype),
                };
                input(shape, domain).layout(*layout).dtype(dtype)
            });
            let made = Case::new(
                format!("{triple:?} {dtype}"),
                inputs.collect(),
                |x| Tensor::where_(&x[0], &x[1], &x[2]),
                |x| Expected::new(reference::where_(&x[0], &x[1], &x[2])),
            )
            .gives(dtype);
            let made =
                if dtype == F32 { made.differentiable_with(|t, x| Var::where_(&t[0], &x[1], &x[2])) } else { made };
            cases.push(if i == 11 { made.tight() } else { made });
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("where_: the condition is f32; needs u8: convert it by to_dtype", |d| {
            Tensor::where_(&zeros(d, &[2], F32)?, &zeros(d, &[2], F32)?, &zeros(d, &[2], F32)?)
        }),
        wrong("where_: f32 and i32 tensors; needs one type for all: convert one by to_dtype", |d| {
            Tensor::where_(&zeros(d, &[2], U8)?, &zeros(d, &[2], F32)?, &zeros(d, &[2], I32)?)
        }),
        wrong(
            "where_: shapes [4] and [3] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or expand \
             one of them",
            |d| Tensor::where_(&zeros(d, &[3], U8)?, &zeros(d, &[4], F32)?, &zeros(d, &[], F32)?),
        ),
    ]);
    Row { name: "where_", class: Class::Exact, gradient: LINEAR, cases, wrong }
}

/// The operators are the methods, and panic with the methods' errors.
#[test]
fn operators() {
    let d = &crate::run::devices().whole;
    let of = |values: &[f32]| Tensor::from_slice(d, values.len(), values).unwrap();
    let (a, b) = (of(&[6.0, -3.0]), of(&[2.0, 4.0]));
    let read = |x: Tensor| x.to_vec::<f32>().unwrap();
    assert_eq!(read(&a + &b), [8.0, 1.0]);
    assert_eq!(read(&a - &b), [4.0, -7.0]);
    assert_eq!(read(&a * &b), [12.0, -12.0]);
    assert_eq!(read(&a / &b), [3.0, -0.75]);
    assert_eq!(read(-&a), [-6.0, 3.0]);
    let c = of(&[1.0, 2.0, 3.0]);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| &a + &c)).unwrap_err();
    assert_eq!(*panic.downcast::<String>().unwrap(), a.add(&c).unwrap_err().to_string());
}
