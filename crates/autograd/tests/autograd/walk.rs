//! What the walk does, whatever the rules are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kiln_autograd::{Gradient, Saved, Tape, Var};
use kiln_tensor::DType;

use crate::{gradient, tensor};

/// 100,000 ops deep. Most are views, which launch nothing; every 1000th computes.
fn chain(tape: &Tape, leaf: &Var) -> Var {
    let mut y = leaf.clone();
    for op in 0..50_000 {
        y = y.reshape(()).unwrap().reshape([1]).unwrap();
        if op % 1000 == 0 {
            y = y.mul(&tape.constant(tensor(&[1], &[1.0]))).unwrap();
        }
    }
    y
}

/// Runs on a stack that 100,000 nested calls would overflow many times.
fn on_small_stack(body: impl FnOnce() + Send + 'static) {
    // Pipelines are compiled here, on the large stack: a shader compiler may recurse as it likes.
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[1.0]));
    x.mul(&tape.constant(tensor(&[1], &[1.0]))).unwrap().backward().unwrap();
    thread::Builder::new().stack_size(512 << 10).spawn(body).unwrap().join().unwrap();
}

#[test]
fn a_long_chain_is_walked_without_recursion() {
    on_small_stack(|| {
        let tape = Tape::train();
        let x = tape.leaf(tensor(&[1], &[3.0]));
        let y = chain(&tape, &x);
        assert!(tape.recorded() > 100_000);
        let gradients = y.backward().unwrap();
        assert_eq!(gradient(&gradients, &x), [1.0]);
    });
}

#[test]
fn a_long_chain_is_dropped_without_recursion() {
    on_small_stack(|| {
        let tape = Tape::train();
        let y = chain(&tape, &tape.leaf(tensor(&[1], &[3.0])));
        drop(tape);
        drop(y);
    });
}

#[test]
fn a_diamond_sums_both_ways() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2], &[3.0, -2.0]));
    // y = (2x) (x + 1) = 2x^2 + 2x
    let y = x.mul_scalar(2.0).unwrap().mul(&x.add_scalar(1.0).unwrap()).unwrap();
    let gradients = y.backward_with(&tensor(&[2], &[1.0, 10.0])).unwrap();
    assert_eq!(gradient(&gradients, &x), [14.0, -60.0]);
}

#[test]
fn one_variable_on_both_sides_gets_both_gradients() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[5.0]));
    let gradients = x.mul(&x).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [10.0]);

    let x = tape.leaf(tensor(&[1], &[5.0]));
    let y = x.add(&x).unwrap().add(&x).unwrap();
    assert_eq!(gradient(&y.backward().unwrap(), &x), [3.0]);
}

#[test]
fn the_start_may_be_a_leaf() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1, 1], &[5.0]));
    let gradients = x.backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [1.0]);
    assert_eq!(gradients.get(&x).unwrap().shape().dims(), [1, 1]);
}

#[test]
fn what_was_broadcast_is_summed_down_on_either_side() {
    let tape = Tape::train();
    let row = tape.leaf(tensor(&[3], &[1.0, 2.0, 3.0]));
    let column = tape.leaf(tensor(&[2, 1], &[10.0, 20.0]));
    let scalar = tape.leaf(tensor(&[], &[2.0]));
    let dy = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = row.mul(&column).unwrap().mul(&scalar).unwrap();
    assert_eq!(y.shape().dims(), [2, 3]);
    let gradients = y.backward_with(&dy).unwrap();
    assert_eq!(gradient(&gradients, &row), [180.0, 240.0, 300.0]);
    assert_eq!(gradient(&gradients, &column), [28.0, 64.0]);
    assert_eq!(gradient(&gradients, &scalar), [140.0 + 640.0]);
    for (var, shape) in [(&row, &[3][..]), (&column, &[2, 1]), (&scalar, &[])] {
        assert_eq!(gradients.get(var).unwrap().shape().dims(), shape);
    }

    // The same with the sides exchanged, and an axis of 1 that is not stretched.
    let left = tape.leaf(tensor(&[1, 2, 1], &[1.0, 2.0]));
    let right = tape.leaf(tensor(&[3], &[1.0, 2.0, 3.0]));
    let gradients = left.sub(&right).unwrap().backward_with(&dy.reshape([1, 2, 3]).unwrap()).unwrap();
    assert_eq!(gradient(&gradients, &left), [6.0, 15.0]);
    assert_eq!(gradient(&gradients, &right), [-5.0, -7.0, -9.0]);
}

