//! Batched matrix product.

use super::Array;
use super::array::broadcast_shape;
use super::movement::transpose;

/// `[.., m, k] x [.., k, n] -> [.., m, n]`; the axes in front broadcast.
pub fn matmul(a: &Array, b: &Array) -> Array {
    let (batch_a, [m, k]) = split(a);
    let (batch_b, [inner, n]) = split(b);
    assert_eq!(k, inner, "{:?} x {:?}", a.shape, b.shape);
    let batch = broadcast_shape(batch_a, batch_b);
    let with = |tail: [usize; 2]| [&batch[..], &tail[..]].concat();
    let (a, b) = (a.expand(&with([m, k])), b.expand(&with([k, n])));
    let mut out = Array::zeros(&with([m, n]));
    for item in 0..batch.iter().product() {
        for row in 0..m {
            for column in 0..n {
                out.data[(item * m + row) * n + column] =
                    (0..k).map(|i| a.data[(item * m + row) * k + i] * b.data[(item * k + i) * n + column]).sum();
            }
        }
    }
    out
}

/// Gradients to both sides: `dy b^T` and `a^T dy`, summed over what was broadcast.
pub fn matmul_grad(a: &Array, b: &Array, dy: &Array) -> (Array, Array) {
    let swapped = |x: &Array| transpose(x, x.rank() - 2, x.rank() - 1);
    (matmul(dy, &swapped(b)).sum_to(&a.shape), matmul(&swapped(a), dy).sum_to(&b.shape))
}

fn split(x: &Array) -> (&[usize], [usize; 2]) {
    let (batch, tail) = x.shape.split_at(x.rank().checked_sub(2).expect("a matrix"));
    (batch, [tail[0], tail[1]])
}

mod tests {
    use super::*;

    #[test]
    fn batches_broadcast() {
        let a = Array::generate(&[2, 1, 2, 3], |i| (i[0] * 6 + i[2] * 3 + i[3]) as f64);
        let b = Array::generate(&[4, 3, 1], |i| (i[0] * 3 + i[1]) as f64);
        let y = matmul(&a, &b);
        assert_eq!(y.shape, [2, 4, 2, 1]);
        assert_eq!(y.at(&[1, 3, 1, 0]), 9.0 * 9.0 + 10.0 * 10.0 + 11.0 * 11.0);
        assert_eq!(matmul(&Array::ones(&[2, 0]), &Array::ones(&[0, 2])).data, [0.0; 4]);
    }
}
