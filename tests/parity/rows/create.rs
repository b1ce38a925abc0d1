//! Tensors made of numbers or of other tensors: full, zeros, ones, arange, from_slice, cat, stack, pad.

use kiln_autograd::Var;
use kiln_tensor::{DType, Device, Result, Tensor};

use super::binary::zeros;
use super::unary::leak;
use crate::reference::{Array, movement};
use crate::row::{Case, Domain, Gradient, LINEAR, Layout, Row, Wrongs, input, upload, wrapped, wrong};
use crate::run::devices;
use crate::tolerance::{Class, Expected};

use DType::{F16, F32, I32, U8, U32};
use Layout::{Contiguous, Offset, Tail, Transposed};

const TYPES: [DType; 5] = [F32, F16, I32, U32, U8];
const SHAPES: [&[usize]; 10] =
    [&[], &[1], &[63], &[64], &[65], &[7, 11, 13], &[0], &[3, 0, 5], &[2, 1, 3, 1, 2, 2], &[37, 61]];

pub fn rows() -> Vec<Row> {
    vec![
        filled("full", 3.0, |d, shape, dtype| Tensor::full(d, shape, 3.0, dtype)),
        filled("zeros", 0.0, |d, shape, dtype| Tensor::zeros(d, shape, dtype)),
        filled("ones", 1.0, |d, shape, dtype| Tensor::ones(d, shape, dtype)),
        arange(),
        from_slice(),
        cat(),
        stack(),
        pad(),
    ]
}

const MADE: Gradient = Gradient::None("is made of nothing that has one");

fn filled(name: &'static str, value: f64, op: fn(&Device, &[usize], DType) -> Result<Tensor>) -> Row {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for dtype in TYPES {
            let reference = move || Expected::new(Array::full(shape, value));
            let case =
                Case::creating(format!("{shape:?} {dtype}"), move |d| op(d, shape, dtype), reference).gives(dtype);
            cases.push(if shape == [37, 61] { case.tight() } else { case });
        }
    }
    if name == "full" {
        let of = |dtype, given: f64, kept: f64| {
            let reference = move || Expected::new(Array::full(&[5], kept));
            Case::creating(format!("{given} as {dtype}"), move |d| Tensor::full(d, [5], given, dtype), reference)
                .gives(dtype)
        };
        cases.extend([of(F32, -0.1, -0.1), of(F32, f64::NAN, f64::NAN), of(F32, f64::NEG_INFINITY, f64::NEG_INFINITY)]);
        cases.extend([of(I32, -7.0, -7.0), of(U32, 4e9, 4e9), of(U8, 255.0, 255.0)]);
    }
    // All three are `full` underneath, and say so.
    let op_name = "full";
    let wrong = Wrongs::Calls(vec![
        wrong(
            leak(format!(
                "{op_name}: shape [1048576, 1048576] has more than 4294967295 elements; split it into several tensors"
            )),
            move |d| op(d, &[1 << 20, 1 << 20], F32),
        ),
        wrong(
            leak(format!("{op_name}: a shape of 7 axes; needs at most 6: merge neighbouring axes by reshape")),
            move |d| op(d, &[1; 7], F32),
        ),
        wrong(
            leak(format!(
                "{op_name}: f16 on adapter {:?}, which has no 16-bit floats; use f32",
                devices().minimal.info().name
            )),
            move |_| op(&devices().minimal, &[2], F16),
        ),
    ]);
    Row { name, class: Class::Exact, gradient: MADE, cases, wrong }
}

fn arange() -> Row {
    let ranges = [
        (0.0, 1.0, 1.0),
        (0.0, 63.0, 1.0),
        (-5.0, 59.0, 1.0),
        (3.0, 68.0, 1.0),
        (10.0, -91.0, -1.0),
        (0.0, 7007.0, 7.0),
        (4.0, 4.0, 1.0),
        (0.0, 10.0, 3.0),
    ];
    let case = |(start, end, step): (f64, f64, f64), dtype: DType| {
        let reference = move || {
            let whole = Array::arange(start, end, step);
            Expected::new(if dtype == F32 { whole } else { whole.map(|v| wrapped(dtype, v)) })
        };
        let label = format!("{start}..{end} by {step} {dtype}");
        Case::creating(label, move |d| Tensor::arange(d, start, end, step, dtype), reference).gives(dtype)
    };
    let mut cases: Vec<Case> =
        ranges.into_iter().flat_map(|range| [F32, I32, U32].map(|dtype| case(range, dtype))).collect();
    cases.extend([(0.0, 1.0, 0.125), (1.0, -1.0, -0.25), (0.0, 100.0, 0.5)].map(|range| case(range, F32)));
    let wrong = Wrongs::Calls(vec![
        wrong("arange: start 0, end 5, step 0; needs finite numbers and a step that leads to end", |d| {
            Tensor::arange(d, 0.0, 5.0, 0.0, F32)
        }),
        wrong("arange: start 0, end 5, step -1; needs finite numbers and a step that leads to end", |d| {
            Tensor::arange(d, 0.0, 5.0, -1.0, I32)
        }),
        wrong("arange: start 0, end inf, step 1; needs finite numbers and a step that leads to end", |d| {
            Tensor::arange(d, 0.0, f64::INFINITY, 1.0, F32)
        }),
        wrong("arange: u8; needs f32, i32, u32: convert the result by to_dtype", |d| {
            Tensor::arange(d, 0.0, 5.0, 1.0, U8)
        }),
    ]);
    Row { name: "arange", class: Class::Round, gradient: MADE, cases, wrong }
}

