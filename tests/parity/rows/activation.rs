//! Activations beyond ReLU and their gradients.

use kiln_autograd::Var;
use kiln_tensor::ops::activation::{self as ops, GeluApproximate};
use kiln_tensor::{DType, Result, Tensor};

use super::binary::zeros;
use super::unary::{leak, shapes};
use crate::recorded::Recorded;
use crate::reference::Array;
use crate::row::{Case, Domain, Input, LINEAR, Layout, NO_GRADIENT, Row, Wrongs, input, wrong};
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};

pub fn rows() -> Vec<Row> {
    activations()
        .into_iter()
        .flat_map(|activation| [activation.row(), activation.gradient_row()])
        .chain(prelu())
        .collect()
}

/// An activation of one number, with PyTorch's name in the recorded values.
#[derive(Clone, Copy)]
struct Activation {
    recorded: &'static str,
    name: &'static str,
    gradient: &'static str,
    tensor: fn(&Tensor) -> Result<Tensor>,
    var: fn(&Var) -> kiln_autograd::Result<Var>,
    grad: fn(&Tensor, &Tensor) -> Result<Tensor>,
    reference: fn(f64) -> f64,
    slope: fn(f64) -> f64,
}

fn activations() -> [Activation; 4] {
    use GeluApproximate::{None, Tanh};
    let of = Activation {
        recorded: "leaky_relu",
        name: "leaky_relu",
        gradient: "activation::leaky_relu_grad",
        tensor: |x| x.leaky_relu(0.25),
        var: |x| x.leaky_relu(0.25),
        grad: |x, dy| ops::leaky_relu_grad(x, dy, 0.25),
        reference: |x| if x > 0.0 { x } else { 0.25 * x },
        slope: |x| if x > 0.0 { 1.0 } else { 0.25 },
    };
    [
        of,
        Activation {
            recorded: "silu",
            name: "silu",
            gradient: "activation::silu_grad",
            tensor: Tensor::silu,
            var: Var::silu,
            grad: ops::silu_grad,
            reference: |x| x * sigmoid(x),
            slope: |x| sigmoid(x) * (1.0 + x * sigmoid(-x)),
        },
        Activation {
            recorded: "gelu",
            name: "gelu",
            gradient: "activation::gelu_grad",
            tensor: |x| x.gelu(None),
            var: |x| x.gelu(None),
            grad: |x, dy| ops::gelu_grad(x, dy, None),
            reference: |x| x * normal_share(x),
            slope: |x| normal_share(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        },
        Activation {
            recorded: "gelu_tanh",
            name: "gelu",
            gradient: "activation::gelu_grad",
            tensor: |x| x.gelu(Tanh),
            var: |x| x.gelu(Tanh),
            grad: |x, dy| ops::gelu_grad(x, dy, Tanh),
            reference: |x| x * sigmoid(2.0 * inner(x)),
            slope: |x| {
                let (s, steep) = (sigmoid(2.0 * inner(x)), 2.0 * (2.0 / std::f64::consts::PI).sqrt());
                s + x * s * (1.0 - s) * steep * (1.0 + 3.0 * 0.044715 * x * x)
            },
        },
    ]
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn inner(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))
}

