//! Convolution and its two gradients.

use kiln_tensor::ops::conv::{
    Conv2dOptions, conv2d_grads, conv2d_input_grad, conv2d_keeping, conv2d_relu, conv2d_weight_bias_grad,
    conv2d_weight_grad,
};
use kiln_tensor::{DType, Tensor};

use super::binary::zeros;
use crate::recorded::Recorded;
use crate::reference::conv::{self, Conv2d};
use crate::reference::{Array, movement, reduce};
use crate::row::{Case, Domain, Input, LINEAR, Layout, NO_GRADIENT, Row, Wrongs, both, input, wrong};
use crate::run::devices;
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![forward(), forward_relu(), keeping(), input_grad(), weight_grad(), weight_bias_grad(), grads()]
}

fn options(conv: Conv2d) -> Conv2dOptions {
    Conv2dOptions { stride: conv.stride, padding: conv.padding, dilation: conv.dilation, groups: conv.groups }
}

struct Problem {
    x: Vec<usize>,
    w: Vec<usize>,
    conv: Conv2d,
    layout: Layout,
    tight: bool,
}

fn problems() -> Vec<Problem> {
    let plain = Conv2d::default();
    let of = |x: [usize; 4], w: [usize; 4], conv: Conv2d| Problem {
        x: x.to_vec(),
        w: w.to_vec(),
        conv,
        layout: Contiguous,
        tight: false,
    };
    let padded = |padding: usize| Conv2d { padding: [padding; 2], ..plain };
    let deep = |groups: usize, stride: usize, padding: usize| Conv2d {
        groups,
        stride: [stride; 2],
        padding: [padding; 2],
        ..plain
    };
    vec![
        of([1, 1, 1, 1], [1, 1, 1, 1], plain),
        of([1, 1, 7, 63], [1, 1, 1, 1], plain),
        of([2, 3, 8, 8], [5, 3, 3, 3], padded(1)),
        of([2, 1, 28, 28], [6, 1, 5, 5], padded(2)),
        of([3, 16, 5, 5], [20, 16, 5, 5], plain),
        of([2, 3, 9, 10], [4, 3, 3, 3], Conv2d { stride: [2, 2], ..plain }),
        of([1, 2, 11, 13], [3, 2, 4, 3], Conv2d { stride: [3, 2], padding: [0, 3], ..plain }),
        of([2, 2, 10, 9], [3, 2, 3, 2], Conv2d { dilation: [2, 3], padding: [1, 2], ..plain }),
        of([2, 6, 6, 5], [9, 2, 3, 3], Conv2d { groups: 3, ..padded(1) }),
        of([2, 5, 7, 7], [10, 1, 3, 3], Conv2d { groups: 5, stride: [2, 2], padding: [1, 1], ..plain }),
        of([2, 4, 13, 11], [6, 2, 3, 2], Conv2d { stride: [2, 3], padding: [2, 1], dilation: [3, 2], groups: 2 }),
        // Even widths, whose pixels can be read in pairs that begin at even or odd pixels; few rows and many columns.
        of([2, 3, 6, 14], [6, 3, 5, 5], padded(2)),
        of([2, 3, 12, 18], [10, 3, 7, 7], deep(1, 2, 3)),
        of([2, 4, 8, 12], [6, 4, 6, 6], deep(1, 2, 2)),
        of([1, 2, 4, 22], [4, 2, 2, 9], Conv2d { padding: [0, 2], ..plain }),
        of([2, 2, 6, 20], [7, 2, 3, 4], Conv2d { stride: [1, 2], padding: [1, 2], ..plain }),
        // Every channel on its own: each side and stride that has a kernel of its own, and what has none.
        of([2, 5, 9, 10], [5, 1, 3, 3], deep(5, 1, 1)),
        of([2, 3, 8, 7], [6, 1, 3, 3], deep(3, 1, 0)),
        of([2, 4, 8, 9], [4, 1, 3, 3], deep(4, 2, 1)),
        of([1, 3, 11, 14], [3, 1, 3, 3], deep(3, 2, 0)),
        of([2, 3, 11, 9], [3, 1, 5, 5], deep(3, 1, 2)),
        of([1, 3, 12, 13], [3, 1, 5, 5], deep(3, 2, 2)),
        of([1, 2, 12, 11], [2, 1, 7, 7], deep(2, 1, 3)),
        of([1, 2, 13, 17], [2, 1, 7, 7], deep(2, 2, 3)),
        of([1, 2, 13, 18], [2, 1, 7, 7], deep(2, 2, 1)),
        of([2, 3, 6, 5], [3, 1, 3, 3], deep(3, 1, 3)),
        of([2, 3, 9, 8], [6, 1, 3, 2], Conv2d { stride: [2, 3], dilation: [1, 2], ..deep(3, 1, 1) }),
        of([2, 3, 9, 8], [3, 1, 3, 3], Conv2d { dilation: [2, 3], ..deep(3, 1, 2) }),
        of([2, 3, 10, 8], [3, 1, 3, 3], deep(3, 3, 1)),
        of([0, 3, 8, 8], [3, 1, 3, 3], deep(3, 1, 1)),
        Problem { layout: Tail, ..of([2, 3, 7, 6], [6, 1, 3, 3], deep(3, 2, 1)) },
        Problem { layout: Offset, ..of([2, 3, 7, 6], [3, 1, 3, 3], deep(3, 1, 1)) },
        // So many planes that a thread makes several rows.
        of([8, 40, 9, 6], [40, 1, 3, 3], deep(40, 1, 1)),
        of([8, 72, 11, 7], [72, 1, 3, 3], deep(72, 2, 1)),
        of([4, 40, 6, 5], [40, 1, 2, 3], deep(40, 1, 1)),
        Problem { tight: true, ..of([9, 2, 11, 13], [4, 1, 3, 3], deep(2, 1, 1)) },
        of([1, 1, 65, 64], [9, 1, 3, 3], padded(1)),
        // Whole fours of channels: Winograd's.
        of([2, 8, 9, 10], [12, 8, 3, 3], padded(1)),
        of([1, 4, 7, 5], [8, 4, 3, 3], plain),
        // Windows that begin at the first of two pixels.
        of([2, 4, 6, 8], [8, 4, 3, 3], plain),
        of([5, 36, 4, 4], [32, 36, 3, 3], Conv2d { padding: [2, 1], ..plain }),
        of([6, 16, 2, 2], [4, 16, 3, 3], padded(1)),
        Problem { layout: Offset, ..of([2, 4, 8, 16], [4, 4, 3, 3], padded(1)) },
        Problem { tight: true, ..of([9, 4, 12, 8], [8, 4, 3, 3], padded(1)) },
        of([1, 2, 3, 3], [2, 2, 2, 2], padded(3)),
        of([0, 3, 8, 8], [5, 3, 3, 3], padded(1)),
        Problem { layout: Offset, ..of([2, 3, 7, 6], [4, 3, 3, 3], padded(1)) },
        Problem { layout: Transposed, ..of([2, 3, 7, 6], [4, 3, 3, 3], plain) },
        Problem { layout: Tail, ..of([2, 3, 7, 6], [4, 3, 3, 3], plain) },
        Problem { tight: true, ..of([9, 2, 11, 13], [3, 2, 3, 3], padded(1)) },
    ]
}