#[test]
fn an_empty_tensor_has_an_empty_gradient() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[0, 3], &[]));
    let row = tape.leaf(tensor(&[3], &[1.0, 2.0, 3.0]));
    let gradients = x.mul(&row).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [0.0f32; 0]);
    assert_eq!(gradient(&gradients, &row), [0.0; 3]);
}

#[test]
fn a_rule_is_told_what_is_wanted() {
    let tape = Tape::train();
    let (leaf, constant) = (tape.leaf(tensor(&[1], &[1.0])), tape.constant(tensor(&[1], &[1.0])));
    let y = tape
        .record("probe", &[&constant, &leaf, &constant], tensor(&[1], &[0.0]), |dy, wants| {
            assert_eq!(wants, [false, true, false]);
            // What is not wanted is not looked at.
            Ok(vec![Gradient::NotDifferentiable, Gradient::Tensor(dy.clone()), Gradient::Zero])
        })
        .unwrap();
    assert_eq!(gradient(&y.backward().unwrap(), &leaf), [1.0]);
}

#[test]
fn zero_reaches_a_leaf_as_zeros_and_ends_no_other_way() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2], &[1.5, 2.5]));
    let gradients = x.square().unwrap().floor().unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [0.0, 0.0]);

    // Zero beside a gradient changes nothing, in either order of arrival.
    for zero_first in [true, false] {
        let x = tape.leaf(tensor(&[2], &[1.5, 2.5]));
        let (zero, other) = (x.floor().unwrap(), x.mul_scalar(3.0).unwrap());
        let y = if zero_first { other.add(&zero) } else { zero.add(&other) }.unwrap();
        assert_eq!(gradient(&y.sum(..).unwrap().backward().unwrap(), &x), [3.0, 3.0]);
    }
}

#[test]
fn a_leaf_that_the_loss_does_not_depend_on_has_no_gradient() {
    let tape = Tape::train();
    let (x, y) = (tape.leaf(tensor(&[1], &[1.0])), tape.leaf(tensor(&[1], &[1.0])));
    let _unused = y.neg().unwrap();
    let gradients = x.neg().unwrap().backward().unwrap();
    assert!(gradients.get(&y).is_none());
    assert!(gradients.get(&x).is_some());
    // Nor does a variable of another tape have one, though its number is the same.
    let other = Tape::train().leaf(tensor(&[1], &[1.0]));
    assert!(gradients.get(&other).is_none());
}

#[test]
fn what_a_backward_did_not_reach_can_be_walked_later() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[4.0]));
    let (first, second) = (x.square().unwrap(), x.mul_scalar(3.0).unwrap());
    assert_eq!(gradient(&second.backward().unwrap(), &x), [3.0]);
    assert_eq!(gradient(&first.backward().unwrap(), &x), [8.0]);
}

#[test]
fn detach_stops_the_gradient() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[4.0]));
    let y = x.mul(&x.detach()).unwrap();
    assert_eq!(gradient(&y.backward().unwrap(), &x), [4.0]);
}

