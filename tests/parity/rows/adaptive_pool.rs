//! Adaptive pooling and its gradients.

use kiln_tensor::ops::adaptive_pool::{self as ops, adaptive_avg_pool2d_grad, adaptive_max_pool2d_grad};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::recorded::Recorded;
use crate::reference::{Array, pool as reference};
use crate::row::{Case, Domain, Input, LINEAR, Layout, NO_GRADIENT, Row, Wrong, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![forward(true), forward(false), indices(), max_gradient(), avg_gradient()]
}

/// Shapes, how they lie, and the sizes that are asked for; the last two are too large for the tight device.
fn problems() -> Vec<(Vec<usize>, Layout, [usize; 2])> {
    vec![
        (vec![1, 1, 1, 1], Contiguous, [1, 1]),
        (vec![2, 3, 7, 7], Contiguous, [3, 3]),
        (vec![2, 3, 8, 6], Contiguous, [4, 2]),
        (vec![1, 2, 13, 13], Contiguous, [6, 6]),
        (vec![2, 2, 5, 9], Transposed, [3, 4]),
        (vec![3, 2, 6, 5], Offset, [4, 1]),
        (vec![2, 5, 3, 4], Tail, [2, 3]),
        // More windows than pixels.
        (vec![1, 3, 2, 3], Contiguous, [5, 7]),
        (vec![1, 1, 63, 65], Contiguous, [7, 11]),
        (vec![0, 2, 5, 5], Contiguous, [2, 3]),
        (vec![2, 4, 17, 19], Contiguous, [5, 6]),
        (vec![1, 5, 17, 19], Contiguous, [5, 6]),
    ]
}

fn is_tight(shape: &[usize]) -> bool {
    shape.contains(&19)
}

fn pooled(x: &Array, size: [usize; 2], max: bool) -> Expected {
    if max {
        return Expected::joined(
            reference::adaptive_max_pool2d(x, size).0,
            Array::zeros(&reference::adapted(&x.shape, size)),
            2,
        );
    }
    let terms = x.shape[2] * x.shape[3];
    Expected::joined(reference::adaptive_avg_pool2d(x, size), reference::adaptive_avg_pool2d(&x.abs(), size), terms)
}

fn forward(max: bool) -> Row {
    let name = if max { "adaptive_max_pool2d" } else { "adaptive_avg_pool2d" };
    let case = |label: String, x: Input, size: [usize; 2]| {
        let call =
            move |x: &[Tensor]| if max { x[0].adaptive_max_pool2d(size) } else { x[0].adaptive_avg_pool2d(size) };
        Case::new(label, vec![x], call, move |x| pooled(&x[0], size, max))
            .differentiable(move |x| if max { x[0].adaptive_max_pool2d(size) } else { x[0].adaptive_avg_pool2d(size) })
    };
    let mut cases = Vec::new();
    for (i, (shape, layout, size)) in problems().into_iter().enumerate() {
        let made =
            case(format!("{shape:?} {layout:?} to {size:?}"), input(&shape, Domain::Distinct).layout(layout), size);
        cases.push(if is_tight(&shape) { made.tight() } else { made });
        if [1, 5].contains(&i) {
            let x = input(&shape, Domain::Within(-1.0, 1.0)).layout(layout).dtype(F16);
            let mut made = case(format!("{shape:?} {layout:?} to {size:?} f16"), x, size).gives(F16);
            made.differentiable = None;
            cases.push(made);
        }
    }
    let recorded = Recorded::open("adaptive_pool");
    for name in recorded.cases() {
        let size = recorded.sizes(name, "size");
        let mut made = case(format!("recorded {name}"), Input::given(recorded.get(name, "x")), size);
        made.differentiable = None;
        cases.push(made.recorded(recorded.get(name, if max { "max" } else { "avg" })));
    }
    let wrong =
        Wrongs::Calls(wrongs(
            name,
            move |x, size| {
                if max { x.adaptive_max_pool2d(size) } else { x.adaptive_avg_pool2d(size) }
            },
        ));
    Row { name, class: if max { Class::Exact } else { Class::Sum }, gradient: LINEAR, cases, wrong }
}

fn wrongs(op: &'static str, call: impl Fn(&Tensor, [usize; 2]) -> Result<Tensor> + Copy + 'static) -> Vec<Wrong> {
    let message = |rest: &str| leak(format!("{op}: {rest}"));
    let of =
        move |x: &'static [usize], dtype: DType, size: [usize; 2]| move |d: &Device| call(&zeros(d, x, dtype)?, size);
    vec![
        wrong(message("input has shape [3, 4]; needs [batch, channels, height, width]"), of(&[3, 4], F32, [1, 1])),
        wrong(message("output_size [0, 2]; each must be at least 1"), of(&[1, 1, 4, 4], F32, [0, 2])),
        wrong(message("input has shape [1, 1, 0, 4]; needs at least one pixel"), of(&[1, 1, 0, 4], F32, [1, 1])),
        wrong(message("input is i32; needs f32, f16: convert it by to_dtype"), of(&[1, 1, 4, 4], I32, [1, 1])),
    ]
}