impl Problem {
    fn label(&self, dtype: DType) -> String {
        format!("{:?} by {:?} {:?} {:?} {dtype}", self.x, self.w, self.conv, self.layout)
    }

    fn output(&self) -> Vec<usize> {
        conv::output_shape(&self.x, &self.w, self.conv)
    }

    fn input(&self, shape: &[usize], dtype: DType) -> Input {
        input(shape, Domain::Within(-1.0, 1.0)).layout(self.layout).dtype(dtype)
    }

    fn finish(&self, case: Case, dtype: DType) -> Case {
        let case = case.gives(dtype);
        if self.tight && dtype == F32 { case.tight() } else { case }
    }
}

/// Every problem in f32, every third in f16 too.
fn each(mut make: impl FnMut(&Problem, DType) -> Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, problem) in problems().iter().enumerate() {
        cases.push(make(problem, F32));
        if i % 3 == 2 {
            cases.push(make(problem, F16));
        }
    }
    cases
}

fn joined(op: impl Fn(&[Array]) -> Array, x: &[Array], terms: usize) -> Expected {
    Expected::joined(op(x), op(&x.iter().map(Array::abs).collect::<Vec<_>>()), terms)
}

fn forward_case(label: String, inputs: Vec<Input>, conv: Conv2d) -> Case {
    let (tensors, vars) = both!(x => x[0].conv2d(&x[1], x.get(2), options(conv)));
    let reference = move |x: &[Array]| {
        let terms = x[1].shape[1..].iter().product::<usize>() + 1;
        joined(|x| conv::conv2d(&x[0], &x[1], x.get(2), conv), x, terms)
    };
    Case::new(label, inputs, tensors, reference).differentiable(vars)
}

