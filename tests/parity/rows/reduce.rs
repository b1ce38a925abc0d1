//! Reductions over any axes.

use kiln_autograd::Var;
use kiln_tensor::{DType, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::reference::{Array, reduce as reference};
use crate::row::{Case, Domain, Gradient, Input, Layout, REDUCTION, Row, Wrong, Wrongs, input, wrapped, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8, U32};
use Layout::{Contiguous, Offset, Tail, Transposed};

type Axes = &'static [usize];
type Op<T, R> = fn(&T, &[usize], bool) -> R;

struct Reduction {
    name: &'static str,
    class: Class,
    tensor: Op<Tensor, Result<Tensor>>,
    /// `None` for positions.
    var: Option<Op<Var, kiln_autograd::Result<Var>>>,
    reference: fn(&Array, &[usize], bool) -> Array,
    domain: Domain,
}

macro_rules! reduction {
    (@var none $name:ident $keepdim:ident) => {
        None
    };
    (@var differentiable $name:ident $keepdim:ident) => {
        Some(|x, axes, keepdim| if keepdim { x.$keepdim(axes) } else { x.$name(axes) })
    };
    ($kind:ident $name:ident $keepdim:ident, $class:ident, $domain:expr) => {
        Reduction {
            name: stringify!($name),
            class: Class::$class,
            tensor: |x, axes, keepdim| if keepdim { x.$keepdim(axes) } else { x.$name(axes) },
            var: reduction!(@var $kind $name $keepdim),
            reference: reference::$name,
            domain: $domain,
        }
    };
}

pub fn rows() -> Vec<Row> {
    use Domain::{Distinct, Within};
    vec![
        row(reduction!(differentiable sum sum_keepdim, Sum, Within(-3.0, 5.0))),
        row(reduction!(differentiable mean mean_keepdim, Sum, Within(-3.0, 5.0))),
        row(reduction!(differentiable max max_keepdim, Exact, Distinct)),
        row(reduction!(differentiable min min_keepdim, Exact, Distinct)),
        row(reduction!(none argmax argmax_keepdim, Exact, Distinct)),
        row(reduction!(none argmin argmin_keepdim, Exact, Distinct)),
    ]
}

fn args() -> Vec<(Vec<usize>, Layout, Axes, bool)> {
    vec![
        (vec![], Contiguous, &[], false),
        (vec![1], Contiguous, &[0], true),
        (vec![63], Contiguous, &[], false),
        (vec![64], Offset, &[0], false),
        (vec![65], Tail, &[0], true),
        (vec![7, 11, 13], Contiguous, &[2], false),
        (vec![7, 11, 13], Contiguous, &[0], true),
        (vec![7, 11, 13], Transposed, &[1], false),
        (vec![7, 11, 13], Offset, &[2, 0], true),
        (vec![7, 11, 13], Tail, &[], false),
        (vec![2, 3, 4, 3, 2, 3], Transposed, &[1, 3, 5], false),
        (vec![2, 3, 4, 3, 2, 3], Contiguous, &[4, 0, 2], true),
        // Long rows by workgroups, long columns in several parts.
        (vec![3, 4099], Contiguous, &[1], false),
        (vec![4099, 3], Contiguous, &[0], false),
        (vec![37, 61], Contiguous, &[1], false),
        (vec![37, 61], Contiguous, &[0], false),
        (vec![13, 19, 11], Contiguous, &[0, 2], false),
        (vec![13, 19, 11], Contiguous, &[], false),
        (vec![3, 0, 5], Contiguous, &[0], false),
    ]
}

/// What the bound of a sum is relative to: the sum (for a mean, the mean) of what is joined, without signs.
fn expected(op: fn(&Array, &[usize], bool) -> Array, x: &Array, axes: &[usize], keepdim: bool) -> Expected {
    let count = reference::group_size(x, axes);
    Expected::joined(op(x, axes, keepdim), reference::mean(&x.abs(), axes, keepdim).map(|m| m * count as f64), count)
}

fn row(op: Reduction) -> Row {
    let Reduction { name, class, tensor, var, reference: compute, domain } = op;
    let (is_sum, is_mean, chooses) = (name == "sum", name == "mean", name != "sum" && name != "mean");
    let result = |dtype: DType| match dtype {
        _ if name.starts_with("arg") => I32,
        U8 if is_sum => U32,
        other => other,
    };
    let case = |x: Input, axes: Axes, keepdim: bool, what: &str| {
        let (dtype, given) = (result(x.dtype), x.dtype);
        Case::new(
            format!("{:?} {:?} {given} over {axes:?} {keepdim} {what}", x.shape, x.layout),
            vec![x],
            move |x| tensor(&x[0], axes, keepdim),
            move |x| {
                let mut made = expected(compute, &x[0], axes, keepdim);
                if is_mean {
                    made.magnitude =
                        Some(made.magnitude.unwrap().map(|m| m / reference::group_size(&x[0], axes) as f64));
                }
                if is_sum && !given.is_float() {
                    made.value = made.value.map(|v| wrapped(dtype, v));
                }
                made
            },
        )
        .gives(dtype)
    };
    let mut cases = Vec::new();
    for (i, (shape, layout, axes, keepdim)) in args().into_iter().enumerate() {
        let x = input(&shape, domain.clone()).layout(layout);
        let mut made = case(x, axes, keepdim, "");
        if let Some(var) = var {
            made = made.differentiable(move |x| var(&x[0], axes, keepdim));
        }
        if shape.contains(&61) || shape.contains(&19) || shape.contains(&4099) {
            made = made.tight();
        }
        cases.push(made);
        if ![3, 5, 8, 12].contains(&i) {
            continue;
        }
        cases.push(case(input(&shape, domain.clone()).layout(layout).dtype(F16), axes, keepdim, ""));
        for dtype in [I32, U32, U8] {
            let domain = match dtype {
                I32 => Domain::Whole(-900_000_000, 900_000_000),
                U32 => Domain::Whole(0, 4_000_000_000),
                _ => Domain::Whole(0, 255),
            };
            // Ties as well: the first of equals is chosen.
            let domain = if name.starts_with("arg") { Domain::Whole(0, 9) } else { domain };
            if !is_mean {
                cases.push(case(input(&shape, domain).layout(layout).dtype(dtype), axes, keepdim, ""));
            }
        }
    }
    // No element at all: a sum of 0, a mean of NaN, and nothing to choose unless the result is empty too.
    cases.push(case(input(&[3, 0, 5], domain.clone()), &[2], false, "empty result"));
    if !chooses {
        cases.push(case(input(&[3, 0, 5], domain.clone()), &[1], false, "of nothing"));
        cases.push(case(input(&[0], domain.clone()), &[], false, "of nothing"));
    }
    let nan = f64::NAN;
    let special = Array::new(&[3, 4], vec![1.0, nan, 3.0, nan, 2.0, 5.0, 5.0, -1.0, -1.0, -0.0, 0.0, -1.0]);
    cases.push(case(Input::given(&special), &[1], false, "NaN and ties"));
    cases.push(case(Input::given(&special), &[0], false, "NaN and ties"));
    if chooses {
        // The same where they are chosen from halves.
        let data: Vec<f64> = (0..37 * 61).map(|i| if i % 97 == 3 { nan } else { f64::from(i % 11) }).collect();
        for axes in [&[][..], &[0], &[1]] {
            cases.push(
                case(Input::given(&Array::new(&[37, 61], data.clone())), axes, false, "NaN and ties, large").tight(),
            );
        }
    }
    let gradient = if var.is_some() { REDUCTION } else { Gradient::None("a position") };
    Row { name, class, gradient, cases, wrong: Wrongs::Calls(wrongs(name, tensor)) }
}

fn wrongs(name: &'static str, op: Op<Tensor, Result<Tensor>>) -> Vec<Wrong> {
    let mut wrongs = vec![
        wrong(leak(format!("{name}: axis 2 of a tensor of shape [2, 3]; needs an axis below 2")), move |d| {
            op(&zeros(d, &[2, 3], F32)?, &[0, 2], false)
        }),
        wrong(leak(format!("{name}: axes [1, 0, 1] name axis 1 twice; name each once")), move |d| {
            op(&zeros(d, &[2, 3], F32)?, &[1, 0, 1], false)
        }),
    ];
    if name == "mean" {
        wrongs.push(wrong("mean: the tensor is i32; needs f32, f16: convert it by to_dtype", move |d| {
            op(&zeros(d, &[2], I32)?, &[], false)
        }));
    } else if name != "sum" {
        let message = format!(
            "{name}: a tensor of shape [2, 0] over axes [1] has no elements to choose from; needs at least one"
        );
        wrongs.push(wrong(leak(message), move |d| op(&zeros(d, &[2, 0], F32)?, &[1], false)));
    }
    wrongs
}