fn indices() -> Row {
    let case = |label: String, x: Input, size: [usize; 2]| {
        Case::new(
            label,
            vec![x],
            move |x| Ok(ops::adaptive_max_pool2d(&x[0], size)?.indices),
            move |x| {
                let (y, places) = reference::adaptive_max_pool2d(&x[0], size);
                let plane = x[0].shape[2] * x[0].shape[3];
                Expected::new(Array::new(&y.shape, places.iter().map(|&at| (at % plane) as f64).collect()))
            },
        )
        .gives(I32)
    };
    let mut cases: Vec<Case> = problems()
        .into_iter()
        .map(|(shape, layout, size)| {
            let x = input(&shape, Domain::Whole(-2, 2)).layout(layout);
            let made = case(format!("{shape:?} {layout:?} to {size:?}"), x, size);
            if is_tight(&shape) { made.tight() } else { made }
        })
        .collect();
    let with_nan = Array::new(&[1, 1, 1, 5], vec![1.0, f64::NAN, 3.0, f64::NEG_INFINITY, 0.0]);
    cases.push(case("with NaN".to_owned(), Input::given(&with_nan), [1, 3]));
    let recorded = Recorded::open("adaptive_pool");
    for name in recorded.cases() {
        let made =
            case(format!("recorded {name}"), Input::given(recorded.get(name, "x")), recorded.sizes(name, "size"));
        cases.push(made.recorded(recorded.get(name, "indices")));
    }
    let wrong = Wrongs::Calls(wrongs("adaptive_max_pool2d", |x, size| Ok(ops::adaptive_max_pool2d(x, size)?.indices)));
    let name = "adaptive_pool::adaptive_max_pool2d";
    Row { name, class: Class::Whole, gradient: NO_GRADIENT, cases, wrong }
}

/// x and dy.
fn gradient_inputs(shape: &[usize], layout: Layout, size: [usize; 2]) -> Vec<Input> {
    let dy = input(&reference::adapted(shape, size), Domain::Within(-1.0, 1.0)).layout(layout);
    vec![input(shape, Domain::Distinct).layout(layout), dy]
}

fn max_gradient() -> Row {
    let mut cases = Vec::new();
    let case = |label: String, inputs: Vec<Input>, size: [usize; 2]| {
        Case::new(
            label,
            inputs,
            move |x| {
                let found = ops::adaptive_max_pool2d(&x[0], size)?;
                adaptive_max_pool2d_grad(&x[1], &found.indices, x[0].shape())
            },
            move |x| {
                let scattered = |dy: &Array| {
                    let mut dx = Array::zeros(&x[0].shape);
                    for (&at, &dy) in reference::adaptive_max_pool2d(&x[0], size).1.iter().zip(&dy.data) {
                        dx.data[at] += dy;
                    }
                    dx
                };
                Expected::joined(scattered(&x[1]), scattered(&x[1].abs()), size[0] * size[1])
            },
        )
    };
    for (shape, layout, size) in problems() {
        let made = case(format!("{shape:?} {layout:?} to {size:?}"), gradient_inputs(&shape, layout, size), size);
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    let recorded = Recorded::open("adaptive_pool");
    for name in recorded.cases() {
        let inputs = ["x", "dy"].map(|tensor| Input::given(recorded.get(name, tensor)));
        let made = case(format!("recorded {name}"), inputs.to_vec(), recorded.sizes(name, "size"));
        cases.push(made.recorded(recorded.get(name, "max_dx")));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "adaptive_max_pool2d_grad: dy has shape [1, 1, 3, 3], indices [1, 1, 2, 2]; needs those of the forward pass",
            |d| adaptive_max_pool2d_grad(&zeros(d, &[1, 1, 3, 3], F32)?, &zeros(d, &[1, 1, 2, 2], I32)?, [1, 1, 7, 7]),
        ),
        wrong("adaptive_max_pool2d_grad: indices is f32; needs i32: convert it by to_dtype", |d| {
            let dy = zeros(d, &[1, 1, 3, 3], F32)?;
            adaptive_max_pool2d_grad(&dy, &dy, [1, 1, 7, 7])
        }),
    ]);
    let name = "adaptive_pool::adaptive_max_pool2d_grad";
    Row { name, class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn avg_gradient() -> Row {
    let mut cases = Vec::new();
    let case = |label: String, inputs: Vec<Input>, size: [usize; 2]| {
        Case::new(
            label,
            inputs,
            |x| adaptive_avg_pool2d_grad(&x[1], x[0].shape()),
            move |x| {
                let spread = |dy: &Array| reference::adaptive_avg_pool2d_grad(&x[0].shape, dy);
                Expected::joined(spread(&x[1]), spread(&x[1].abs()), size[0] * size[1])
            },
        )
    };
    for (shape, layout, size) in problems() {
        let made = case(format!("{shape:?} {layout:?} to {size:?}"), gradient_inputs(&shape, layout, size), size);
        cases.push(if is_tight(&shape) { made.tight() } else { made });
    }
    let recorded = Recorded::open("adaptive_pool");
    for name in recorded.cases() {
        let inputs = ["x", "dy"].map(|tensor| Input::given(recorded.get(name, tensor)));
        let made = case(format!("recorded {name}"), inputs.to_vec(), recorded.sizes(name, "size"));
        cases.push(made.recorded(recorded.get(name, "avg_dx")));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "adaptive_avg_pool2d_grad: dy has shape [1, 2, 3, 3] for an input of [1, 1, 7, 7]; needs [batch, channels, height, \
             width] of one batch",
            |d| adaptive_avg_pool2d_grad(&zeros(d, &[1, 2, 3, 3], F32)?, [1, 1, 7, 7]),
        ),
        wrong("adaptive_avg_pool2d_grad: dy is i32; needs f32, f16: convert it by to_dtype", |d| {
            adaptive_avg_pool2d_grad(&zeros(d, &[1, 1, 3, 3], I32)?, [1, 1, 7, 7])
        }),
    ]);
    let name = "adaptive_pool::adaptive_avg_pool2d_grad";
    Row { name, class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