fn forward() -> Row {
    let mut cases = each(|problem, dtype| {
        let mut inputs = vec![problem.input(&problem.x, dtype), problem.input(&problem.w, dtype)];
        // With a bias where groups are odd in number, without elsewhere: both ways for every option.
        if problem.conv.groups % 2 == 1 {
            inputs.push(problem.input(&problem.w[..1], dtype));
        }
        let mut case = problem.finish(forward_case(problem.label(dtype), inputs, problem.conv), dtype);
        if dtype == F16 {
            case.differentiable = None;
        }
        case
    });
    let recorded = Recorded::open("conv2d");
    for name in recorded.cases() {
        let mut inputs = vec![Input::given(recorded.get(name, "x")), Input::given(recorded.get(name, "weight"))];
        inputs.extend(recorded.find(name, "bias").map(Input::given));
        let case = forward_case(format!("recorded {name}"), inputs, recorded.conv2d(name));
        cases.push(case.recorded(recorded.get(name, "y")));
    }
    let call = |d: &kiln_tensor::Device, x: &[usize], w: &[usize], conv: Conv2d| {
        zeros(d, x, F32)?.conv2d(&zeros(d, w, F32)?, None, options(conv))
    };
    let plain = Conv2d::default();
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d: input has 3 channels, weight [6, 1, 5, 5] with groups = 1 needs 1; pass an input of 1 channels, or \
             another weight or number of groups",
            move |d| call(d, &[1, 3, 8, 8], &[6, 1, 5, 5], plain),
        ),
        wrong(
            "conv2d: input has shape [3, 8, 8], weight [6, 3, 5, 5]; needs [batch, channels, height, width] and \
             [out_channels, channels / groups, kernel height, kernel width]",
            move |d| call(d, &[3, 8, 8], &[6, 3, 5, 5], plain),
        ),
        wrong("conv2d: stride [0, 1], dilation [1, 1], groups 1; each must be at least 1", move |d| {
            call(d, &[1, 3, 8, 8], &[6, 3, 5, 5], Conv2d { stride: [0, 1], ..plain })
        }),
        wrong(
            "conv2d: weight [5, 2, 3, 3] with groups = 2; needs at least one input channel, and out_channels a multiple of \
             groups above 0",
            move |d| call(d, &[1, 4, 8, 8], &[5, 2, 3, 3], Conv2d { groups: 2, ..plain }),
        ),
        wrong(
            "conv2d: a kernel of 5x5 with dilation [2, 1] does not fit an image of 8x8 with padding [0, 0]; pass a larger \
             image, more padding or a smaller kernel of at least 1x1",
            move |d| call(d, &[1, 3, 8, 8], &[6, 3, 5, 5], Conv2d { dilation: [2, 1], ..plain }),
        ),
        wrong(
            "conv2d: bias has shape [5], weight [6, 3, 5, 5]; needs a bias of [6], one value per output channel",
            |d| {
                let (x, w, bias) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], F32)?, zeros(d, &[5], F32)?);
                x.conv2d(&w, Some(&bias), Conv2dOptions::default())
            },
        ),
        wrong("conv2d: input is i32; needs f32, f16: convert it by to_dtype", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], I32)?, zeros(d, &[6, 3, 5, 5], I32)?);
            x.conv2d(&w, None, Conv2dOptions::default())
        }),
        wrong("conv2d: input is f32, weight is i32; needs one type: convert one by to_dtype", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], I32)?);
            x.conv2d(&w, None, Conv2dOptions::default())
        }),
        wrong("conv2d: tensors on two devices; read one and write it to the other device", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(&devices().minimal, &[6, 3, 5, 5], F32)?);
            x.conv2d(&w, None, Conv2dOptions::default())
        }),
    ]);
    Row { name: "conv2d", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

fn input_grad_case(label: String, inputs: Vec<Input>, shape: Vec<usize>, conv: Conv2d) -> Case {
    let kept = shape.clone();
    Case::new(
        label,
        inputs,
        move |x: &[Tensor]| conv2d_input_grad(&x[0], &x[1], &shape, &options(conv)),
        move |x| {
            let terms = x[1].shape[0] / conv.groups * x[1].shape[2] * x[1].shape[3];
            joined(|x| conv::conv2d_input_grad(&x[0], &x[1], &kept, conv), x, terms)
        },
    )
}

/// Negative results become 0; a result moves no further by that.
fn rectified(expected: Expected) -> Expected {
    Expected { value: expected.value.map(|v| v.max(0.0)), ..expected }
}

fn forward_relu() -> Row {
    let cases = each(|problem, dtype| {
        let inputs = [&problem.x, &problem.w, &problem.w[..1].to_vec()].map(|shape| problem.input(shape, dtype));
        let conv = problem.conv;
        let case = Case::new(
            problem.label(dtype),
            inputs.to_vec(),
            move |x: &[Tensor]| conv2d_relu(&x[0], &x[1], Some(&x[2]), &options(conv)),
            move |x| {
                let terms = x[1].shape[1..].iter().product::<usize>() + 1;
                rectified(joined(|x| conv::conv2d(&x[0], &x[1], x.get(2), conv), x, terms))
            },
        );
        let case = case.differentiable(move |x| x[0].conv2d_relu(&x[1], Some(&x[2]), options(conv)));
        let mut case = problem.finish(case, dtype);
        if dtype == F16 {
            case.differentiable = None;
        }
        case
    });
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d_relu: bias has shape [3], weight [6, 3, 5, 5]; needs a bias of [6], one value per output channel",
            |d| {
                let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
                conv2d_relu(&x, &w, Some(&zeros(d, &[3], F32)?), &Conv2dOptions::default())
            },
        ),
        wrong("conv2d_relu: input is i32; needs f32, f16: convert it by to_dtype", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], I32)?, zeros(d, &[6, 3, 5, 5], I32)?);
            conv2d_relu(&x, &w, None, &Conv2dOptions::default())
        }),
    ]);
    Row { name: "conv2d_relu", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

fn input_grad() -> Row {
    let mut cases = each(|problem, dtype| {
        let inputs = vec![problem.input(&problem.output(), dtype), problem.input(&problem.w, dtype)];
        problem.finish(input_grad_case(problem.label(dtype), inputs, problem.x.clone(), problem.conv), dtype)
    });
    let recorded = Recorded::open("conv2d");
    for name in recorded.cases() {
        let inputs = vec![Input::given(recorded.get(name, "dy")), Input::given(recorded.get(name, "weight"))];
        let shape = recorded.get(name, "x").shape.clone();
        let case = input_grad_case(format!("recorded {name}"), inputs, shape, recorded.conv2d(name));
        cases.push(case.recorded(recorded.get(name, "dx")));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d_input_grad: dy has shape [1, 6, 5, 5]; an input of [1, 3, 8, 8] with weight [6, 3, 5, 5] gives [1, 6, 4, \
             4]: pass a gradient of that shape",
            |d| {
                let (dy, w) = (zeros(d, &[1, 6, 5, 5], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
                conv2d_input_grad(&dy, &w, [1, 3, 8, 8], &Conv2dOptions::default())
            },
        ),
        wrong("conv2d_input_grad: dy is i32; needs f32, f16: convert it by to_dtype", |d| {
            let (dy, w) = (zeros(d, &[1, 6, 4, 4], I32)?, zeros(d, &[6, 3, 5, 5], F32)?);
            conv2d_input_grad(&dy, &w, [1, 3, 8, 8], &Conv2dOptions::default())
        }),
        wrong(
            "conv2d_input_grad: input has 2 channels, weight [6, 3, 5, 5] with groups = 1 needs 3; pass an input of 3 \
             channels, or another weight or number of groups",
            |d| {
                let (dy, w) = (zeros(d, &[1, 6, 4, 4], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
                conv2d_input_grad(&dy, &w, [1, 2, 8, 8], &Conv2dOptions::default())
            },
        ),
    ]);
    Row { name: "conv::conv2d_input_grad", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}

fn weight_grad_case(label: String, inputs: Vec<Input>, shape: Vec<usize>, conv: Conv2d) -> Case {
    let kept = shape.clone();
    Case::new(
        label,
        inputs,
        move |x: &[Tensor]| conv2d_weight_grad(&x[0], &x[1], &shape, &options(conv)),
        move |x| {
            let terms = x[1].shape[0] * x[1].shape[2] * x[1].shape[3];
            joined(|x| conv::conv2d_weight_grad(&x[0], &x[1], &kept, conv), x, terms)
        },
    )
}

fn weight_grad() -> Row {
    let mut cases = each(|problem, dtype| {
        let inputs = vec![problem.input(&problem.x, dtype), problem.input(&problem.output(), dtype)];
        problem.finish(weight_grad_case(problem.label(dtype), inputs, problem.w.clone(), problem.conv), dtype)
    });
    let recorded = Recorded::open("conv2d");
    for name in recorded.cases() {
        let inputs = vec![Input::given(recorded.get(name, "x")), Input::given(recorded.get(name, "dy"))];
        let shape = recorded.get(name, "weight").shape.clone();
        let case = weight_grad_case(format!("recorded {name}"), inputs, shape, recorded.conv2d(name));
        cases.push(case.recorded(recorded.get(name, "dweight")));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d_weight_grad: dy has shape [2, 6, 4, 4]; an input of [1, 3, 8, 8] with weight [6, 3, 5, 5] gives [1, 6, 4, \
             4]: pass a gradient of that shape",
            |d| {
                let (x, dy) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[2, 6, 4, 4], F32)?);
                conv2d_weight_grad(&x, &dy, [6, 3, 5, 5], &Conv2dOptions::default())
            },
        ),
        wrong("conv2d_weight_grad: input is f32, dy is i32; needs one type: convert one by to_dtype", |d| {
            let (x, dy) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[1, 6, 4, 4], I32)?);
            conv2d_weight_grad(&x, &dy, [6, 3, 5, 5], &Conv2dOptions::default())
        }),
    ]);
    Row { name: "conv::conv2d_weight_grad", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}