#[test]
fn a_parameter_used_twice_is_one_leaf() {
    let tape = Tape::train();
    let weight = tensor(&[1], &[3.0]);
    let (once, again) = (tape.parameter(7, &weight), tape.parameter(7, &weight));
    let other = tape.parameter(2, &weight);
    let y = once.mul(&again).unwrap().mul(&other).unwrap();
    let mut gradients = y.backward().unwrap();
    assert_eq!(gradients.of(7).unwrap().to_vec::<f32>().unwrap(), [18.0]);
    assert_eq!(gradients.of(2).unwrap().to_vec::<f32>().unwrap(), [9.0]);
    assert_eq!(gradient(&gradients, &again), [18.0]);
    assert!(gradients.of(3).is_none());
    assert_eq!(gradients.parameters().map(|(id, _)| id).collect::<Vec<_>>(), [2, 7]);
    gradients.replace_of(7, tensor(&[1], &[1.0]));
    assert_eq!(gradients.take_of(7).unwrap().to_vec::<f32>().unwrap(), [1.0]);
    assert!(gradients.of(7).is_none());
    assert!(gradients.take(&other).is_some());
    assert!(gradients.is_empty());
}

#[test]
fn an_evaluation_records_nothing() {
    let tape = Tape::eval();
    let x = tape.leaf(tensor(&[1], &[3.0]));
    let w = tape.parameter(1, &tensor(&[1], &[2.0]));
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let y = tape
        .record("probe", &[&x.mul(&w).unwrap()], tensor(&[1], &[6.0]), move |dy, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(vec![Gradient::Tensor(dy.clone())])
        })
        .unwrap();
    assert!(!y.wants_gradient() && !x.wants_gradient() && !w.wants_gradient());
    assert_eq!(tape.recorded(), 0);
    // The rule, and all that it held, is gone.
    assert_eq!(Arc::strong_count(&ran), 1);
}

#[test]
fn constants_and_integers_are_not_recorded() {
    let tape = Tape::train();
    let x = tape.constant(tensor(&[2], &[1.0, 2.0]));
    assert!(!x.exp().unwrap().wants_gradient());
    assert_eq!(tape.recorded(), 0);
    let leaf = tape.leaf(tensor(&[2], &[1.0, 2.0]));
    assert!(!leaf.to_dtype(DType::I32).unwrap().wants_gradient());
    assert_eq!(tape.recorded(), 1);
}

#[test]
fn a_rule_may_use_its_own_tape() {
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[1], &[2.0]));
    let inner = tape.clone();
    let y = tape
        .record("probe", &[&x], tensor(&[1], &[2.0]), move |dy, _| {
            let dy = inner.constant(dy.clone());
            Ok(vec![Gradient::Tensor(dy.mul_scalar(7.0)?.into_tensor())])
        })
        .unwrap();
    assert_eq!(gradient(&y.backward().unwrap(), &x), [7.0]);
}

#[test]
fn a_users_op_saves_and_restores() {
    let cube = |x: &Var| {
        let saved = Saved::new(x.tensor());
        let y = x.tensor().pow_scalar(3.0)?;
        x.tape()
            .record("cube", &[x], y, move |dy, _| Ok(vec![dy.mul(&saved.get()?.square()?.mul_scalar(3.0)?)?.into()]))
    };
    let tape = Tape::train();
    let x = tape.leaf(tensor(&[2], &[2.0, -1.0]));
    let gradients = cube(&x).unwrap().sum(..).unwrap().backward().unwrap();
    assert_eq!(gradient(&gradients, &x), [12.0, 3.0]);
}

#[test]
fn seeds_and_streams_follow_from_the_tape() {
    let tape = Tape::train_seeded(9);
    let drawn = || {
        let random = tape.next_random();
        (random.seed, random.stream)
    };
    assert_eq!((tape.seed(), drawn(), drawn()), (9, (9, 0), (9, 1)));
    assert_eq!(tape.clone().next_random().stream, 2);
    assert_ne!(Tape::train().seed(), Tape::train().seed());
    assert!(tape.is_training() && !Tape::eval().is_training());
    assert!(tape.same(&tape.clone()) && !tape.same(&Tape::train_seeded(9)));
}
