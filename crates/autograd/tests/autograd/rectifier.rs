//! A ReLU within an op has the same gradient as one of its own, whoever computes it.

use kiln_autograd::{Gradients, Tape, Var};
use kiln_tensor::ops::conv::Conv2dOptions;

use crate::{gradient, tensor};

/// Numbers of both signs.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 17) as f32 / 8.0 - 1.0).collect()
}

fn leaf(tape: &Tape, shape: &[usize], seed: usize) -> Var {
    tape.leaf(tensor(shape, &numbers(shape.iter().product(), seed)))
}

const OPTIONS: Conv2dOptions = Conv2dOptions { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };

/// A layer of either kind, with a ReLU within it or behind it.
fn layer(x: &Var, weight: &Var, within: bool) -> Var {
    match (x.rank() == 4, within) {
        (true, true) => x.conv2d_relu(weight, None, OPTIONS).unwrap(),
        (true, false) => x.conv2d(weight, None, OPTIONS).unwrap().relu().unwrap(),
        (false, true) => x.linear_relu(weight, None).unwrap(),
        (false, false) => x.linear(weight, None).unwrap().relu().unwrap(),
    }
}

/// The gradients of an input and two weights by a graph, with the ReLUs within the layers and behind them.
fn alike(graph: impl Fn(&Var, &Var, bool) -> Var) {
    for (input, weight) in [(&[2, 8, 6, 8][..], &[8, 8, 3, 3][..]), (&[4, 16], &[16, 16])] {
        let all = |within: bool| {
            let tape = Tape::train();
            let [x, w1, w2] = [(input, 1), (weight, 2), (weight, 3)].map(|(shape, seed)| leaf(&tape, shape, seed));
            let hidden = layer(&x, &w1, within);
            let y = graph(&hidden, &w2, within);
            let dy = tensor(y.shape(), &numbers(y.numel(), 4));
            let gradients: Gradients = y.backward_with(&dy).unwrap();
            // A start that does not use a weight gives none.
            [&x, &w1].map(|var| gradient(&gradients, var))
        };
        let (within, behind) = (all(true), all(false));
        for (within, behind) in within.iter().zip(&behind) {
            assert!(
                within.iter().zip(behind).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs())),
                "{within:?} {behind:?}"
            );
        }
    }
}

#[test]
fn every_reader_passes_it() {
    alike(layer);
}

#[test]
fn two_readers_pass_it() {
    alike(|hidden, w, within| layer(hidden, w, within).add(&layer(hidden, w, false)).unwrap());
}

#[test]
fn one_of_two_readers_does_not_pass_it() {
    alike(|hidden, w, within| layer(hidden, w, within).add(&hidden.mul_scalar(-2.0).unwrap()).unwrap());
}

#[test]
fn backward_starts_from_it() {
    alike(|hidden, _, _| hidden.clone());
}

#[test]
fn a_reader_whose_weight_is_fixed() {
    alike(|hidden, w, within| layer(hidden, &w.detach(), within));
}

#[test]
fn a_reader_that_was_refused_passes_nothing() {
    alike(|hidden, w, within| {
        let other = Tape::train();
        let foreign = leaf(&other, w.shape(), 5);
        let refused = match hidden.rank() {
            4 => hidden.conv2d(&foreign, None, OPTIONS),
            _ => hidden.linear(&foreign, None),
        };
        assert!(refused.is_err() && w.shape() == foreign.shape(), "{within}");
        hidden.mul_scalar(-2.0).unwrap()
    });
}