/// Both gradients, one after the other.
fn weight_bias_grad() -> Row {
    let cases = each(|problem, dtype| {
        let inputs = vec![problem.input(&problem.x, dtype), problem.input(&problem.output(), dtype)];
        let (shape, kept, conv) = (problem.w.clone(), problem.w.clone(), problem.conv);
        let case = Case::new(
            problem.label(dtype),
            inputs,
            move |x: &[Tensor]| {
                let (dw, db) = conv2d_weight_bias_grad(&x[0], &x[1], &shape, &options(conv))?;
                Tensor::cat(&[&dw.flatten(..)?, &db], 0)
            },
            move |x| {
                let terms = x[1].shape[0] * x[1].shape[2] * x[1].shape[3];
                let both = |x: &[Array]| {
                    let dw = conv::conv2d_weight_grad(&x[0], &x[1], &kept, conv);
                    movement::cat(&[&movement::flatten(&dw, 0, 3), &reduce::sum(&x[1], &[0, 2, 3], false)], 0)
                };
                joined(both, x, terms)
            },
        );
        problem.finish(case, dtype)
    });
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d_weight_bias_grad: dy has shape [2, 6, 4, 4]; an input of [1, 3, 8, 8] with weight [6, 3, 5, 5] gives \
             [1, 6, 4, 4]: pass a gradient of that shape",
            |d| {
                let (x, dy) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[2, 6, 4, 4], F32)?);
                Ok(conv2d_weight_bias_grad(&x, &dy, [6, 3, 5, 5], &Conv2dOptions::default())?.0)
            },
        ),
        wrong("conv2d_weight_bias_grad: input is f32, dy is i32; needs one type: convert one by to_dtype", |d| {
            let (x, dy) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[1, 6, 4, 4], I32)?);
            Ok(conv2d_weight_bias_grad(&x, &dy, [6, 3, 5, 5], &Conv2dOptions::default())?.0)
        }),
    ]);
    Row { name: "conv::conv2d_weight_bias_grad", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}

