//! Matrix products and the fully connected layer.

use kiln_tensor::ops::matmul;
use kiln_tensor::{DType, Tensor};

use super::binary::{Laid, zeros};
use crate::reference::{Array, matmul as reference, movement, reduce};
use crate::row::{Case, Domain, LINEAR, Layout, NO_GRADIENT, Row, Wrongs, both, input, wrong};
use crate::run::devices;
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32};
use Layout::{Contiguous, Offset, Tail, Transposed};

pub fn rows() -> Vec<Row> {
    vec![matmul(), addmm(), linear(), linear_relu(), linear_input_grad(), linear_weight_bias_grad()]
}

/// As `Tensor::matmul`: a vector on the left is a row, on the right a column, and that axis is dropped.
fn product(a: &Array, b: &Array) -> Array {
    let left = if a.rank() == 1 { movement::unsqueeze(a, 0) } else { a.clone() };
    let right = if b.rank() == 1 { movement::unsqueeze(b, 1) } else { b.clone() };
    let mut y = reference::matmul(&left, &right);
    if b.rank() == 1 {
        y = movement::squeeze(&y, y.rank() - 1);
    }
    if a.rank() == 1 {
        let row = y.rank() - if b.rank() == 1 { 1 } else { 2 };
        y = movement::squeeze(&y, row);
    }
    y
}

