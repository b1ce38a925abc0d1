//! Ops that only move values: every output element is one input element, or the fill value.

use super::Array;
use super::array::numel;

pub fn reshape(x: &Array, shape: &[usize]) -> Array {
    assert_eq!(x.numel(), numel(shape));
    Array::new(shape, x.data.clone())
}

/// Axes `start..=end` become one.
pub fn flatten(x: &Array, start: usize, end: usize) -> Array {
    let mut shape = x.shape[..start].to_vec();
    shape.push(numel(&x.shape[start..=end]));
    shape.extend_from_slice(&x.shape[end + 1..]);
    reshape(x, &shape)
}

/// Axis `i` of the result is axis `axes[i]` of `x`.
pub fn permute(x: &Array, axes: &[usize]) -> Array {
    assert_eq!(x.rank(), axes.len());
    let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
    Array::generate(&shape, |index| {
        let mut from = vec![0; axes.len()];
        for (&axis, &i) in axes.iter().zip(index) {
            from[axis] = i;
        }
        x.at(&from)
    })
}

pub fn transpose(x: &Array, first: usize, second: usize) -> Array {
    let mut axes: Vec<usize> = (0..x.rank()).collect();
    axes.swap(first, second);
    permute(x, &axes)
}

/// Elements `start, start + step, ...` below `end` of one axis.
pub fn slice(x: &Array, axis: usize, start: usize, end: usize, step: usize) -> Array {
    assert!(start <= end && end <= x.shape[axis] && step > 0);
    let mut shape = x.shape.clone();
    shape[axis] = (end - start).div_ceil(step);
    Array::generate(&shape, |index| {
        let mut from = index.to_vec();
        from[axis] = start + index[axis] * step;
        x.at(&from)
    })
}

pub fn squeeze(x: &Array, axis: usize) -> Array {
    assert_eq!(x.shape[axis], 1);
    let mut shape = x.shape.clone();
    shape.remove(axis);
    reshape(x, &shape)
}

pub fn unsqueeze(x: &Array, axis: usize) -> Array {
    let mut shape = x.shape.clone();
    shape.insert(axis, 1);
    reshape(x, &shape)
}

/// The parts one after the other along `axis`.
pub fn cat(parts: &[&Array], axis: usize) -> Array {
    let mut shape = parts[0].shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    Array::generate(&shape, |index| {
        let mut from = index.to_vec();
        for part in parts {
            if from[axis] < part.shape[axis] {
                return part.at(&from);
            }
            from[axis] -= part.shape[axis];
        }
        unreachable!("the sizes add up")
    })
}

/// The parts along a new axis.
pub fn stack(parts: &[&Array], axis: usize) -> Array {
    let parts: Vec<Array> = parts.iter().map(|part| unsqueeze(part, axis)).collect();
    cat(&parts.iter().collect::<Vec<_>>(), axis)
}

/// `amounts[axis]` = how many elements of `value` come before and after.
pub fn pad(x: &Array, amounts: &[(usize, usize)], value: f64) -> Array {
    assert_eq!(x.rank(), amounts.len());
    let shape: Vec<usize> = x.shape.iter().zip(amounts).map(|(&size, &(b, a))| b + size + a).collect();
    Array::generate(&shape, |index| {
        let inside = |axis: usize| index[axis].checked_sub(amounts[axis].0).filter(|&i| i < x.shape[axis]);
        match (0..x.rank()).map(inside).collect::<Option<Vec<usize>>>() {
            Some(from) => x.at(&from),
            None => value,
        }
    })
}

mod tests {
    use super::*;

    #[test]
    fn moves_on_a_small_matrix() {
        let x = reshape(&Array::arange(0.0, 6.0, 1.0), &[2, 3]);
        assert_eq!(transpose(&x, 0, 1).data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(slice(&x, 1, 0, 3, 2).data, [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(slice(&x, 1, 2, 2, 1).shape, [2, 0]);
        assert_eq!(cat(&[&x, &slice(&x, 0, 1, 2, 1)], 0).data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
        assert_eq!(stack(&[&x, &x], 1).shape, [2, 2, 3]);
        assert_eq!(pad(&x, &[(0, 1), (1, 0)], 9.0).data, [9.0, 0.0, 1.0, 2.0, 9.0, 3.0, 4.0, 5.0, 9.0, 9.0, 9.0, 9.0]);
        assert_eq!(flatten(&Array::zeros(&[2, 3, 4, 5]), 1, 2).shape, [2, 12, 5]);
        assert_eq!(permute(&Array::zeros(&[2, 3, 4]), &[2, 0, 1]).shape, [4, 2, 3]);
    }
}
