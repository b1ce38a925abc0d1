//! Pointwise arithmetic, comparison, selection and mathematics.

use super::Array;

pub fn add(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| x + y)
}

pub fn sub(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| x - y)
}

pub fn mul(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| x * y)
}

pub fn div(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| x / y)
}

pub fn pow(a: &Array, b: &Array) -> Array {
    a.zip(b, f64::powf)
}

/// The larger of two, NaN if either is (unlike `f64::max`).
pub fn larger(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}

/// The smaller of two, NaN if either is (unlike `f64::min`).
pub fn smaller(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }
}

pub fn maximum(a: &Array, b: &Array) -> Array {
    a.zip(b, larger)
}

pub fn minimum(a: &Array, b: &Array) -> Array {
    a.zip(b, smaller)
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Comparisons give 1 and 0. Each but `ne` is false where a side is NaN.
pub fn eq(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x == y))
}

pub fn ne(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x != y))
}

pub fn lt(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x < y))
}

pub fn le(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x <= y))
}

pub fn gt(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x > y))
}

pub fn ge(a: &Array, b: &Array) -> Array {
    a.zip(b, |x, y| truth(x >= y))
}

/// `a` where `cond` is not zero, else `b`; the three broadcast.
pub fn where_(cond: &Array, a: &Array, b: &Array) -> Array {
    let shape = super::array::broadcast_shape(&cond.shape, &super::array::broadcast_shape(&a.shape, &b.shape));
    let (cond, a, b) = (cond.expand(&shape), a.expand(&shape), b.expand(&shape));
    let data = (0..cond.numel()).map(|i| if cond.data[i] != 0.0 { a.data[i] } else { b.data[i] }).collect();
    Array::new(&shape, data)
}

pub fn neg(x: &Array) -> Array {
    x.map(|v| -v)
}

pub fn abs(x: &Array) -> Array {
    x.map(f64::abs)
}

/// -1, 0 or 1; 0 at both zeros.
pub fn sign(x: &Array) -> Array {
    x.map(|v| truth(v > 0.0) - truth(v < 0.0))
}

pub fn exp(x: &Array) -> Array {
    x.map(f64::exp)
}

/// Natural logarithm.
pub fn log(x: &Array) -> Array {
    x.map(f64::ln)
}

pub fn sqrt(x: &Array) -> Array {
    x.map(f64::sqrt)
}

pub fn rsqrt(x: &Array) -> Array {
    x.map(|v| 1.0 / v.sqrt())
}

pub fn sin(x: &Array) -> Array {
    x.map(f64::sin)
}

pub fn cos(x: &Array) -> Array {
    x.map(f64::cos)
}

pub fn tanh(x: &Array) -> Array {
    x.map(f64::tanh)
}

/// `1 / (1 + exp(-x))`, from the side where nothing overflows or cancels.
pub fn sigmoid(x: &Array) -> Array {
    x.map(|v| if v >= 0.0 { 1.0 / (1.0 + (-v).exp()) } else { v.exp() / (1.0 + v.exp()) })
}

pub fn relu(x: &Array) -> Array {
    x.map(|v| if v.is_nan() { v } else { v.max(0.0) })
}

pub fn floor(x: &Array) -> Array {
    x.map(f64::floor)
}

pub fn ceil(x: &Array) -> Array {
    x.map(f64::ceil)
}

/// To the nearest integer, halves to the even one.
pub fn round(x: &Array) -> Array {
    x.map(f64::round_ties_even)
}

pub fn reciprocal(x: &Array) -> Array {
    x.map(|v| 1.0 / v)
}

pub fn square(x: &Array) -> Array {
    x.map(|v| v * v)
}

pub fn add_scalar(x: &Array, value: f64) -> Array {
    x.map(|v| v + value)
}

pub fn mul_scalar(x: &Array, value: f64) -> Array {
    x.map(|v| v * value)
}

pub fn pow_scalar(x: &Array, exponent: f64) -> Array {
    x.map(|v| v.powf(exponent))
}

/// `min(max(x, low), high)`; NaN stays NaN.
pub fn clamp(x: &Array, low: f64, high: f64) -> Array {
    x.map(|v| smaller(larger(v, low), high))
}

/// Dropout with keep probability `1 - p` and a given mask of zeros and ones: `x * mask / (1 - p)`.
pub fn dropout(x: &Array, mask: &Array, p: f64) -> Array {
    x.zip(mask, |v, keep| v * keep / (1.0 - p))
}

mod tests {
    use super::*;

    #[test]
    fn nan_and_ties() {
        let a = Array::new(&[3], vec![f64::NAN, 1.0, -0.0]);
        let b = Array::new(&[3], vec![1.0, f64::NAN, 0.0]);
        assert!(maximum(&a, &b).data[..2].iter().all(|v| v.is_nan()));
        assert!(minimum(&a, &b).data[..2].iter().all(|v| v.is_nan()));
        assert_eq!(eq(&a, &b).data, [0.0, 0.0, 1.0]);
        assert_eq!(ne(&a, &b).data, [1.0, 1.0, 0.0]);
        assert!(relu(&a).data[0].is_nan() && clamp(&a, 0.0, 1.0).data[0].is_nan());
        assert_eq!(round(&Array::new(&[4], vec![0.5, 1.5, 2.5, -0.5])).data, [0.0, 2.0, 2.0, -0.0]);
        assert_eq!(sigmoid(&Array::new(&[2], vec![-1000.0, 1000.0])).data, [0.0, 1.0]);
    }
}
