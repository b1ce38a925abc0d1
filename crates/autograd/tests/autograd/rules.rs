//! A look at every rule: its gradients against central differences, and its conventions where a function has no
//! derivative.

use kiln_autograd::{GradcheckOptions, Result, Tape, Var, gradcheck};
use kiln_tensor::ops::conv::Conv2dOptions;
use kiln_tensor::ops::pool::{AvgPool2dOptions, MaxPool2dOptions};
use kiln_tensor::{DType, Tensor};

use crate::{DEVICE, gradient, tensor};

/// Numbers between `low` and `high` in no order, no two the same.
fn numbers(shape: &[usize], low: f32, high: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    // A multiple of an irrational number, modulo 1: spread evenly (Weyl's sequence).
    let values: Vec<f32> = (0..count).map(|i| low + (high - low) * ((0.37 + i as f32 * 0.618_034) % 1.0)).collect();
    tensor(shape, &values)
}

fn check(inputs: &[Tensor], function: impl Fn(&[Var]) -> Result<Var>) {
    let report = gradcheck(function, inputs, GradcheckOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    assert!(report.slopes.iter().any(|slope| slope.numeric != 0.0), "the function does not move");
}

macro_rules! unary_rules {
    ($($name:ident: $low:expr, $high:expr;)*) => {
        $(#[test]
        fn $name() {
            check(&[numbers(&[3, 5], $low, $high)], |x| x[0].$name());
        })*
    };
}

// The ranges keep kinks and poles out.
unary_rules! {
    neg: -2.0, 2.0;
    abs: 0.1, 2.0;
    exp: -2.0, 2.0;
    log: 0.5, 3.0;
    sqrt: 0.5, 3.0;
    rsqrt: 0.5, 3.0;
    sin: -3.0, 3.0;
    cos: -3.0, 3.0;
    tanh: -2.0, 2.0;
    sigmoid: -2.0, 2.0;
    relu: 0.1, 2.0;
    reciprocal: 0.5, 3.0;
    square: -2.0, 2.0;
}

#[test]
fn negative_sides() {
    check(&[numbers(&[7], -2.0, -0.1)], |x| x[0].abs());
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[4], &[-1.0, 0.0, -0.0, 2.0]));
    let dy = tensor(&[4], &[5.0; 4]);
    assert_eq!(gradient(&x.relu().unwrap().backward_with(&dy).unwrap(), &x), [0.0, 0.0, 0.0, 5.0]);
    assert_eq!(gradient(&x.abs().unwrap().backward_with(&dy).unwrap(), &x), [-5.0, 0.0, 0.0, 5.0]);
}

#[test]
fn steps_have_a_zero_gradient() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2], &[-1.4, 1.6]));
    for step in [Var::sign, Var::floor, Var::ceil, Var::round] {
        let gradients = step(&x).unwrap().sum(..).unwrap().backward().unwrap();
        assert_eq!(gradient(&gradients, &x), [0.0, 0.0]);
    }
}

#[test]
fn arithmetic() {
    let sides = [numbers(&[2, 3, 4], 0.5, 2.0), numbers(&[3, 1], 0.5, 2.5)];
    check(&sides, |x| x[0].add(&x[1]));
    check(&sides, |x| x[0].sub(&x[1]));
    check(&sides, |x| x[0].mul(&x[1]));
    check(&sides, |x| x[0].div(&x[1]));
    check(&sides, |x| x[1].div(&x[0]));
    check(&sides, |x| x[0].pow(&x[1]));
    check(&sides, |x| Ok(&(&(&x[0] + &x[1]) * &(&x[0] - &x[1])) / &-&x[1]));
}

#[test]
fn powers_at_zero_are_as_in_pytorch() {
    let tape = Tape::train();
    let (a, b) = (tape.leaf(tensor(&[3], &[0.0, 0.0, 3.0])), tape.leaf(tensor(&[3], &[0.0, 2.0, 0.0])));
    let gradients = a.pow(&b).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &a), [0.0, 0.0, 0.0]);
    let db = gradient(&gradients, &b);
    assert_eq!(db[..2], [0.0, 0.0]);
    assert!((db[2] - 3f32.ln()).abs() < 1e-6);
    let zero = tape.leaf(tensor(&[1], &[0.0]));
    assert_eq!(gradient(&zero.pow_scalar(0.0).unwrap().backward().unwrap(), &zero), [0.0]);
}

