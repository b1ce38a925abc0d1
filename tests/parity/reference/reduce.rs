//! Reductions over any axes, softmax and cross-entropy.

use super::Array;
use super::array::{ravel, unravel};
use super::pointwise::{larger, smaller};

/// The axes meant by a list: an empty list is all of them.
fn reduced_axes(rank: usize, axes: &[usize]) -> Vec<usize> {
    if axes.is_empty() { (0..rank).collect() } else { axes.to_vec() }
}

/// Applies `fold` to the values of each group that the reduction joins, in row-major order of the reduced axes.
fn reduce(x: &Array, axes: &[usize], keepdim: bool, fold: impl Fn(&[f64]) -> f64) -> Array {
    let reduced = reduced_axes(x.rank(), axes);
    let kept_shape: Vec<usize> =
        x.shape.iter().enumerate().map(|(axis, &size)| if reduced.contains(&axis) { 1 } else { size }).collect();
    let mut groups = vec![Vec::new(); kept_shape.iter().product()];
    for (at, &value) in x.data.iter().enumerate() {
        let mut index = unravel(&x.shape, at);
        for &axis in &reduced {
            index[axis] = 0;
        }
        groups[ravel(&kept_shape, &index)].push(value);
    }
    let shape: Vec<usize> = kept_shape
        .iter()
        .enumerate()
        .filter(|(axis, _)| keepdim || !reduced.contains(axis))
        .map(|(_, &size)| size)
        .collect();
    Array::new(&shape, groups.iter().map(|group| fold(group)).collect())
}

/// How many values each result joins.
pub fn group_size(x: &Array, axes: &[usize]) -> usize {
    reduced_axes(x.rank(), axes).iter().map(|&axis| x.shape[axis]).product()
}

pub fn sum(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| group.iter().sum())
}

/// NaN over an empty group, as 0 / 0.
pub fn mean(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| group.iter().sum::<f64>() / group.len() as f64)
}

/// NaN if any value of the group is. An empty group has no maximum.
pub fn max(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| group.iter().copied().reduce(larger).unwrap())
}

pub fn min(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| group.iter().copied().reduce(smaller).unwrap())
}

/// Position of the first value that no other beats; NaN beats everything, and the first NaN wins.
fn first_best(group: &[f64], beats: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = 0;
    for (i, &value) in group.iter().enumerate() {
        if !group[best].is_nan() && (value.is_nan() || beats(value, group[best])) {
            best = i;
        }
    }
    assert!(!group.is_empty(), "argmax or argmin of nothing");
    best as f64
}

/// Position within the reduced axes, flattened in row-major order.
pub fn argmax(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| first_best(group, |a, b| a > b))
}

pub fn argmin(x: &Array, axes: &[usize], keepdim: bool) -> Array {
    reduce(x, axes, keepdim, |group| first_best(group, |a, b| a < b))
}

/// `x - max - log(sum(exp(x - max)))` along one axis.
pub fn log_softmax(x: &Array, axis: usize) -> Array {
    if x.numel() == 0 {
        return x.clone();
    }
    let shifted = x.zip(&max(x, &[axis], true), |v, m| v - m);
    let log_sum = sum(&shifted.map(f64::exp), &[axis], true).map(f64::ln);
    shifted.zip(&log_sum, |v, s| v - s)
}

/// `exp(x - max) / sum(exp(x - max))` along one axis.
pub fn softmax(x: &Array, axis: usize) -> Array {
    if x.numel() == 0 {
        return x.clone();
    }
    let exp = x.zip(&max(x, &[axis], true), |v, m| (v - m).exp());
    let total = sum(&exp, &[axis], true);
    exp.zip(&total, |v, s| v / s)
}

/// Mean over the rows of `logits` [n, classes] of `-log_softmax(row)[target]`. NaN for n = 0.
pub fn cross_entropy(logits: &Array, targets: &[usize]) -> Array {
    let [n, classes] = logits.shape[..] else { panic!("logits of shape {:?}", logits.shape) };
    assert_eq!(n, targets.len());
    let log_p = log_softmax(logits, 1);
    let total: f64 = targets.iter().enumerate().map(|(row, &class)| -log_p.data[row * classes + class]).sum();
    Array::scalar(total / n as f64)
}

/// `(softmax(logits) - one_hot(targets)) * dy / n`.
pub fn cross_entropy_grad(logits: &Array, targets: &[usize], dy: f64) -> Array {
    let [n, classes] = logits.shape[..] else { panic!("logits of shape {:?}", logits.shape) };
    let mut dx = softmax(logits, 1);
    for (row, &class) in targets.iter().enumerate() {
        dx.data[row * classes + class] -= 1.0;
    }
    dx.map(|v| v * dy / n as f64)
}

mod tests {
    use super::*;

    #[test]
    fn any_axes_in_any_order() {
        let x = Array::new(&[2, 3, 2], (0..12).map(f64::from).collect());
        assert_eq!(sum(&x, &[0, 2], false).data, [14.0, 22.0, 30.0]);
        assert_eq!(sum(&x, &[2, 0], true).shape, [1, 3, 1]);
        assert_eq!(mean(&x, &[], false).item(), 5.5);
        assert_eq!(argmax(&x, &[1, 2], false).data, [5.0, 5.0]);
        assert_eq!(sum(&Array::zeros(&[0, 3]), &[0], false).data, [0.0; 3]);
        assert!(mean(&Array::zeros(&[0]), &[], false).item().is_nan());
    }

    #[test]
    fn first_of_equals_and_nan_win() {
        let x = Array::new(&[2, 4], vec![1.0, 3.0, 3.0, 0.0, 5.0, f64::NAN, 9.0, f64::NAN]);
        assert_eq!(argmax(&x, &[1], false).data, [1.0, 1.0]);
        assert_eq!(argmin(&x, &[1], false).data, [3.0, 1.0]);
        assert!(max(&x, &[1], false).data[1].is_nan() && min(&x, &[1], false).data[1].is_nan());
    }

    #[test]
    fn softmax_of_large_values() {
        let x = Array::new(&[1, 2], vec![1000.0, 1000.0]);
        assert_eq!(softmax(&x, 1).data, [0.5, 0.5]);
        assert!((cross_entropy(&x, &[1]).item() - 2.0_f64.ln()).abs() < 1e-15);
    }
}