/// `(1 + erf(x / sqrt 2)) / 2`: half and the density times `x + x^3 / 3 + x^5 / 15 + ..`, and the tail's continued
/// fraction where that series is long.
fn normal_share(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() > 5.0 {
        let fraction = (1..200).rev().fold(x.abs(), |rest, k| x.abs() + f64::from(k) / rest);
        let tail = density / fraction;
        return if x < 0.0 { tail } else { 1.0 - tail };
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..200 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + density * sum
}

/// Results are sums of products of numbers of this size.
fn expected(x: &Array, value: Array) -> Expected {
    let size = x.map(|v| v.abs() + 1e-3);
    Expected::joined(value, size, 2)
}

impl Activation {
    fn case(self, label: String, x: Input) -> Case {
        Case::new(label, vec![x], move |x| (self.tensor)(&x[0]), move |x| expected(&x[0], x[0].map(self.reference)))
    }

    fn row(self) -> Row {
        let mut cases = Vec::new();
        for (i, (shape, layout)) in shapes().into_iter().enumerate() {
            let x = input(&shape, Domain::Apart(-4.0, 4.0, &[0.0])).layout(layout);
            let made = self
                .case(format!("{} {shape:?} {layout:?}", self.recorded), x)
                .differentiable(move |x| (self.var)(&x[0]));
            cases.push(if shape == [37, 61] { made.tight() } else { made });
            if [4, 6].contains(&i) {
                let x = input(&shape, Domain::Within(-4.0, 4.0)).layout(layout).dtype(F16);
                cases.push(self.case(format!("{} {shape:?} {layout:?} f16", self.recorded), x).gives(F16));
            }
        }
        cases.push(self.case(format!("{} wide", self.recorded), input(&[1000], Domain::Within(-30.0, 30.0))));
        let far = Array::new(&[6], vec![1e20, -1e20, f64::NAN, 0.0, 1e-30, f64::INFINITY]);
        let special = Case::new(
            format!("{} special", self.recorded),
            vec![Input::given(&far)],
            move |x| (self.tensor)(&x[0]),
            move |x| {
                expected(
                    &x[0].map(|_| 1.0),
                    x[0].map(|v| if v < -1e9 && self.name != "leaky_relu" { 0.0 } else { (self.reference)(v) }),
                )
            },
        );
        cases.push(special);
        let recorded = Recorded::open("activation");
        let made = self.case(format!("recorded {}", self.recorded), Input::given(recorded.whole("x")));
        cases.push(made.recorded(recorded.whole(&format!("{}.y", self.recorded))));
        let name = self.name;
        let mut calls = vec![wrong(
            leak(format!("{name}: the tensor is i32; needs {}: convert it by to_dtype", "f32, f16")),
            move |d| (self.tensor)(&zeros(d, &[3], I32)?),
        )];
        calls
            .push(wrong(leak(format!("{name}: the tensor is u8; needs f32, f16: convert it by to_dtype")), move |d| {
                (self.tensor)(&zeros(d, &[3], DType::U8)?)
            }));
        if name == "leaky_relu" {
            calls.push(wrong("leaky_relu: negative_slope inf; needs a finite number", |d| {
                zeros(d, &[3], F32)?.leaky_relu(f64::INFINITY)
            }));
        }
        Row { name, class: Class::Sum, gradient: LINEAR, cases, wrong: Wrongs::Calls(calls) }
    }

    fn gradient_row(self) -> Row {
        let case = |label: String, inputs: Vec<Input>| {
            Case::new(
                label,
                inputs,
                move |x| (self.grad)(&x[0], &x[1]),
                move |x| {
                    let value = x[0].zip(&x[1], |x, dy| dy * (self.slope)(x));
                    let size = x[0].zip(&x[1], |x, dy| dy.abs() * (1.0 + x.abs()));
                    Expected::joined(value, size, 2)
                },
            )
        };
        let mut cases = Vec::new();
        for (shape, layout) in shapes() {
            let of = |domain: Domain| input(&shape, domain).layout(layout);
            let inputs = vec![of(Domain::Apart(-4.0, 4.0, &[0.0])), of(Domain::Within(-2.0, 2.0))];
            cases.push(case(format!("{} {shape:?} {layout:?}", self.recorded), inputs));
        }
        let recorded = Recorded::open("activation");
        let inputs = ["x", "dy"].map(|tensor| Input::given(recorded.whole(tensor)));
        let made = case(format!("recorded {}", self.recorded), inputs.to_vec());
        cases.push(made.recorded(recorded.whole(&format!("{}.dx", self.recorded))));
        Row {
            name: self.gradient,
            class: Class::Sum,
            gradient: NO_GRADIENT,
            cases,
            wrong: pair_wrongs(self.gradient, self.grad),
        }
    }
}

fn pair_wrongs(name: &'static str, call: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Wrongs {
    let short = name.trim_start_matches("activation::");
    Wrongs::Calls(vec![
        wrong(
            leak(format!(
                "{short}: shapes [2, 3] and [2] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or \
                 expand one of them"
            )),
            move |d| call(&zeros(d, &[2, 3], F32)?, &zeros(d, &[2], F32)?),
        ),
        wrong(
            leak(format!("{short}: f32 and i32 tensors; needs one type for all: convert one by to_dtype")),
            move |d| call(&zeros(d, &[2, 3], F32)?, &zeros(d, &[2, 3], I32)?),
        ),
    ])
}

/// Shapes of x and of the weight.
fn prelu_shapes() -> Vec<(Vec<usize>, Vec<usize>, Layout)> {
    let mut all: Vec<_> = shapes().into_iter().map(|(shape, layout)| (shape, vec![1], layout)).collect();
    all.extend([
        (vec![4, 3], vec![3], Layout::Contiguous),
        (vec![2, 5, 7], vec![5], Layout::Transposed),
        (vec![2, 3, 5, 7], vec![3], Layout::Offset),
    ]);
    all
}

fn prelu() -> [Row; 2] {
    let formula = |x: f64, w: f64| if x > 0.0 { x } else { w * x };
    // The weight of x's elements.
    let along = |x: &Array, weight: &Array| -> Array {
        let mut shape = vec![1; x.rank().max(1)];
        if weight.numel() > 1 {
            shape[1] = weight.numel();
        }
        Array::new(&shape, weight.data.clone())
    };
    let inputs = |shape: &[usize], weight: &[usize], layout| {
        vec![input(shape, Domain::Apart(-4.0, 4.0, &[0.0])).layout(layout), input(weight, Domain::Within(-1.0, 1.0))]
    };
    let (mut cases, mut slopes) = (Vec::new(), Vec::new());
    for (shape, weight, layout) in prelu_shapes() {
        let label = format!("{shape:?} {weight:?} {layout:?}");
        let made = Case::new(
            label.clone(),
            inputs(&shape, &weight, layout),
            |x| x[0].prelu(&x[1]),
            move |x| {
                let y = x[0].zip(&along(&x[0], &x[1]), formula);
                let y = Array::new(&x[0].shape, y.data);
                expected(&x[0], y)
            },
        );
        cases.push(made.differentiable(|x| x[0].prelu(&x[1])));
        for which in [0, 1] {
            let mut inputs = inputs(&shape, &weight, layout);
            inputs.push(input(&shape, Domain::Within(-2.0, 2.0)).layout(layout));
            slopes.push(Case::new(
                format!("{label} {which}"),
                inputs,
                move |x| Ok(ops::prelu_grad(&x[0], &x[1], &x[2])?[which].clone()),
                move |x| {
                    let weight = along(&x[0], &x[1]);
                    let flat = |value: Array, shape: &[usize]| Array::new(shape, value.data);
                    let terms = x[0].zip(&x[2], |x, dy| if x > 0.0 { 0.0 } else { x * dy });
                    let terms = flat(terms.clone(), if x[0].rank() == 0 { &[1] } else { &terms.shape });
                    if which == 1 {
                        let sum = |terms: &Array| flat(terms.sum_to(&weight.shape), &x[1].shape);
                        return Expected::joined(sum(&terms), sum(&terms.abs()), x[0].numel());
                    }
                    let kept = x[0].zip(&weight, |x, w| if x > 0.0 { 1.0 } else { w });
                    let value = flat(kept.zip(&x[2], |k, dy| k * dy), &x[0].shape);
                    Expected::joined(value.clone(), value.abs(), 2)
                },
            ));
        }
    }
    let recorded = Recorded::open("activation");
    let given = ["x4", "prelu.weight"].map(|tensor| Input::given(recorded.whole(tensor)));
    let made = Case::new(
        "recorded",
        given.to_vec(),
        |x| x[0].prelu(&x[1]),
        move |x| expected(&x[0], x[0].zip(&along(&x[0], &x[1]), formula)),
    );
    cases.push(made.recorded(recorded.whole("prelu.y")));
    let message =
        "weight has shape [4], input [2, 3]; needs one element, or one for each channel of [batch, channels, ..]";
    let wrongs = |op: &'static str, call: fn(&Tensor, &Tensor) -> Result<Tensor>| {
        Wrongs::Calls(vec![
            wrong(leak(format!("{op}: {message}")), move |d| call(&zeros(d, &[2, 3], F32)?, &zeros(d, &[4], F32)?)),
            wrong(leak(format!("{op}: the tensor is i32; needs f32, f16: convert it by to_dtype")), move |d| {
                call(&zeros(d, &[2, 3], I32)?, &zeros(d, &[3], F32)?)
            }),
        ])
    };
    let grad: fn(&Tensor, &Tensor) -> Result<Tensor> = |x, weight| Ok(ops::prelu_grad(x, weight, x)?[0].clone());
    [
        Row { name: "prelu", class: Class::Sum, gradient: LINEAR, cases, wrong: wrongs("prelu", Tensor::prelu) },
        Row {
            name: "activation::prelu_grad",
            class: Class::Sum,
            gradient: NO_GRADIENT,
            cases: slopes,
            wrong: wrongs("prelu_grad", grad),
        },
    ]
}