/// Problems whose gradients can share their work, and some others: what they call is in the rows above.
fn sharing(mut make: impl FnMut(&Problem, DType) -> Vec<Case>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, problem) in problems().iter().enumerate() {
        let fours = problem.w[0] % 4 == 0 && problem.w[1] % 4 == 0 && problem.w[2..] == [3, 3];
        if fours || i % 16 == 2 {
            cases.extend(make(problem, F32));
        }
        if fours && problem.layout == Offset {
            cases.extend(make(problem, F16));
        }
    }
    cases
}

fn keeping() -> Row {
    let cases = sharing(|problem, dtype| {
        let inputs = [&problem.x, &problem.w, &problem.w[..1].to_vec()].map(|shape| problem.input(shape, dtype));
        let conv = problem.conv;
        let case = Case::new(
            problem.label(dtype),
            inputs.to_vec(),
            move |x: &[Tensor]| Ok(conv2d_keeping(&x[0], &x[1], Some(&x[2]), true, &options(conv))?.0),
            move |x| {
                let terms = x[1].shape[1..].iter().product::<usize>() + 1;
                rectified(joined(|x| conv::conv2d(&x[0], &x[1], x.get(2), conv), x, terms))
            },
        );
        vec![problem.finish(case, dtype)]
    });
    let wrong = Wrongs::Calls(vec![
        wrong("conv2d: stride [0, 1], dilation [1, 1], groups 1; each must be at least 1", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 3, 3], F32)?);
            let options = Conv2dOptions { stride: [0, 1], ..Default::default() };
            Ok(conv2d_keeping(&x, &w, None, false, &options)?.0)
        }),
        wrong(
            "conv2d_relu: bias has shape [3], weight [6, 3, 5, 5]; needs a bias of [6], one value per output channel",
            |d| {
                let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
                let bias = zeros(d, &[3], F32)?;
                Ok(conv2d_keeping(&x, &w, Some(&bias), true, &Conv2dOptions::default())?.0)
            },
        ),
    ]);
    Row { name: "conv::conv2d_keeping", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}

