//! Max and average pooling and their gradients.

use kiln_tensor::ops::pool::{self as ops, AvgPool2dOptions, MaxPool2dOptions};
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::reference::pool::{self as reference, Pool2d};
use crate::row::{Case, Domain, Input, LINEAR, Layout, NO_GRADIENT, Row, Wrong, Wrongs, both, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![
        max_pool2d(),
        max_indices(),
        max_pool2d_grad(),
        max_pool2d_relu(),
        max_pool2d_relu_grad(),
        avg_pool2d(),
        avg_pool2d_grad(),
    ]
}

fn max_options(pool: Pool2d) -> MaxPool2dOptions {
    MaxPool2dOptions {
        kernel_size: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
        dilation: pool.dilation,
        ceil_mode: pool.ceil_mode,
    }
}

fn avg_options(pool: Pool2d, count_include_pad: bool) -> AvgPool2dOptions {
    AvgPool2dOptions {
        kernel_size: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
        ceil_mode: pool.ceil_mode,
        count_include_pad,
    }
}

type Problem = (Vec<usize>, Layout, Pool2d);

/// Shapes and windows; the last is too large for the tight device. Average pooling leaves out what is dilated.
fn problems(dilated: bool) -> Vec<Problem> {
    let square = Pool2d::square;
    let all: Vec<Problem> = vec![
        (vec![1, 1, 1, 1], Contiguous, square(1)),
        (vec![2, 3, 8, 8], Contiguous, square(2)),
        (vec![2, 3, 9, 11], Contiguous, square(2)),
        // Whole quads of a line, an odd height, and an offset that is no whole quad.
        (vec![2, 3, 6, 12], Contiguous, square(2)),
        (vec![1, 3, 7, 8], Contiguous, square(2)),
        (vec![1, 3, 7, 8], Contiguous, Pool2d { ceil_mode: true, ..square(2) }),
        (vec![2, 1, 5, 12], Tail, square(2)),
        (vec![2, 3, 9, 11], Contiguous, Pool2d { ceil_mode: true, ..square(2) }),
        (vec![1, 1, 63, 65], Contiguous, Pool2d { kernel: [3, 5], stride: [2, 3], padding: [1, 2], ..square(1) }),
        (vec![1, 5, 13, 7], Contiguous, Pool2d { kernel: [3, 3], stride: [1, 1], padding: [1, 1], ..square(1) }),
        (
            vec![2, 2, 11, 12],
            Contiguous,
            Pool2d { kernel: [4, 2], stride: [3, 3], padding: [2, 1], ceil_mode: true, ..square(1) },
        ),
        (vec![1, 2, 7, 6], Contiguous, Pool2d { kernel: [2, 2], stride: [3, 4], ..square(1) }),
        (vec![2, 3, 7, 6], Offset, square(2)),
        (vec![2, 3, 7, 6], Transposed, Pool2d { kernel: [3, 2], stride: [1, 2], ..square(1) }),
        (vec![2, 3, 7, 6], Tail, square(3)),
        (vec![0, 3, 7, 6], Contiguous, square(2)),
        (vec![2, 0, 7, 6], Contiguous, square(2)),
        (vec![1, 2, 12, 13], Contiguous, Pool2d { kernel: [3, 2], stride: [2, 1], dilation: [2, 3], ..square(1) }),
        (
            vec![1, 1, 10, 10],
            Contiguous,
            Pool2d { kernel: [3, 3], padding: [1, 1], stride: [2, 2], dilation: [2, 2], ceil_mode: true },
        ),
        (vec![1, 2, 5, 6], Contiguous, Pool2d { kernel: [4, 3], stride: [2, 2], ..square(1) }),
        // So many planes that a thread makes several rows.
        (vec![16, 8, 12, 12], Contiguous, square(2)),
        (vec![16, 8, 12, 10], Contiguous, square(2)),
        (vec![16, 8, 11, 12], Contiguous, Pool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 0], ..square(1) }),
        (vec![16, 8, 11, 9], Contiguous, Pool2d { kernel: [3, 2], stride: [1, 1], padding: [1, 0], ..square(1) }),
        (vec![3, 5, 13, 11], Contiguous, Pool2d { kernel: [3, 3], stride: [2, 2], padding: [1, 1], ..square(1) }),
        (vec![1, 7, 15, 13], Contiguous, square(2)),
    ];
    all.into_iter().filter(|(_, _, pool)| dilated || pool.dilation == [1, 1]).collect()
}