fn matmul() -> Row {
    let flat = |a: &[usize], b: &[usize]| [(a.to_vec(), Contiguous), (b.to_vec(), Contiguous)];
    let pairs: Vec<[Laid; 2]> = vec![
        flat(&[1, 1], &[1, 1]),
        flat(&[1], &[1]),
        flat(&[63], &[63]),
        flat(&[5], &[5, 7]),
        flat(&[5, 7], &[7]),
        flat(&[2, 3, 5], &[5]),
        flat(&[63, 65], &[65, 64]),
        flat(&[64, 64], &[64, 64]),
        flat(&[65, 7], &[7, 33]),
        flat(&[70, 36], &[36, 40]),
        flat(&[8, 1200], &[1200, 9]),
        flat(&[3, 5, 7], &[3, 7, 4]),
        flat(&[3, 5, 7], &[7, 4]),
        flat(&[5, 7], &[3, 7, 4]),
        flat(&[2, 1, 5, 7], &[3, 7, 4]),
        flat(&[0, 5], &[5, 3]),
        flat(&[4, 0], &[0, 3]),
        flat(&[2, 0, 3], &[3, 4]),
        [(vec![17, 13], Transposed), (vec![13, 19], Contiguous)],
        [(vec![17, 13], Contiguous), (vec![13, 19], Transposed)],
        [(vec![17, 13], Transposed), (vec![13, 19], Transposed)],
        [(vec![11, 13], Offset), (vec![13, 19], Offset)],
        [(vec![3, 11, 13], Tail), (vec![13, 19], Tail)],
        [(vec![3, 11, 13], Transposed), (vec![3, 13, 5], Offset)],
        // Too large to bind: rows, columns, the sum, batches.
        flat(&[61, 37], &[37, 3]),
        flat(&[3, 37], &[37, 61]),
        flat(&[3, 1201], &[1201, 2]),
        [(vec![3, 37], Contiguous), (vec![37, 61], Transposed)],
        flat(&[5, 17, 19], &[5, 19, 13]),
    ];
    let mut cases = Vec::new();
    for (i, pair) in pairs.iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![2, 6, 9, 13, 21].contains(&i) {
                continue;
            }
            let inputs =
                pair.iter().map(|(shape, layout)| input(shape, Domain::Within(-1.0, 1.0)).layout(*layout).dtype(dtype));
            let (tensors, vars) = both!(x => x[0].matmul(&x[1]));
            let case = Case::new(
                format!("{:?} {:?} by {:?} {:?} {dtype}", pair[0].0, pair[0].1, pair[1].0, pair[1].1),
                inputs.collect(),
                tensors,
                |x| {
                    Expected::joined(
                        product(&x[0], &x[1]),
                        product(&x[0].abs(), &x[1].abs()),
                        *x[0].shape.last().unwrap(),
                    )
                },
            )
            .gives(dtype);
            let case = if dtype == F32 { case.differentiable(vars) } else { case };
            cases.push(if i >= 24 { case.tight() } else { case });
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "matmul: shapes [2, 3] and [2, 3]: 3 columns on the left, 2 rows on the right; needs as many: transpose one side",
            |d| zeros(d, &[2, 3], F32)?.matmul(&zeros(d, &[2, 3], F32)?),
        ),
        wrong("matmul: shapes [] and [3]; needs at least one axis on each side: multiply scalars by mul", |d| {
            zeros(d, &[], F32)?.matmul(&zeros(d, &[3], F32)?)
        }),
        wrong(
            "matmul: shapes [2] and [3] do not broadcast; aligned at the end, sizes must be equal or 1: reshape or expand \
             one of them",
            |d| zeros(d, &[2, 4, 5], F32)?.matmul(&zeros(d, &[3, 5, 4], F32)?),
        ),
        wrong("matmul: the left side is i32; needs f32, f16: convert it by to_dtype", |d| {
            zeros(d, &[2, 2], I32)?.matmul(&zeros(d, &[2, 2], I32)?)
        }),
        wrong("matmul: f32 on the left, i32 on the right; needs one type: convert one by to_dtype", |d| {
            zeros(d, &[2, 2], F32)?.matmul(&zeros(d, &[2, 2], I32)?)
        }),
        wrong("matmul: tensors on two devices; read one and write it to the other device", |d| {
            zeros(d, &[2, 2], F32)?.matmul(&zeros(&devices().minimal, &[2, 2], F32)?)
        }),
    ]);
    Row { name: "matmul", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

fn addmm() -> Row {
    // The added tensor, rows, the sum's terms, columns.
    let all: [(&'static [usize], [usize; 3]); 9] = [
        (&[1, 1], [1, 1, 1]),
        (&[63, 64], [63, 65, 64]),
        (&[64, 36], [64, 64, 36]),
        (&[20], [16, 120, 20]),
        (&[7, 1], [7, 8, 21]),
        (&[], [33, 12, 16]),
        (&[8, 16], [8, 1200, 16]),
        (&[0, 3], [0, 5, 3]),
        (&[4, 3], [4, 0, 3]),
    ];
    let mut cases = Vec::new();
    for (added, [m, k, n]) in all {
        let of = |shape: &[usize]| input(shape, Domain::Within(-1.0, 1.0));
        let (tensors, vars) = both!(x => x[0].addmm(&x[1], &x[2]));
        let compute = move |x: &[Array]| product(&x[1], &x[2]).zip(&x[0].expand(&[m, n]), |p, a| p + a);
        let case = Case::new(
            format!("{added:?} and {m}x{k} by {k}x{n}"),
            vec![of(added), of(&[m, k]), of(&[k, n])],
            tensors,
            move |x| {
                let magnitude = compute(&x.iter().map(Array::abs).collect::<Vec<_>>());
                Expected::joined(compute(x), magnitude, k + 1)
            },
        );
        cases.push(case.differentiable(vars));
    }
    let wrong = Wrongs::Calls(vec![
        wrong("addmm: shapes [2, 3] and [3]; needs two matrices: take matmul for batches and vectors", |d| {
            zeros(d, &[2, 2], F32)?.addmm(&zeros(d, &[2, 3], F32)?, &zeros(d, &[3], F32)?)
        }),
        wrong(
            "addmm: shapes [2, 3] and [2, 3]: 3 columns on the left, 2 rows on the right; needs as many: transpose one side",
            |d| zeros(d, &[2, 3], F32)?.addmm(&zeros(d, &[2, 3], F32)?, &zeros(d, &[2, 3], F32)?),
        ),
        wrong("addmm: f32 on the left, i32 on the right; needs one type: convert one by to_dtype", |d| {
            zeros(d, &[2, 2], F32)?.addmm(&zeros(d, &[2, 3], F32)?, &zeros(d, &[3, 2], I32)?)
        }),
    ]);
    Row { name: "addmm", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

fn linear() -> Row {
    // Input, out_features, how input and weight lie, with a bias or without.
    let all: Vec<(&'static [usize], usize, Layout, Layout, bool)> = vec![
        (&[1], 1, Contiguous, Contiguous, true),
        (&[63], 5, Contiguous, Contiguous, true),
        (&[64, 65], 63, Contiguous, Contiguous, true),
        (&[7, 11], 13, Offset, Contiguous, true),
        (&[7, 11], 13, Contiguous, Offset, false),
        (&[7, 11], 13, Transposed, Transposed, true),
        (&[2, 3, 5], 4, Tail, Tail, true),
        (&[2, 3, 5], 4, Contiguous, Contiguous, false),
        (&[0, 5], 4, Contiguous, Contiguous, true),
        (&[3, 0], 4, Contiguous, Contiguous, true),
        (&[16, 120], 84, Contiguous, Contiguous, true),
        (&[37, 41], 31, Contiguous, Contiguous, true),
        (&[2, 41], 37, Contiguous, Contiguous, false),
    ];
    let mut cases = Vec::new();
    for (i, (shape, out_features, x_layout, w_layout, with_bias)) in all.into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![2, 5, 7].contains(&i) {
                continue;
            }
            let in_features = *shape.last().unwrap();
            let of = |shape: &[usize]| input(shape, Domain::Within(-1.0, 1.0)).dtype(dtype);
            let mut inputs = vec![of(shape).layout(x_layout), of(&[out_features, in_features]).layout(w_layout)];
            if with_bias {
                inputs.push(of(&[out_features]).layout(x_layout));
            }
            let (tensors, vars) = both!(x => x[0].linear(&x[1], x.get(2)));
            let compute = |x: &[Array]| {
                let product = product(&x[0], &movement::transpose(&x[1], 0, 1));
                x.get(2).map_or(product.clone(), |bias| product.zip(bias, |p, b| p + b))
            };
            let case = Case::new(
                format!("{shape:?} {x_layout:?} to {out_features} {w_layout:?} {dtype}"),
                inputs,
                tensors,
                move |x| {
                    let magnitude = compute(&x.iter().map(Array::abs).collect::<Vec<_>>());
                    Expected::joined(compute(x), magnitude, *x[0].shape.last().unwrap() + 1)
                },
            )
            .gives(dtype);
            let case = if dtype == F32 { case.differentiable(vars) } else { case };
            cases.push(if i >= 11 { case.tight() } else { case });
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("linear: weight has shape [3]; needs [out_features, in_features]", |d| {
            zeros(d, &[2, 3], F32)?.linear(&zeros(d, &[3], F32)?, None)
        }),
        wrong(
            "linear: input has shape [2, 3], weight [5, 4]; the input's last axis must be 4: flatten the input or change \
             in_features",
            |d| zeros(d, &[2, 3], F32)?.linear(&zeros(d, &[5, 4], F32)?, None),
        ),
        wrong("linear: bias has shape [4] of f32, weight [5, 3] of f32; needs a bias of [5] of f32", |d| {
            zeros(d, &[2, 3], F32)?.linear(&zeros(d, &[5, 3], F32)?, Some(&zeros(d, &[4], F32)?))
        }),
        wrong("linear: the left side is i32; needs f32, f16: convert it by to_dtype", |d| {
            zeros(d, &[2, 3], I32)?.linear(&zeros(d, &[5, 3], I32)?, None)
        }),
    ]);
    Row { name: "linear", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

fn linear_relu() -> Row {
    let all: [(&'static [usize], usize); 8] = [
        (&[1], 1),
        (&[63], 5),
        (&[64, 65], 63),
        (&[16, 120], 84),
        (&[7, 36], 20),
        (&[2, 3, 8], 4),
        (&[0, 5], 4),
        (&[3, 0], 4),
    ];
    let mut cases = Vec::new();
    for (shape, out_features) in all {
        let of = |shape: &[usize]| input(shape, Domain::Within(-1.0, 1.0));
        let in_features = *shape.last().unwrap();
        let case = Case::new(
            format!("{shape:?} to {out_features}"),
            vec![of(shape), of(&[out_features, in_features]), of(&[out_features])],
            |x: &[Tensor]| matmul::linear_relu(&x[0], &x[1], Some(&x[2])),
            move |x| {
                let compute = |x: &[Array]| {
                    let product = product(&x[0], &movement::transpose(&x[1], 0, 1));
                    product.zip(&x[2], |p, b| p + b)
                };
                let magnitude = compute(&x.iter().map(Array::abs).collect::<Vec<_>>());
                Expected::joined(compute(x).map(|y| y.max(0.0)), magnitude, in_features + 1)
            },
        );
        cases.push(case.differentiable(|x| x[0].linear_relu(&x[1], Some(&x[2]))));
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "linear_relu: input has shape [2, 3], weight [4, 5]; the input's last axis must be 5: flatten the input or change \
             in_features",
            |d| matmul::linear_relu(&zeros(d, &[2, 3], F32)?, &zeros(d, &[4, 5], F32)?, None),
        ),
        wrong("linear_relu: weight has shape [5]; needs [out_features, in_features]", |d| {
            matmul::linear_relu(&zeros(d, &[2, 5], F32)?, &zeros(d, &[5], F32)?, None)
        }),
    ]);
    Row { name: "linear_relu", class: Class::Dot, gradient: LINEAR, cases, wrong }
}

/// The gradient of a fully connected layer's input, and the same before a ReLU of which the input is the result.
fn linear_input_grad() -> Row {
    let all: [(&'static [usize], usize, usize); 7] = [
        (&[1], 1, 1),
        (&[], 5, 7),
        (&[64], 65, 63),
        (&[16], 120, 84),
        (&[2, 6], 8, 20),
        (&[0], 5, 4),
        (&[4], 16, 1200),
    ];
    let mut cases = Vec::new();
    for (i, (rows, inputs, outputs)) in all.into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && i != 3 {
                continue;
            }
            for rectified in [false, true] {
                let of = |shape: &[usize]| input(shape, Domain::Within(-1.0, 1.0)).dtype(dtype);
                let lines = |columns: usize| of(&[rows, &[columns]].concat());
                let case = Case::new(
                    format!("{rows:?} rows, {inputs} to {outputs}, rectified: {rectified} {dtype}"),
                    vec![lines(outputs), of(&[outputs, inputs]), lines(inputs)],
                    move |x: &[Tensor]| matmul::linear_input_grad(&x[0], &x[1], rectified.then_some(&x[2])),
                    move |x| {
                        let dx = |x: &[Array]| product(&x[0], &x[1]);
                        let magnitude = dx(&x.iter().map(Array::abs).collect::<Vec<_>>());
                        let passed = dx(x).zip(&x[2], |dx, x| if x > 0.0 || !rectified { dx } else { 0.0 });
                        Expected::joined(passed, magnitude, outputs)
                    },
                );
                cases.push(case.gives(dtype));
            }
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "linear_input_grad: dy has shape [3, 5] of f32, weight [5, 4], the input [3, 3] of f32; needs [.., out_features], \
             [out_features, in_features] and [.., in_features] of one type, with the same leading axes",
            |d| {
                let x = zeros(d, &[3, 3], F32)?;
                matmul::linear_input_grad(&zeros(d, &[3, 5], F32)?, &zeros(d, &[5, 4], F32)?, Some(&x))
            },
        ),
        wrong("linear_input_grad: f32 on the left, i32 on the right; needs one type: convert one by to_dtype", |d| {
            let x = zeros(d, &[3, 4], F32)?;
            matmul::linear_input_grad(&zeros(d, &[3, 5], F32)?, &zeros(d, &[5, 4], I32)?, Some(&x))
        }),
    ]);
    Row { name: "matmul::linear_input_grad", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}

/// The gradients of a fully connected layer's weight and bias, one after the other.
fn linear_weight_bias_grad() -> Row {
    // The layer's rows, its inputs and outputs.
    let all: [(&'static [usize], usize, usize); 9] = [
        (&[1], 1, 1),
        (&[], 5, 7),
        (&[64], 65, 63),
        (&[64], 120, 84),
        (&[20], 36, 12),
        (&[2, 6], 8, 20),
        (&[0], 5, 4),
        (&[3, 700], 4, 16),
        (&[20], 36, 1),
    ];
    let mut cases = Vec::new();
    for (i, (rows, inputs, outputs)) in all.into_iter().enumerate() {
        for dtype in [F32, F16] {
            if dtype == F16 && ![2, 4].contains(&i) {
                continue;
            }
            let of = |columns: usize| input(&[rows, &[columns]].concat(), Domain::Within(-1.0, 1.0)).dtype(dtype);
            let count = rows.iter().product::<usize>();
            let case = Case::new(
                format!("{rows:?} rows, {inputs} to {outputs} {dtype}"),
                vec![of(inputs), of(outputs)],
                |x: &[Tensor]| {
                    let (dw, db) = matmul::linear_weight_bias_grad(&x[0], &x[1])?;
                    Tensor::cat(&[&dw.flatten(..)?, &db], 0)
                },
                move |x| {
                    let both = |x: &[Array]| {
                        let flat = [&x[0], &x[1]].map(|x| movement::reshape(x, &[count, *x.shape.last().unwrap()]));
                        let dw = reference::matmul(&movement::transpose(&flat[1], 0, 1), &flat[0]);
                        movement::cat(&[&movement::flatten(&dw, 0, 1), &reduce::sum(&flat[1], &[0], false)], 0)
                    };
                    Expected::joined(both(x), both(&[x[0].abs(), x[1].abs()]), count)
                },
            );
            cases.push(case.gives(dtype));
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong(
            "linear_weight_bias_grad: x has shape [3, 4], dy [2, 5]; needs [.., in_features] and [.., out_features] with the \
             same leading axes",
            |d| Ok(matmul::linear_weight_bias_grad(&zeros(d, &[3, 4], F32)?, &zeros(d, &[2, 5], F32)?)?.0),
        ),
        wrong(
            "linear_weight_bias_grad: f32 on the left, i32 on the right; needs one type: convert one by to_dtype",
            |d| Ok(matmul::linear_weight_bias_grad(&zeros(d, &[3, 4], F32)?, &zeros(d, &[3, 5], I32)?)?.0),
        ),
    ]);
    Row { name: "matmul::linear_weight_bias_grad", class: Class::Dot, gradient: NO_GRADIENT, cases, wrong }
}
