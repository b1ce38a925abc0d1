//! Local response normalisation and its gradient.

use kiln_tensor::ops::local_response_norm::{
    LocalResponseNorm, LocalResponseNormOptions, local_response_norm, local_response_norm_grad,
};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::array::{ravel, unravel};
use crate::row::{Case, Domain, Input, Layout, NO_GRADIENT, REDUCTION, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![forward(), scale(), gradient()]
}

/// AlexNet's numbers, PyTorch's, and others.
fn options(i: usize) -> LocalResponseNormOptions {
    let of = |size, alpha, beta, k| LocalResponseNormOptions { size, alpha, beta, k };
    [of(5, 5e-4, 0.75, 2.0), of(2, 0.3, 0.5, 1.0), of(4, 1.5, 1.25, 0.7), of(1, 1.0, 0.75, 1.0)][i % 4]
}

fn shapes() -> Vec<(Vec<usize>, Layout)> {
    vec![
        (vec![1, 1], Contiguous),
        (vec![63, 5], Contiguous),
        (vec![3, 64], Contiguous),
        (vec![65, 3], Offset),
        (vec![2, 7, 9], Contiguous),
        (vec![2, 8, 4, 4], Contiguous),
        (vec![3, 5, 7, 11], Transposed),
        (vec![2, 4, 6, 6], Tail),
        (vec![0, 4, 2], Contiguous),
        // Too large for the tight device, along the batch and along the rows.
        (vec![5, 6, 11, 11], Contiguous),
        (vec![1, 5, 24, 24], Contiguous),
    ]
}

fn is_tight(shape: &[usize]) -> bool {
    shape.contains(&24) || shape.contains(&11)
}

/// Calls `visit(element, its window's elements)`.
fn windows(shape: &[usize], size: usize, mut visit: impl FnMut(usize, &[usize])) {
    for at in 0..shape.iter().product() {
        let index = unravel(shape, at);
        let first = index[1] as isize - (size / 2) as isize;
        let channels = (first..first + size as isize).filter(|c| (0..shape[1] as isize).contains(c));
        let around: Vec<usize> = channels
            .map(|channel| {
                let mut other = index.clone();
                other[1] = channel as usize;
                ravel(shape, &other)
            })
            .collect();
        visit(at, &around);
    }
}

fn scales(x: &Array, o: LocalResponseNormOptions) -> Array {
    let mut scale = Array::zeros(&x.shape);
    windows(&x.shape, o.size, |at, around| {
        scale.data[at] = o.k + o.alpha / o.size as f64 * around.iter().map(|&i| x.data[i].powi(2)).sum::<f64>();
    });
    scale
}

fn normalised(x: &Array, o: LocalResponseNormOptions) -> Array {
    x.zip(&scales(x, o), |x, s| x * s.powf(-o.beta))
}

fn expected(x: &Array, o: LocalResponseNormOptions) -> Expected {
    let y = normalised(x, o);
    // The power is by the logarithm, whose rounding counts with the exponent.
    let size = y.map(|v| 4.0 * v.abs());
    Expected::joined(y, size, 2 + o.size)
}

fn forward() -> Row {
    let case = |label: String, x: Input, o: LocalResponseNormOptions| {
        Case::new(label, vec![x], move |x| x[0].local_response_norm(o), move |x| expected(&x[0], o))
            .differentiable(move |x| x[0].local_response_norm(o))
    };
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes().into_iter().enumerate() {
        let o = options(i);
        let made =
            case(format!("{shape:?} {layout:?} {o:?}"), input(&shape, Domain::Within(-2.0, 2.0)).layout(layout), o);
        cases.push(if is_tight(&shape) { made.tight() } else { made });
        if [4, 5].contains(&i) {
            let x = input(&shape, Domain::Within(-2.0, 2.0)).layout(layout).dtype(F16);
            let mut made = case(format!("{shape:?} {layout:?} f16"), x, o).gives(F16);
            made.differentiable = None;
            cases.push(made);
        }
    }
    let recorded = Recorded::open("local_response_norm");
    for name in recorded.cases() {
        let mut made =
            case(format!("recorded {name}"), Input::given(recorded.get(name, "x")), recorded_options(&recorded, name));
        made.differentiable = None;
        cases.push(made.recorded(recorded.get(name, "y")));
    }
    let wrong = Wrongs::Calls(wrongs("local_response_norm", |x, options| x.local_response_norm(options)));
    Row { name: "local_response_norm", class: Class::Sum, gradient: REDUCTION, cases, wrong }
}

fn recorded_options(recorded: &Recorded, name: &str) -> LocalResponseNormOptions {
    let number = |option: &str| recorded.number(name, option).unwrap();
    let size = number("size") as usize;
    LocalResponseNormOptions { size, alpha: number("alpha"), beta: number("beta"), k: number("k") }
}

