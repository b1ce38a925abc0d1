//! Interpolation and its gradient.

use kiln_tensor::ops::interpolate::{InterpolateMode, InterpolateSize, interpolate_grad};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::interpolate::{self as reference, Interpolate};
use crate::row::{Case, Domain, Input, LINEAR, Layout, NO_GRADIENT, Row, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use InterpolateMode::{Bilinear, Nearest};
use InterpolateSize::{ScaleFactor, Size};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![forward(), gradient()]
}

const SMOOTH: InterpolateMode = Bilinear { align_corners: false };
const ALIGNED: InterpolateMode = Bilinear { align_corners: true };

/// Shapes, how they lie, and what is asked for. Those with an axis of 19 are too large for the tight device.
fn problems() -> Vec<(Vec<usize>, Layout, InterpolateSize)> {
    vec![
        (vec![1, 1, 1, 1], Contiguous, Size([1, 1])),
        (vec![2, 3, 5, 4], Contiguous, Size([5, 4])),
        (vec![2, 3, 5, 4], Contiguous, ScaleFactor([2.0, 2.0])),
        (vec![1, 2, 7, 5], Transposed, Size([3, 11])),
        (vec![2, 2, 6, 8], Offset, ScaleFactor([0.5, 0.3])),
        (vec![1, 3, 5, 7], Tail, ScaleFactor([1.7, 2.6])),
        (vec![2, 1, 1, 9], Contiguous, Size([4, 1])),
        (vec![1, 1, 63, 65], Contiguous, Size([65, 64])),
        (vec![0, 2, 5, 5], Contiguous, Size([2, 3])),
        (vec![2, 4, 17, 19], Contiguous, Size([23, 12])),
        (vec![1, 5, 17, 19], Contiguous, ScaleFactor([0.9, 1.5])),
    ]
}

/// The same in the reference's terms, by PyTorch's rules.
fn described(shape: &[usize], size: InterpolateSize, mode: InterpolateMode) -> Interpolate {
    let mut problem =
        Interpolate { out: [0; 2], step: [0.0; 2], bilinear: mode != Nearest, align_corners: mode == ALIGNED };
    for axis in 0..2 {
        let from = shape[2 + axis];
        let (out, plain) = match size {
            Size(out) => (out[axis], from as f32 / out[axis] as f32),
            ScaleFactor(factor) => ((from as f64 * factor[axis]).floor() as usize, (1.0 / factor[axis]) as f32),
        };
        problem.out[axis] = out;
        problem.step[axis] = if out == from {
            1.0
        } else if mode == ALIGNED {
            if out > 1 { (from - 1) as f32 / (out - 1) as f32 } else { 0.0 }
        } else if mode == Nearest && out == 2 * from {
            0.5
        } else {
            plain
        };
    }
    problem
}

/// A coordinate is rounded at its own size: its error moves parts between neighbours.
fn loosened(magnitude: Array, shape: &[usize]) -> Array {
    magnitude.map(|m| m * (1.0 + shape[2].max(shape[3]) as f64 / 4.0))
}

fn each_mode(mut add: impl FnMut(usize, InterpolateMode, Vec<usize>, Layout, InterpolateSize, String)) {
    for mode in [Nearest, SMOOTH, ALIGNED] {
        for (i, (shape, layout, size)) in problems().into_iter().enumerate() {
            let label = format!("{shape:?} {layout:?} to {size:?} {mode:?}");
            add(i, mode, shape, layout, size, label);
        }
    }
}

fn asked(recorded: &Recorded, name: &str) -> (InterpolateSize, InterpolateMode) {
    let size = match recorded.flag(name, "by_size") {
        true => Size(recorded.sizes(name, "to")),
        false => ScaleFactor(recorded.pair(name, "to")),
    };
    let mode = match recorded.text(name, "mode") {
        "nearest" => Nearest,
        _ => Bilinear { align_corners: recorded.flag(name, "align_corners") },
    };
    (size, mode)
}

fn class_of(mode: InterpolateMode) -> Class {
    if mode == Nearest { Class::Exact } else { Class::Sum }
}