fn label((shape, layout, pool): &Problem, dtype: DType) -> String {
    format!("{shape:?} {layout:?} {pool:?} {dtype}")
}

/// Every problem in f32, some in f16 too.
fn each(dilated: bool, mut make: impl FnMut(&Problem, DType) -> Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, problem) in problems(dilated).iter().enumerate() {
        let case = make(problem, F32);
        cases.push(if problem.0.contains(&13) { case.tight() } else { case });
        if i % 4 == 3 {
            cases.push(make(problem, F16).gives(F16));
        }
    }
    cases
}

/// Recorded cases of one kind: name, options, tensors.
fn each_recorded(kind: &str, mut add: impl FnMut(&Recorded, &str, Pool2d)) {
    let recorded = Recorded::open("pool");
    for name in recorded.cases().into_iter().filter(|name| recorded.text(name, "kind") == kind) {
        add(&recorded, name, recorded.pool2d(name));
    }
}

fn max_pool2d() -> Row {
    let case = |label: String, x: Input, pool: Pool2d| {
        let (tensors, vars) = both!(x => x[0].max_pool2d(max_options(pool)));
        let case = Case::new(label, vec![x], tensors, move |x| Expected::new(reference::max_pool2d(&x[0], pool)));
        case.differentiable(vars)
    };
    let mut cases = each(true, |problem, dtype| {
        let x = input(&problem.0, Domain::Distinct).layout(problem.1).dtype(dtype);
        let mut made = case(label(problem, dtype), x, problem.2);
        if dtype == F16 {
            made.differentiable = None;
        }
        made
    });
    each_recorded("max", |recorded, name, pool| {
        let x = Input::given(recorded.get(name, "x"));
        let mut made = case(format!("recorded {name}"), x, pool).recorded(recorded.get(name, "y"));
        // Recorded planes have ties, which have no slope.
        made.differentiable = None;
        cases.push(made);
    });
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let special = Array::new(&[1, 1, 2, 6], vec![1.0, nan, -inf, -inf, 0.0, 3.0, 2.0, 0.0, -inf, -inf, inf, nan]);
    let mut made = case("NaN and infinities".into(), Input::given(&special), Pool2d::square(2));
    made.differentiable = None;
    cases.push(made);
    let wrong = Wrongs::Calls(max_wrongs("max_pool2d", |x, options| x.max_pool2d(options)));
    Row { name: "max_pool2d", class: Class::Exact, gradient: LINEAR, cases, wrong }
}

fn max_wrongs(op: &'static str, call: fn(&Tensor, &MaxPool2dOptions) -> Result<Tensor>) -> Vec<Wrong> {
    let image = |d: &Device| zeros(d, &[1, 2, 5, 5], F32);
    let plain = MaxPool2dOptions::new([2, 2]);
    let message = |rest: &str| super::unary::leak(format!("{op}: {rest}"));
    vec![
        wrong(message("input has shape [2, 5, 5]; needs [batch, channels, height, width]"), move |d| {
            call(&zeros(d, &[2, 5, 5], F32)?, &plain)
        }),
        wrong(message("kernel_size [2, 0], stride [2, 0], dilation [1, 1]; each must be at least 1"), move |d| {
            call(&image(d)?, &MaxPool2dOptions::new([2, 0]))
        }),
        wrong(message("padding [2, 0] with kernel_size [2, 2]; needs at most half of the window"), move |d| {
            call(&image(d)?, &MaxPool2dOptions { padding: [2, 0], ..plain })
        }),
        wrong(
            message(
                "a window of [6, 2] with dilation [1, 1] does not fit an image of 5x5 with padding [0, 0]; pass a larger \
                 image or a smaller window",
            ),
            move |d| call(&image(d)?, &MaxPool2dOptions::new([6, 2])),
        ),
        wrong(message("input is i32; needs f32, f16: convert it by to_dtype"), move |d| {
            call(&zeros(d, &[1, 2, 5, 5], I32)?, &plain)
        }),
    ]
}