/// The gradient of the input, before a ReLU of which it is the result, and the other two, one after the other: each with and
/// without what the forward pass left.
fn grads() -> Row {
    let cases = sharing(|problem, dtype| {
        let inputs = [&problem.x, &problem.w, &problem.output()].map(|shape| problem.input(shape, dtype)).to_vec();
        let (conv, shape) = (problem.conv, problem.w.clone());
        let kept = move |x: &[Tensor], keep: bool| match keep {
            true => Ok(conv2d_keeping(&x[0], &x[1], None, false, &options(conv))?.1),
            false => kiln_tensor::Result::Ok(Default::default()),
        };
        let mut cases = Vec::new();
        for keep in [false, true] {
            let dx = Case::new(
                format!("dx, kept: {keep}, {}", problem.label(dtype)),
                inputs.clone(),
                move |x: &[Tensor]| {
                    let (dx, _, db) = conv2d_grads(&x[0], &x[1], &x[2], &kept(x, keep)?, keep, keep, &options(conv))?;
                    assert_eq!(db.is_some(), keep);
                    Ok(dx)
                },
                move |x| {
                    let terms = x[1].shape[0] / conv.groups * x[1].shape[2] * x[1].shape[3];
                    let dx = |y: &[Array]| conv::conv2d_input_grad(&y[2], &y[1], &x[0].shape, conv);
                    let expected = joined(dx, x, terms);
                    let passed = expected.value.zip(&x[0], |dx, x| if x > 0.0 || !keep { dx } else { 0.0 });
                    Expected { value: passed, ..expected }
                },
            );
            let shape = shape.clone();
            let dw = Case::new(
                format!("dw and db, kept: {keep}, {}", problem.label(dtype)),
                inputs.clone(),
                move |x: &[Tensor]| {
                    let (_, dw, db) = conv2d_grads(&x[0], &x[1], &x[2], &kept(x, keep)?, true, false, &options(conv))?;
                    Tensor::cat(&[&dw.flatten(..)?, &db.unwrap()], 0)
                },
                move |x| {
                    let terms = x[2].shape[0] * x[2].shape[2] * x[2].shape[3];
                    let both = |x: &[Array]| {
                        let dw = conv::conv2d_weight_grad(&x[0], &x[2], &shape, conv);
                        movement::cat(&[&movement::flatten(&dw, 0, 3), &reduce::sum(&x[2], &[0, 2, 3], false)], 0)
                    };
                    joined(both, x, terms)
                },
            );
            cases.extend([dx, dw].map(|case| problem.finish(case, dtype)));
        }
        cases
    });
    let wrong = Wrongs::Calls(vec![
        wrong(
            "conv2d_grads: dy has shape [2, 6, 4, 4]; an input of [1, 3, 8, 8] with weight [6, 3, 5, 5] gives [1, 6, 4, 4]: pass \
             a gradient of that shape",
            |d| {
                let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
                let dy = zeros(d, &[2, 6, 4, 4], F32)?;
                let options = Conv2dOptions::default();
                Ok(conv2d_grads(&x, &w, &dy, &Default::default(), false, false, &options)?.0)
            },
        ),
        wrong("conv2d_grads: input is f32, dy is i32; needs one type: convert one by to_dtype", |d| {
            let (x, w) = (zeros(d, &[1, 3, 8, 8], F32)?, zeros(d, &[6, 3, 5, 5], F32)?);
            let dy = zeros(d, &[1, 6, 4, 4], I32)?;
            Ok(conv2d_grads(&x, &w, &dy, &Default::default(), false, false, &Conv2dOptions::default())?.0)
        }),
    ]);
    Row { name: "conv::conv2d_grads", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}