fn forward() -> Row {
    let case = |label: String, x: Input, size: InterpolateSize, mode: InterpolateMode| {
        Case::new(
            label,
            vec![x],
            move |x| x[0].interpolate(size, mode),
            move |x| {
                let problem = described(&x[0].shape, size, mode);
                let magnitude = loosened(reference::interpolate(&x[0].abs(), problem), &x[0].shape);
                Expected::joined(reference::interpolate(&x[0], problem), magnitude, 4)
            },
        )
        .differentiable(move |x| x[0].interpolate(size, mode))
        .class(class_of(mode))
    };
    let mut cases = Vec::new();
    each_mode(|i, mode, shape, layout, size, label| {
        let x = input(&shape, Domain::Within(-1.0, 1.0)).layout(layout);
        let made = case(label.clone(), x.clone(), size, mode);
        cases.push(if shape.contains(&19) { made.tight() } else { made });
        if [3, 5].contains(&i) {
            let mut made = case(format!("{label} f16"), x.dtype(F16), size, mode).gives(F16);
            made.differentiable = None;
            cases.push(made);
        }
    });
    let recorded = Recorded::open("interpolate");
    for name in recorded.cases() {
        let (size, mode) = asked(&recorded, name);
        let mut made = case(format!("recorded {name}"), Input::given(recorded.get(name, "x")), size, mode);
        made.differentiable = None;
        cases.push(made.recorded(recorded.get(name, "y")));
    }
    let of = move |x: &'static [usize], dtype: DType, size: InterpolateSize| {
        move |d: &Device| zeros(d, x, dtype)?.interpolate(size, Nearest)
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "interpolate: input has shape [3, 4]; needs [batch, channels, height, width]",
            of(&[3, 4], F32, Size([1, 1])),
        ),
        wrong(
            "interpolate: input has shape [1, 1, 0, 4]; needs at least one pixel",
            of(&[1, 1, 0, 4], F32, Size([1, 1])),
        ),
        wrong(
            "interpolate: an output of size [0, 2]; each must be at least 1",
            of(&[1, 1, 4, 4], F32, ScaleFactor([0.2, 0.5])),
        ),
        wrong(
            "interpolate: scale_factor [-1.0, 0.5]; each must be a number above 0",
            of(&[1, 1, 4, 4], F32, ScaleFactor([-1.0, 0.5])),
        ),
        wrong(
            "interpolate: an output of size [1, 8388608] of a 4x4 image; each side can be at most 4194304",
            of(&[1, 1, 4, 4], F32, Size([1, 1 << 23])),
        ),
        wrong(
            "interpolate: input is i32; needs f32, f16: convert it by to_dtype",
            of(&[1, 1, 4, 4], I32, Size([2, 2])),
        ),
    ]);
    Row { name: "interpolate", class: Class::Sum, gradient: LINEAR, cases, wrong }
}

fn gradient() -> Row {
    let case = |label: String, shape: Vec<usize>, dy: Input, size: InterpolateSize, mode: InterpolateMode| {
        let (given, expected) = (shape.clone(), shape);
        Case::new(
            label,
            vec![dy],
            move |dy| interpolate_grad(&dy[0], given.as_slice(), size, mode),
            move |dy| {
                let problem = described(&expected, size, mode);
                let spread = |dy: &Array| reference::interpolate_grad(&expected, dy, problem);
                let terms = problem.out[0] * problem.out[1];
                Expected::joined(spread(&dy[0]), loosened(spread(&dy[0].abs()), &expected), terms)
            },
        )
    };
    let mut cases = Vec::new();
    each_mode(|i, mode, shape, layout, size, label| {
        let problem = described(&shape, size, mode);
        let dy_shape = [shape[0], shape[1], problem.out[0], problem.out[1]];
        let dy = input(&dy_shape, Domain::Within(-1.0, 1.0)).layout(layout);
        let made = case(label.clone(), shape.clone(), dy.clone(), size, mode);
        cases.push(if shape.contains(&19) { made.tight() } else { made });
        if [3, 5].contains(&i) {
            cases.push(case(format!("{label} f16"), shape, dy.dtype(F16), size, mode).gives(F16));
        }
    });
    let recorded = Recorded::open("interpolate");
    for name in recorded.cases() {
        let (size, mode) = asked(&recorded, name);
        let shape = recorded.get(name, "x").shape.clone();
        let made = case(format!("recorded {name}"), shape, Input::given(recorded.get(name, "dy")), size, mode);
        cases.push(made.recorded(recorded.get(name, "dx")));
    }
    let call = |dy: &'static [usize], dtype: DType| {
        move |d: &Device| -> Result<Tensor> {
            interpolate_grad(&zeros(d, dy, dtype)?, [1, 1, 4, 4], Size([8, 8]), SMOOTH)
        }
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "interpolate_grad: dy has shape [1, 1, 7, 8]; an input of [1, 1, 4, 4] interpolated so needs [1, 1, 8, 8]",
            call(&[1, 1, 7, 8], F32),
        ),
        wrong("interpolate_grad: dy is i32; needs f32, f16: convert it by to_dtype", call(&[1, 1, 8, 8], I32)),
    ]);
    Row { name: "interpolate::interpolate_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
