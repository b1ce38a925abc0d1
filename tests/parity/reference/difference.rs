//! Central differences of the reference.

use super::Array;

/// The step of every central difference.
pub const STEP: f64 = 1e-6;

/// `d/de <dy, f(x + e direction)>` at e = 0: what the gradient's inner product with the direction must be.
/// `directions[i]` belongs to `inputs[i]`; an input that is not differentiated gets zeros.
pub fn directional(f: impl Fn(&[Array]) -> Array, inputs: &[Array], directions: &[Array], dy: &Array) -> f64 {
    assert_eq!(inputs.len(), directions.len());
    let moved = |step: f64| {
        let moved: Vec<Array> = inputs.iter().zip(directions).map(|(x, d)| x.zip(d, |x, d| x + step * d)).collect();
        f(&moved)
    };
    let (ahead, behind) = (moved(STEP), moved(-STEP));
    // Subtracting the outputs before weighing them keeps what cancels small.
    ahead.zip(&behind, |a, b| a - b).dot(dy) / (2.0 * STEP)
}

mod tests {
    use super::super::{conv, matmul, pool, reduce};
    use super::*;

    /// Values in -1..1 without ties.
    fn values(shape: &[usize], seed: usize) -> Array {
        let mut state = seed as u64 + 1;
        Array::generate(shape, |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
    }

    fn assert_gradients(
        name: &str,
        f: impl Fn(&[Array]) -> Array,
        inputs: &[Array],
        grads: impl Fn(&Array) -> Vec<Array>,
    ) {
        let dy = values(&f(inputs).shape, 99);
        let grads = grads(&dy);
        for trial in 0..3 {
            let directions: Vec<Array> =
                inputs.iter().enumerate().map(|(i, x)| values(&x.shape, 1000 * trial + i)).collect();
            let want = directional(&f, inputs, &directions, &dy);
            let got: f64 = grads.iter().zip(&directions).map(|(g, d)| g.dot(d)).sum();
            assert!((got - want).abs() <= 1e-7 * want.abs().max(1.0), "{name}: {got} but differences say {want}");
        }
    }

    /// The hand-written gradients of the reference agree with its own differences.
    #[test]
    fn reference_gradients() {
        let options = conv::Conv2d { stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 };
        let inputs = [values(&[2, 4, 6, 5], 1), values(&[6, 2, 3, 2], 2), values(&[6], 3)];
        assert_gradients(
            "conv2d",
            |i| conv::conv2d(&i[0], &i[1], Some(&i[2]), options),
            &inputs,
            |dy| {
                vec![
                    conv::conv2d_input_grad(dy, &inputs[1], &inputs[0].shape, options),
                    conv::conv2d_weight_grad(&inputs[0], dy, &inputs[1].shape, options),
                    conv::conv2d_bias_grad(dy),
                ]
            },
        );
        let windows =
            pool::Pool2d { kernel: [3, 2], stride: [2, 1], padding: [1, 1], dilation: [1, 1], ceil_mode: true };
        let x = [values(&[2, 3, 6, 7], 4)];
        assert_gradients(
            "max_pool2d",
            |i| pool::max_pool2d(&i[0], windows),
            &x,
            |dy| vec![pool::max_pool2d_grad(&x[0], dy, windows)],
        );
        for include in [false, true] {
            assert_gradients(
                "avg_pool2d",
                |i| pool::avg_pool2d(&i[0], windows, include),
                &x,
                |dy| vec![pool::avg_pool2d_grad(&x[0].shape, dy, windows, include)],
            );
        }
        let sides = [values(&[2, 1, 3, 4], 5), values(&[3, 4, 2], 6)];
        assert_gradients(
            "matmul",
            |i| matmul::matmul(&i[0], &i[1]),
            &sides,
            |dy| {
                let (da, db) = matmul::matmul_grad(&sides[0], &sides[1], dy);
                vec![da, db]
            },
        );
        let logits = [values(&[5, 7], 7)];
        let targets = [0, 6, 3, 3, 1];
        assert_gradients(
            "cross_entropy",
            |i| reduce::cross_entropy(&i[0], &targets),
            &logits,
            |dy| vec![reduce::cross_entropy_grad(&logits[0], &targets, dy.item())],
        );
    }
}