/// Every other row uploads by it; here every type and shape is read back as it was.
fn from_slice() -> Row {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for dtype in TYPES {
            let value = Array::generate(shape, |index| index.iter().fold(1, |h, i| (h * 7 + i) % 251) as f64);
            let kept = value.clone();
            let reference = move || Expected::new(kept.clone());
            let case = Case::creating(format!("{shape:?} {dtype}"), move |d| upload(d, &value, dtype), reference);
            cases.push(case.gives(dtype));
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("from_slice: 3 elements for shape [2, 2], which needs 4; pass as many or another shape", |d| {
            Tensor::from_slice(d, [2, 2], &[1.0_f32, 2.0, 3.0])
        }),
        wrong("from_slice: 1 elements for shape [0], which needs 0; pass as many or another shape", |d| {
            Tensor::from_slice(d, [0], &[1_u8])
        }),
    ]);
    Row { name: "from_slice", class: Class::Exact, gradient: MADE, cases, wrong }
}

/// The shape and layout of each part, and the axis.
type Parts = (Vec<(&'static [usize], Layout)>, usize);

fn joining(
    name: &'static str,
    all: Vec<Parts>,
    ops: Joins,
    reference: fn(&[&Array], usize) -> Array,
    wrong: Wrongs,
) -> Row {
    let (tensors, vars) = ops;
    let mut cases = Vec::new();
    for (i, (parts, dim)) in all.into_iter().enumerate() {
        for dtype in TYPES {
            if dtype != F32 && i % 3 != 2 {
                continue;
            }
            let domain = if dtype.is_float() { Domain::Within(-9.0, 9.0) } else { Domain::Whole(0, 255) };
            let inputs = parts.iter().map(|(shape, layout)| input(shape, domain.clone()).layout(*layout).dtype(dtype));
            let case = Case::new(
                format!("{parts:?} along {dim} {dtype}"),
                inputs.collect(),
                move |x| tensors(&x.iter().collect::<Vec<_>>(), dim),
                move |x| Expected::new(reference(&x.iter().collect::<Vec<_>>(), dim)),
            )
            .gives(dtype);
            let case = if dtype == F32 {
                case.differentiable(move |x| vars(&x.iter().collect::<Vec<_>>(), dim))
            } else {
                case
            };
            cases.push(if parts[0].0.contains(&61) { case.tight() } else { case });
        }
    }
    Row { name, class: Class::Exact, gradient: LINEAR, cases, wrong }
}

type Joins = (fn(&[&Tensor], usize) -> Result<Tensor>, fn(&[&Var], usize) -> kiln_autograd::Result<Var>);

fn cat() -> Row {
    let all: Vec<Parts> = vec![
        (vec![(&[1], Contiguous), (&[1], Contiguous)], 0),
        (vec![(&[63], Contiguous)], 0),
        (vec![(&[63], Contiguous), (&[65], Offset), (&[1], Tail)], 0),
        (vec![(&[7, 11, 13], Contiguous), (&[7, 2, 13], Contiguous)], 1),
        (vec![(&[7, 11, 13], Transposed), (&[7, 11, 4], Offset)], 2),
        (vec![(&[3, 5], Contiguous), (&[2, 5], Transposed), (&[1, 5], Tail)], 0),
        (vec![(&[3, 0], Contiguous), (&[3, 4], Contiguous)], 1),
        (vec![(&[0, 4], Contiguous), (&[0, 4], Contiguous)], 0),
        (vec![(&[2, 3, 2, 2, 2, 3], Contiguous), (&[2, 3, 2, 2, 2, 1], Contiguous)], 5),
        (vec![(&[37, 61], Contiguous), (&[37, 3], Contiguous)], 1),
        (vec![(&[4, 64], Contiguous), (&[8, 64], Contiguous)], 0),
    ];
    let wrong = Wrongs::Calls(vec![
        wrong("cat: no tensors; needs at least one", |_| Tensor::cat(&[], 0)),
        wrong("cat: axis 2 of a tensor of shape [2, 3]; needs an axis below 2", |d| {
            Tensor::cat(&[&zeros(d, &[2, 3], F32)?], 2)
        }),
        wrong("cat: tensor 1 has shape [2, 4], the first [2, 3]; needs equal sizes on every axis but 0", |d| {
            Tensor::cat(&[&zeros(d, &[2, 3], F32)?, &zeros(d, &[2, 4], F32)?], 0)
        }),
        wrong("cat: tensor 1 is i32, the first f32; needs one type: convert one by to_dtype", |d| {
            Tensor::cat(&[&zeros(d, &[2], F32)?, &zeros(d, &[2], I32)?], 0)
        }),
        wrong("cat: tensors on two devices; read one and write it to the other device", |d| {
            Tensor::cat(&[&zeros(d, &[2], F32)?, &zeros(&devices().minimal, &[2], F32)?], 0)
        }),
    ]);
    joining("cat", all, (Tensor::cat, Var::cat), movement::cat, wrong)
}

fn stack() -> Row {
    let all: Vec<Parts> = vec![
        (vec![(&[], Contiguous), (&[], Offset)], 0),
        (vec![(&[1], Contiguous)], 1),
        (vec![(&[63], Contiguous), (&[63], Offset), (&[63], Tail)], 0),
        (vec![(&[65], Contiguous), (&[65], Offset)], 1),
        (vec![(&[7, 11, 13], Contiguous), (&[7, 11, 13], Transposed)], 0),
        (vec![(&[7, 11, 13], Contiguous), (&[7, 11, 13], Transposed)], 2),
        (vec![(&[7, 11, 13], Tail), (&[7, 11, 13], Offset)], 3),
        (vec![(&[3, 0], Contiguous), (&[3, 0], Contiguous)], 1),
        (vec![(&[2, 1, 3, 1, 2], Contiguous), (&[2, 1, 3, 1, 2], Contiguous)], 5),
        (vec![(&[37, 61], Contiguous), (&[37, 61], Contiguous)], 1),
    ];
    let wrong = Wrongs::Calls(vec![
        wrong("stack: no tensors; needs at least one", |_| Tensor::stack(&[], 0)),
        wrong("stack: tensor 1 has shape [3], the first [2]; needs one shape: use cat to join along an axis", |d| {
            Tensor::stack(&[&zeros(d, &[2], F32)?, &zeros(d, &[3], F32)?], 0)
        }),
        wrong(
            "stack: a new axis 2 for tensors of shape [2]; needs one of at most 1 and no more than 6 axes in all",
            |d| Tensor::stack(&[&zeros(d, &[2], F32)?], 2),
        ),
        wrong("stack: tensor 1 is u8, the first f32; needs one type: convert one by to_dtype", |d| {
            Tensor::stack(&[&zeros(d, &[2], F32)?, &zeros(d, &[2], U8)?], 0)
        }),
    ]);
    joining("stack", all, (Tensor::stack, Var::stack), movement::stack, wrong)
}

fn pad() -> Row {
    type Pad = (&'static [usize], Layout, &'static [(usize, usize)], f64);
    let all: Vec<Pad> = vec![
        (&[], Contiguous, &[], 9.0),
        (&[1], Contiguous, &[(2, 3)], 9.0),
        (&[63], Contiguous, &[(1, 0)], 0.0),
        (&[64], Tail, &[(0, 0)], 7.0),
        (&[65], Offset, &[(0, 3)], -1.0),
        (&[7, 11, 13], Contiguous, &[(0, 0), (1, 2), (3, 0)], 2.0),
        (&[7, 11, 13], Transposed, &[(1, 0), (0, 0), (0, 2)], f64::INFINITY),
        (&[13, 17], Offset, &[(2, 2), (3, 3)], 1.0),
        (&[0, 3], Contiguous, &[(1, 1), (0, 1)], 5.0),
        (&[3, 0], Contiguous, &[(1, 1), (0, 0)], 5.0),
        (&[2, 1, 3, 1, 2, 2], Contiguous, &[(0, 1), (1, 0), (0, 0), (2, 0), (0, 0), (1, 1)], 4.0),
        (&[37, 61], Contiguous, &[(1, 1), (0, 3)], 3.0),
    ];
    let mut cases = Vec::new();
    for (shape, layout, padding, value) in all {
        for dtype in TYPES {
            // An infinite border would cancel in no difference.
            let gradient = dtype == F32 && value.is_finite();
            if dtype != F32 && (value < 0.0 || value.is_infinite() || shape.len() < 2) {
                continue;
            }
            let domain = if dtype.is_float() { Domain::Within(-9.0, 9.0) } else { Domain::Whole(0, 255) };
            let case = Case::new(
                format!("{shape:?} {layout:?} {padding:?} {value} {dtype}"),
                vec![input(shape, domain).layout(layout).dtype(dtype)],
                move |x| x[0].pad(padding, value),
                move |x| Expected::new(movement::pad(&x[0], padding, value)),
            )
            .gives(dtype);
            let case = if gradient { case.differentiable(move |x| x[0].pad(padding, value)) } else { case };
            cases.push(if shape.contains(&61) { case.tight() } else { case });
        }
    }
    let wrong = Wrongs::Calls(vec![
        wrong("pad: 1 pairs for a tensor of shape [2, 3]; needs 2, one (before, after) per axis", |d| {
            zeros(d, &[2, 3], F32)?.pad(&[(1, 1)], 0.0)
        }),
        wrong(
            "pad: shape [18446744073709551615] has more than 4294967295 elements; split it into several tensors",
            |d| zeros(d, &[2], F32)?.pad(&[(usize::MAX, 1)], 0.0),
        ),
    ]);
    Row { name: "pad", class: Class::Exact, gradient: LINEAR, cases, wrong }
}