/// `pool::max_pool2d`, whose values are `Tensor::max_pool2d`'s: the places of the maxima.
fn max_indices() -> Row {
    let case = |label: String, x: Input, pool: Pool2d| {
        let plane = x.shape[2] * x.shape[3];
        Case::new(
            label,
            vec![x],
            move |x| Ok(ops::max_pool2d(&x[0], &max_options(pool))?.indices),
            move |x| {
                let (values, indices) = reference::max_pool2d_with_indices(&x[0], pool);
                let in_plane = indices.iter().map(|i| (i % plane) as f64).collect();
                Expected::new(Array::new(&values.shape, in_plane))
            },
        )
        .gives(I32)
    };
    let mut cases = each(true, |problem, dtype| {
        // With ties: the first wins.
        let x = input(&problem.0, Domain::Whole(0, 5)).layout(problem.1).dtype(dtype);
        case(label(problem, dtype), x, problem.2)
    });
    for case in &mut cases {
        case.dtype = I32;
    }
    each_recorded("max", |recorded, name, pool| {
        let made = case(format!("recorded {name}"), Input::given(recorded.get(name, "x")), pool);
        cases.push(made.recorded(recorded.get(name, "indices")));
    });
    let wrong = Wrongs::Calls(max_wrongs("max_pool2d", |x, options| Ok(ops::max_pool2d(x, options)?.values)));
    Row { name: "pool::max_pool2d", class: Class::Whole, gradient: NO_GRADIENT, cases, wrong }
}

fn max_pool2d_grad() -> Row {
    // The forward pass of the device gives the indices.
    let case = |label: String, x: Input, dy: Input, pool: Pool2d| {
        Case::new(
            label,
            vec![x, dy],
            move |t| {
                let options = max_options(pool);
                let indices = ops::max_pool2d(&t[0], &options)?.indices;
                ops::max_pool2d_grad(&t[1], &indices, t[0].shape(), &options)
            },
            move |x| {
                let terms = pool.kernel[0] * pool.kernel[1];
                let of = |dy: &Array| reference::max_pool2d_grad(&x[0], dy, pool);
                Expected::joined(of(&x[1]), of(&x[1].abs()), terms)
            },
        )
    };
    let mut cases = each(true, |problem, dtype| {
        let x = input(&problem.0, Domain::Whole(0, 5)).dtype(dtype);
        let dy = input(&problem.2.output_shape(&problem.0), Domain::Within(-1.0, 1.0)).layout(problem.1).dtype(dtype);
        case(label(problem, dtype), x, dy, problem.2)
    });
    each_recorded("max", |recorded, name, pool| {
        let [x, dy] = ["x", "dy"].map(|tensor| Input::given(recorded.get(name, tensor)));
        cases.push(case(format!("recorded {name}"), x, dy, pool).recorded(recorded.get(name, "dx")));
    });
    let call = |d: &Device, dy: &[usize], indices: &[usize], dtype: DType| {
        let (dy, indices) = (zeros(d, dy, F32)?, zeros(d, indices, dtype)?);
        ops::max_pool2d_grad(&dy, &indices, [1, 2, 5, 5], &MaxPool2dOptions::new([2, 2]))
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "max_pool2d_grad: dy has shape [1, 2, 3, 2], indices [1, 2, 2, 2]; an input of [1, 2, 5, 5] needs both of [1, 2, 2, 2]",
            move |d| call(d, &[1, 2, 3, 2], &[1, 2, 2, 2], I32),
        ),
        wrong("max_pool2d_grad: indices is f32; needs i32: convert it by to_dtype", move |d| {
            call(d, &[1, 2, 2, 2], &[1, 2, 2, 2], F32)
        }),
    ]);
    Row { name: "pool::max_pool2d_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn max_pool2d_relu() -> Row {
    let case = |label: String, x: Input, pool: Pool2d| {
        Case::new(
            label,
            vec![x],
            move |t| Ok(ops::max_pool2d_relu(&t[0], &max_options(pool))?.values),
            move |x| Expected::new(reference::max_pool2d(&x[0], pool).map(|v| if v < 0.0 { 0.0 } else { v })),
        )
    };
    let mut cases = each(true, |problem, dtype| {
        let x = input(&problem.0, Domain::Within(-2.0, 0.5)).layout(problem.1).dtype(dtype);
        case(label(problem, dtype), x, problem.2)
    });
    // The gradient where no two pixels tie; a single one would be 0, where ReLU has no slope.
    for problem in problems(true).into_iter().filter(|problem| problem.0.iter().product::<usize>() != 1) {
        let (x, pool) = (input(&problem.0, Domain::Distinct).layout(problem.1), problem.2);
        let made = case(format!("distinct {}", label(&problem, F32)), x, pool);
        cases.push(made.differentiable(move |x| x[0].max_pool2d_relu(max_options(pool))));
    }
    // Through either kernel: NaN is not made 0.
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let pixels = vec![1.0, nan, -inf, -inf, 0.0, 3.0, -2.0, -3.0, -inf, -inf, inf, nan];
    for shape in [[1, 1, 2, 6], [1, 1, 3, 4]] {
        cases.push(case(
            "NaN and infinities".into(),
            Input::given(&Array::new(&shape, pixels.clone())),
            Pool2d::square(2),
        ));
    }
    let wrong = Wrongs::Calls(max_wrongs("max_pool2d_relu", |x, options| Ok(ops::max_pool2d_relu(x, options)?.values)));
    Row { name: "max_pool2d_relu", class: Class::Exact, gradient: LINEAR, cases, wrong }
}