#[test]
fn larger_and_smaller() {
    let sides = [numbers(&[2, 9], -1.0, 1.0), tensor(&[1, 9], &[-0.8, 0.03, 0.7, -0.2, 0.41, 0.9, -0.55, 0.27, 0.0])];
    check(&sides, |x| x[0].maximum(&x[1]));
    check(&sides, |x| x[0].minimum(&x[1]));
    let tape = Tape::train();
    let (a, b) = (tape.leaf(tensor(&[3], &[1.0, 2.0, 3.0])), tape.leaf(tensor(&[3], &[2.0, 2.0, 2.0])));
    let dy = tensor(&[3], &[4.0; 3]);
    let gradients = a.maximum(&b).unwrap().backward_with(&dy).unwrap();
    assert_eq!((gradient(&gradients, &a), gradient(&gradients, &b)), (vec![0.0, 2.0, 4.0], vec![4.0, 2.0, 0.0]));
    let gradients = a.minimum(&b).unwrap().backward_with(&dy).unwrap();
    assert_eq!((gradient(&gradients, &a), gradient(&gradients, &b)), (vec![4.0, 2.0, 0.0], vec![0.0, 2.0, 4.0]));
}

#[test]
fn selection() {
    let condition = Tensor::from_slice(&DEVICE, [2, 3], &[1u8, 0, 1, 0, 0, 1]).unwrap();
    check(&[numbers(&[2, 3], -1.0, 1.0), numbers(&[3], -1.0, 1.0)], |x| Var::where_(&condition, &x[0], &x[1]));
}

#[test]
fn scalars() {
    let x = [numbers(&[11], 0.3, 2.0)];
    check(&x, |x| x[0].add_scalar(3.0));
    check(&x, |x| x[0].mul_scalar(-1.5));
    check(&x, |x| x[0].pow_scalar(2.5));
    check(&x, |x| x[0].pow_scalar(-1.0));
    check(&[tensor(&[5], &[-2.0, -0.5, 0.1, 0.5, 2.0])], |x| x[0].clamp(-1.0, 1.0));
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[4], &[-2.0, -1.0, 1.0, 2.0]));
    let y = x.clamp(-1.0, 1.0).unwrap();
    assert_eq!(gradient(&y.backward_with(&tensor(&[4], &[3.0; 4])).unwrap(), &x), [0.0, 3.0, 3.0, 0.0]);
    if DEVICE.info().features.f16 {
        // f16 rounds 0.1 down and 0.3 up; both are at their bound all the same.
        let x = tape.leaf(tensor(&[4], &[0.05, 0.1, 0.3, 0.35]));
        let y = x.to_dtype(DType::F16).unwrap().clamp(0.1, 0.3).unwrap();
        let dy = tensor(&[4], &[3.0; 4]).to_dtype(DType::F16).unwrap();
        assert_eq!(gradient(&y.backward_with(&dy).unwrap(), &x), [0.0, 3.0, 3.0, 0.0]);
    }
}

#[test]
fn views() {
    let x = [numbers(&[2, 3, 4], -1.0, 1.0)];
    check(&x, |x| x[0].reshape([4, 6])?.square());
    check(&x, |x| x[0].flatten(1..=2)?.square());
    check(&x, |x| x[0].permute([2, 0, 1])?.square());
    check(&x, |x| x[0].transpose(0, 2)?.square());
    check(&x, |x| x[0].flatten(0..=1)?.t()?.square());
    check(&x, |x| x[0].unsqueeze(1)?.square()?.squeeze(1));
    check(&x, |x| x[0].unsqueeze(0)?.expand([5, 2, 3, 4])?.square());
    check(&x, |x| x[0].permute([1, 2, 0])?.contiguous()?.square());
    check(&x, |x| x[0].narrow(1, 1, 2)?.square());
    check(&x, |x| x[0].slice(2, 1, 3, 1)?.square());
}

#[test]
fn slices_with_steps_of_any_reach() {
    let tape = Tape::train();
    for (size, start, end, step) in [(7, 0, 7, 2), (7, 1, 7, 3), (7, 1, 6, 4), (7, 6, 7, 5), (7, 2, 2, 2), (3, 0, 3, 9)]
    {
        let x = tape.leaf(tensor(&[2, size, 2], &vec![1.0; 4 * size]));
        let y = x.slice(1, start, end, step).unwrap();
        let dy: Vec<f32> = (1..=y.numel()).map(|value| value as f32).collect();
        let mut expected = vec![0.0; 4 * size];
        for outer in 0..2 {
            for (row, at) in (start..end).step_by(step).enumerate() {
                for inner in 0..2 {
                    let rows = y.shape()[1];
                    expected[(outer * size + at) * 2 + inner] = dy[(outer * rows + row) * 2 + inner];
                }
            }
        }
        let gradients = y.backward_with(&tensor(y.shape(), &dy)).unwrap();
        assert_eq!(gradient(&gradients, &x), expected, "{start}..{end} by {step} of {size}");
    }
    // Six axes are the most that a tensor has: the rule must not need a seventh.
    check(&[numbers(&[2, 1, 2, 5, 1, 2], -1.0, 1.0)], |x| x[0].slice(3, 0, 5, 2)?.square());
}