fn wrongs(op: &'static str, call: fn(&Tensor, &LocalResponseNormOptions) -> Result<Tensor>) -> Vec<Wrong> {
    let message = |rest: &str| leak(format!("{op}: {rest}"));
    let of = move |x: &'static [usize], dtype: DType, o: LocalResponseNormOptions| {
        move |d: &Device| call(&zeros(d, x, dtype)?, &o)
    };
    let plain = LocalResponseNormOptions::new(5);
    vec![
        wrong(message("input has shape [4]; needs [batch, channels, ..]"), of(&[4], F32, plain)),
        wrong(message("input is i32; needs f32, f16: convert it by to_dtype"), of(&[4, 3], I32, plain)),
        wrong(
            message("size 0, alpha 0.0001, beta 0.75, k 1; needs size at least 1, alpha at least 0, k above 0"),
            of(&[4, 3], F32, LocalResponseNormOptions { size: 0, ..plain }),
        ),
        wrong(
            message("size 5, alpha 0.0001, beta 0.75, k 0; needs size at least 1, alpha at least 0, k above 0"),
            of(&[4, 3], F32, LocalResponseNormOptions { k: 0.0, ..plain }),
        ),
    ]
}

/// What the gradient needs besides the result.
fn scale() -> Row {
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes().into_iter().enumerate() {
        let o = options(i);
        let made = Case::new(
            format!("{shape:?} {layout:?} {o:?}"),
            vec![input(&shape, Domain::Within(-2.0, 2.0)).layout(layout)],
            move |x| Ok(local_response_norm(&x[0], &o)?.scale),
            move |x| Expected::joined(scales(&x[0], o), scales(&x[0], o), 2 + o.size),
        );
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    let wrong = Wrongs::Calls(wrongs("local_response_norm", |x, o| Ok(local_response_norm(x, o)?.y)));
    let name = "local_response_norm::local_response_norm";
    Row { name, class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn gradient() -> Row {
    let case = |label: String, inputs: Vec<Input>, o: LocalResponseNormOptions| {
        Case::new(
            label,
            inputs,
            move |x| local_response_norm_grad(&x[0], &local_response_norm(&x[0], &o)?, &x[1], &o),
            move |x| {
                let (scale, y) = (scales(&x[0], o), normalised(&x[0], o));
                let of = |x: &Array, y: &Array, dy: &Array, sign: f64| {
                    let mut dx = dy.zip(&scale, |d, s| d * s.powf(-o.beta));
                    windows(&x.shape, o.size, |at, around| {
                        for &other in around {
                            let factor = 2.0 * o.alpha / o.size as f64 * o.beta;
                            dx.data[other] -= sign * factor * x.data[other] * dy.data[at] * y.data[at] / scale.data[at];
                        }
                    });
                    dx
                };
                let size = of(&x[0].abs(), &y.abs(), &x[1].abs(), -1.0).map(|v| 4.0 * v);
                Expected::joined(of(&x[0], &y, &x[1], 1.0), size, 2 + o.size)
            },
        )
    };
    let mut cases = Vec::new();
    for (i, (shape, layout)) in shapes().into_iter().enumerate() {
        let of = |low, high| input(&shape, Domain::Within(low, high)).layout(layout);
        let made = case(format!("{shape:?} {layout:?}"), vec![of(-2.0, 2.0), of(-1.0, 1.0)], options(i));
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    let recorded = Recorded::open("local_response_norm");
    for name in recorded.cases() {
        let inputs = ["x", "dy"].map(|tensor| Input::given(recorded.get(name, tensor)));
        let made = case(format!("recorded {name}"), inputs.to_vec(), recorded_options(&recorded, name));
        cases.push(made.recorded(recorded.get(name, "dx")));
    }
    let call = |d: &Device, dy: &[usize], k: f64| {
        let o = LocalResponseNormOptions { k, ..LocalResponseNormOptions::new(5) };
        let x = zeros(d, &[4, 3], F32)?;
        local_response_norm_grad(&x, &LocalResponseNorm { y: x.clone(), scale: x.clone() }, &zeros(d, dy, F32)?, &o)
    };
    let wrong = Wrongs::Calls(vec![
        wrong("local_response_norm_grad: x is [4, 3] of f32, dy [3, 4] of f32; needs one like x", move |d| {
            call(d, &[3, 4], 1.0)
        }),
        wrong(
            "local_response_norm_grad: size 5, alpha 0.0001, beta 0.75, k -1; needs size at least 1, alpha at least 0, k above \
             0",
            move |d| call(d, &[4, 3], -1.0),
        ),
    ]);
    let name = "local_response_norm::local_response_norm_grad";
    Row { name, class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