fn max_pool2d_relu_grad() -> Row {
    let mut cases = each(true, |problem, dtype| {
        let pool = problem.2;
        let x = input(&problem.0, Domain::Whole(-5, 2)).dtype(dtype);
        let dy = input(&pool.output_shape(&problem.0), Domain::Within(-1.0, 1.0)).layout(problem.1).dtype(dtype);
        Case::new(
            label(problem, dtype),
            vec![x, dy],
            move |t| {
                let options = max_options(pool);
                let pooled = ops::max_pool2d_relu(&t[0], &options)?;
                ops::max_pool2d_relu_grad(&t[1], &pooled.indices, &pooled.values, t[0].shape(), &options)
            },
            move |x| {
                let y = reference::max_pool2d(&x[0], pool);
                let passed = x[1].zip(&y, |dy, y| if y > 0.0 { dy } else { 0.0 });
                let of = |dy: &Array| reference::max_pool2d_grad(&x[0], dy, pool);
                Expected::joined(of(&passed), of(&passed.abs()), pool.kernel[0] * pool.kernel[1])
            },
        )
    });
    for case in &mut cases {
        if case.inputs[0].dtype == F16 {
            case.dtype = F16;
        }
    }
    let call = |d: &Device, indices: &[usize], y: &[usize], dtype: DType| {
        let (dy, indices, y) = (zeros(d, &[1, 2, 2, 2], F32)?, zeros(d, indices, I32)?, zeros(d, y, dtype)?);
        ops::max_pool2d_relu_grad(&dy, &indices, &y, [1, 2, 5, 5], &MaxPool2dOptions::new([2, 2]))
    };
    let wrong = Wrongs::Calls(vec![
        wrong(
            "max_pool2d_relu_grad: dy has shape [1, 2, 2, 2], indices [1, 2, 3, 2]; an input of [1, 2, 5, 5] needs both of \
             [1, 2, 2, 2]",
            move |d| call(d, &[1, 2, 3, 2], &[1, 2, 2, 2], F32),
        ),
        wrong("max_pool2d_relu_grad: dy has shape [1, 2, 2, 2], y [1, 2, 2, 3]; needs one shape", move |d| {
            call(d, &[1, 2, 2, 2], &[1, 2, 2, 3], F32)
        }),
        wrong("max_pool2d_relu_grad: y is f16; needs f32: convert it by to_dtype", move |d| {
            call(d, &[1, 2, 2, 2], &[1, 2, 2, 2], F16)
        }),
    ]);
    Row { name: "pool::max_pool2d_relu_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}

fn avg_pool2d() -> Row {
    let case = |label: String, x: Input, pool: Pool2d, include: bool| {
        let (tensors, vars) = both!(x => x[0].avg_pool2d(avg_options(pool, include)));
        let reference = move |x: &[Array]| {
            let of = |x: &Array| reference::avg_pool2d(x, pool, include);
            Expected::joined(of(&x[0]), of(&x[0].abs()), pool.kernel[0] * pool.kernel[1])
        };
        Case::new(format!("{label} {include}"), vec![x], tensors, reference).differentiable(vars)
    };
    let mut cases = Vec::new();
    for include in [true, false] {
        cases.extend(each(false, |problem, dtype| {
            let x = input(&problem.0, Domain::Within(-1.0, 1.0)).layout(problem.1).dtype(dtype);
            let mut made = case(label(problem, dtype), x, problem.2, include);
            if dtype == F16 {
                made.differentiable = None;
            }
            made
        }));
    }
    each_recorded("avg", |recorded, name, pool| {
        let x = Input::given(recorded.get(name, "x"));
        let made = case(format!("recorded {name}"), x, pool, recorded.flag(name, "count_include_pad"));
        cases.push(made.recorded(recorded.get(name, "y")));
    });
    let plain = AvgPool2dOptions::new([2, 2]);
    let wrong = Wrongs::Calls(vec![
        wrong("avg_pool2d: input has shape [2, 5]; needs [batch, channels, height, width]", move |d| {
            zeros(d, &[2, 5], F32)?.avg_pool2d(plain)
        }),
        wrong("avg_pool2d: padding [0, 2] with kernel_size [2, 2]; needs at most half of the window", move |d| {
            zeros(d, &[1, 2, 5, 5], F32)?.avg_pool2d(AvgPool2dOptions { padding: [0, 2], ..plain })
        }),
        wrong("avg_pool2d: input is i32; needs f32, f16: convert it by to_dtype", move |d| {
            zeros(d, &[1, 2, 5, 5], I32)?.avg_pool2d(plain)
        }),
    ]);
    Row { name: "avg_pool2d", class: Class::Sum, gradient: LINEAR, cases, wrong }
}

fn avg_pool2d_grad() -> Row {
    let case = |label: String, dy: Input, shape: Vec<usize>, pool: Pool2d, include: bool| {
        let kept = shape.clone();
        Case::new(
            format!("{label} {include}"),
            vec![dy],
            move |t| ops::avg_pool2d_grad(&t[0], &shape, &avg_options(pool, include)),
            move |x| {
                let of = |dy: &Array| reference::avg_pool2d_grad(&kept, dy, pool, include);
                Expected::joined(of(&x[0]), of(&x[0].abs()), pool.kernel[0] * pool.kernel[1])
            },
        )
    };
    let mut cases = Vec::new();
    for include in [true, false] {
        cases.extend(each(false, |problem, dtype| {
            let output = problem.2.output_shape(&problem.0);
            let dy = input(&output, Domain::Within(-1.0, 1.0)).layout(problem.1).dtype(dtype);
            case(label(problem, dtype), dy, problem.0.clone(), problem.2, include)
        }));
    }
    each_recorded("avg", |recorded, name, pool| {
        let (dy, shape) = (Input::given(recorded.get(name, "dy")), recorded.get(name, "x").shape.clone());
        let made = case(format!("recorded {name}"), dy, shape, pool, recorded.flag(name, "count_include_pad"));
        cases.push(made.recorded(recorded.get(name, "dx")));
    });
    let call = |d: &Device, dy: &[usize], dtype: DType| {
        ops::avg_pool2d_grad(&zeros(d, dy, dtype)?, [1, 2, 5, 5], &AvgPool2dOptions::new([2, 2]))
    };
    let wrong = Wrongs::Calls(vec![
        wrong("avg_pool2d_grad: dy has shape [1, 2, 3, 2]; an input of [1, 2, 5, 5] needs [1, 2, 2, 2]", move |d| {
            call(d, &[1, 2, 3, 2], F32)
        }),
        wrong("avg_pool2d_grad: dy is i32; needs f32, f16: convert it by to_dtype", move |d| {
            call(d, &[1, 2, 2, 2], I32)
        }),
    ]);
    Row { name: "pool::avg_pool2d_grad", class: Class::Sum, gradient: NO_GRADIENT, cases, wrong }
}