#[test]
fn conversion() {
    if !DEVICE.info().features.f16 {
        return;
    }
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2], &[1.0, 2.0]));
    let y = x.to_dtype(DType::F16).unwrap().mul_scalar(3.0).unwrap().to_dtype(DType::F32).unwrap();
    let gradients = y.sum(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [3.0, 3.0]);
}

#[test]
fn joining() {
    let parts = [numbers(&[2, 3], -1.0, 1.0), numbers(&[2, 1], 0.0, 2.0), numbers(&[2, 3], 1.0, 2.0)];
    check(&parts, |x| Var::cat(&[&x[0], &x[1], &x[2], &x[0]], 1)?.square());
    check(&[parts[0].clone(), parts[2].clone()], |x| Var::stack(&[&x[0], &x[1]], 1)?.square());
    check(&parts[..1], |x| x[0].pad(&[(1, 0), (2, 3)], 4.0)?.square());
}

#[test]
fn reductions() {
    let x = [numbers(&[2, 3, 4], -1.0, 1.0)];
    for dims in [&[][..], &[1], &[2, 0]] {
        check(&x, |x| x[0].sum(dims)?.square());
        check(&x, |x| x[0].mean(dims)?.square());
    }
    check(&x, |x| x[0].sum_keepdim([0, 2])?.square());
    check(&x, |x| x[0].mean_keepdim([0, 2])?.square());
    // Far enough apart that the step does not change which is the largest.
    let apart = [tensor(&[2, 3], &[1.0, -2.0, 3.0, 0.5, 0.1, -4.0])];
    check(&apart, |x| x[0].max_keepdim(..)?.square());
    check(&apart, |x| x[0].min(..)?.square());
    check(&apart, |x| x[0].max(0)?.square());
    check(&apart, |x| x[0].min(0)?.square());
    check(&apart, |x| x[0].max(-1)?.square());
    check(&apart, |x| x[0].min_keepdim(1)?.square());
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2, 3], &[1.0, 5.0, 5.0, 2.0, 2.0, 2.0]));
    let gradients = x.max(1).unwrap().backward_with(&tensor(&[2], &[4.0, 9.0])).unwrap();
    assert_eq!(gradient(&gradients, &x), [0.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    let gradients = x.min(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn normalised_exponentials() {
    let x = [numbers(&[2, 5, 3], -2.0, 2.0)];
    for dim in 0..3 {
        check(&x, |x| x[0].softmax(dim)?.square());
        check(&x, |x| x[0].log_softmax(dim)?.square());
    }
}

#[test]
fn products() {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[3, 4], &[4, 5]),
        (&[4], &[4]),
        (&[4], &[4, 5]),
        (&[3, 4], &[4]),
        (&[2, 3, 4], &[4]),
        (&[4], &[2, 4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[3, 4], &[2, 4, 5]),
        (&[2, 1, 3, 4], &[3, 4, 5]),
    ];
    for (a, b) in shapes {
        check(&[numbers(a, -1.0, 1.0), numbers(b, -1.0, 1.5)], |x| x[0].matmul(&x[1]));
    }
    check(&[numbers(&[4, 3], -1.0, 1.0), numbers(&[5, 4], -1.0, 1.5)], |x| x[0].t()?.matmul(&x[1].t()?)?.square());
}

#[test]
fn linear_layers() {
    let (weight, bias) = (numbers(&[5, 4], -1.0, 1.0), numbers(&[5], -1.0, 1.0));
    for shape in [&[3, 4][..], &[4], &[2, 3, 4]] {
        let x = numbers(shape, -1.0, 1.5);
        check(&[x.clone(), weight.clone(), bias.clone()], |x| x[0].linear(&x[1], Some(&x[2]))?.square());
        check(&[x, weight.clone()], |x| x[0].linear(&x[1], None)?.square());
    }
}

#[test]
fn convolutions() {
    let plain = Conv2dOptions::default();
    let cases: [([usize; 4], [usize; 4], Conv2dOptions); 4] = [
        ([2, 3, 5, 6], [4, 3, 3, 2], plain),
        ([1, 2, 6, 5], [3, 2, 3, 3], Conv2dOptions { stride: [2, 1], padding: [1, 2], ..plain }),
        ([2, 2, 7, 7], [2, 2, 2, 3], Conv2dOptions { dilation: [2, 3], stride: [2, 2], ..plain }),
        ([2, 4, 4, 4], [6, 2, 3, 3], Conv2dOptions { groups: 2, padding: [1, 1], ..plain }),
    ];
    for (input, weight, options) in cases {
        let (x, w) = (numbers(&input, -1.0, 1.0), numbers(&weight, -1.0, 1.2));
        let bias = numbers(&weight[..1], -1.0, 1.0);
        check(&[x.clone(), w.clone(), bias], |x| x[0].conv2d(&x[1], Some(&x[2]), options)?.square());
        check(&[x, w], |x| x[0].conv2d(&x[1], None, options)?.square());
    }
}

#[test]
fn pooling() {
    let x = [numbers(&[2, 3, 7, 6], -4.0, 4.0)];
    for kernel_size in [[2, 2], [3, 2]] {
        let plain = MaxPool2dOptions::new(kernel_size);
        check(&x, |x| x[0].max_pool2d(plain));
        let other = MaxPool2dOptions { stride: [2, 1], padding: [1, 1], dilation: [1, 2], ceil_mode: true, ..plain };
        check(&x, |x| x[0].max_pool2d(other));
        let plain = AvgPool2dOptions::new(kernel_size);
        check(&x, |x| x[0].avg_pool2d(plain)?.square());
        for count_include_pad in [false, true] {
            let other =
                AvgPool2dOptions { stride: [1, 2], padding: [1, 1], ceil_mode: true, count_include_pad, ..plain };
            check(&x, |x| x[0].avg_pool2d(other)?.square());
        }
    }
}

#[test]
fn cross_entropy_of_every_target_type() {
    let logits = [numbers(&[3, 4], -2.0, 2.0)];
    check(&logits, |x| x[0].cross_entropy(&Tensor::from_slice(&DEVICE, [3], &[3i32, 0, 2])?)?.mul_scalar(3.0));
    check(&logits, |x| x[0].cross_entropy(&Tensor::from_slice(&DEVICE, [3], &[1u32, 1, 2])?));
    let planes = [numbers(&[2, 4, 3], -2.0, 2.0)];
    check(&planes, |x| x[0].cross_entropy(&Tensor::from_slice(&DEVICE, [2, 3], &[1u8, 0, 3, 2, 2, 1])?));
}

#[test]
fn dropout_draws_the_same_numbers_again() {
    let x = numbers(&[40, 10], 0.5, 2.0);
    check(std::slice::from_ref(&x), |x| x[0].dropout(0.3)?.square());

    let ones = tensor(&[400], &[1.0; 400]);
    let drop = |seed: u64| {
        let tape = Tape::train_seeded(seed);
        let x = tape.leaf(ones.clone());
        let (first, second) = (x.dropout(0.75).unwrap(), x.dropout(0.75).unwrap());
        let gradients = first.backward_with(&ones).unwrap();
        let (first, second) = (first.to_vec::<f32>().unwrap(), second.to_vec::<f32>().unwrap());
        // What was dropped has no gradient; what stayed has the factor.
        assert_eq!(gradient(&gradients, &x), first);
        assert_ne!(first, second);
        first
    };
    let kept = drop(3);
    assert!(kept.iter().all(|&y| y == 0.0 || y == 4.0));
    let share = kept.iter().filter(|&&y| y == 4.0).count();
    assert!((60..140).contains(&share), "{share} of 400 kept, expected about 100");
    assert_eq!(drop(3), kept);
    assert_ne!(drop(4), kept);
}

#[test]
fn dropout_of_nothing_and_of_everything() {
    let (evaluation, training) = (Tape::eval(), Tape::train());
    let ones = tensor(&[8], &[1.0; 8]);
    assert_eq!(evaluation.constant(ones.clone()).dropout(0.9).unwrap().to_vec::<f32>().unwrap(), [1.0; 8]);
    let x = training.leaf(ones.clone());
    assert_eq!(x.dropout(0.0).unwrap().to_vec::<f32>().unwrap(), [1.0; 8]);
    assert_eq!(training.recorded(), 1);
    let gone = x.dropout(1.0).unwrap();
    assert_eq!(gone.to_vec::<f32>().unwrap(), [0.0; 8]);
    assert_eq!(gradient(&gone.backward_with(&ones).unwrap(), &x), [0.0; 8]);
}

#[test]
fn comparisons_and_places_are_plain_tensors() {
    let tape = Tape::train();
    let (a, b) = (tape.leaf(tensor(&[3], &[1.0, 2.0, 3.0])), tape.leaf(tensor(&[3], &[2.0, 2.0, 2.0])));
    let results = [Var::eq, Var::ne, Var::lt, Var::le, Var::gt, Var::ge].map(|op| op(&a, &b).unwrap());
    let expected = [[0u8, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1]];
    for (result, expected) in results.iter().zip(expected) {
        assert_eq!(result.to_vec::<u8>().unwrap(), expected);
    }
    assert_eq!(a.argmax(..).unwrap().item::<i32>().unwrap(), 2);
    assert_eq!(a.argmin_keepdim(0).unwrap().to_vec::<i32>().unwrap(), [0]);
    assert_eq!(tape.recorded(), 2);
}
