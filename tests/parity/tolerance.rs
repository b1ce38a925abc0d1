//! The tolerance classes, all in this one table, and the comparison they define.

use kiln_tensor::plan::Algorithm;

use crate::reference::Array;

/// How far an f32 result may lie from the f64 reference. Widening a class needs the measured worst case beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Class {
    /// The same number: moves, comparisons, maxima, indices.
    Exact,
    /// The same integer.
    Whole,
    /// 1 ULP: one rounding (add, multiply, relu).
    Round,
    /// 3 ULP: division and what is made of one.
    Div,
    /// 4 ULP on the row's domain.
    Transcendental,
    /// `4 log2(n) eps magnitude`; the magnitude of a sum is `sum |x|`.
    Sum,
    /// `2 sqrt(k) eps magnitude` with `sum |a| |b|` as magnitude, and normalised mean square error under 1e-11.
    Dot,
    /// As `Dot`, times 4: Winograd's F(4x4, 3x3), whose transforms cancel large terms. Worst measured: 2.95 times `Dot`.
    Winograd4,
    /// As `Dot`, and 2^-10 of the magnitude: matrix units round each operand to f16, by up to 2^-11.
    Cooperative,
    /// 1e-3 relative: results stored as f16. What is joined is joined in f32 before, with the bound of `Dot`.
    Half,
}

/// Normalised mean square error allowed to class `Dot`.
const DOT_NMSE: f64 = 1e-11;

/// What a result is compared with.
#[derive(Clone, Debug)]
pub struct Expected {
    pub value: Array,
    /// For `Sum` and `Dot`: per element, what the bound is relative to. Same shape as `value`.
    pub magnitude: Option<Array>,
    /// For `Sum` and `Dot`: how many terms each element joins.
    pub terms: usize,
}

impl Expected {
    pub fn new(value: Array) -> Expected {
        Expected { value, magnitude: None, terms: 1 }
    }

    pub fn joined(value: Array, magnitude: Array, terms: usize) -> Expected {
        assert_eq!(value.shape, magnitude.shape);
        Expected { value, magnitude: Some(magnitude), terms }
    }
}

/// The distance between neighbouring f32 around `x`. Below the smallest normal number it is that number: WGSL lets
/// an implementation flush what is smaller to zero.
pub fn ulp(x: f64) -> f64 {
    let x = (x as f32).abs().max(f32::MIN_POSITIVE);
    if x.is_infinite() { f64::INFINITY } else { f64::from(x.next_up()) - f64::from(x) }
        .max(f64::from(f32::MIN_POSITIVE))
}

impl Class {
    /// The class of a result in this one where an algorithm is pinned.
    pub fn computed_by(self, algorithm: Option<Algorithm>) -> Class {
        match (self, algorithm) {
            (Class::Dot, Some(Algorithm::Winograd4)) => Class::Winograd4,
            (Class::Dot, Some(Algorithm::Cooperative)) => Class::Cooperative,
            _ => self,
        }
    }

    /// The allowed distance for an element whose reference is `value`.
    fn allowed(self, value: f64, magnitude: f64, terms: usize) -> f64 {
        let eps = f64::from(f32::EPSILON);
        let terms = terms.max(2) as f64;
        match self {
            Class::Exact | Class::Whole => 0.0,
            Class::Round => ulp(value),
            Class::Div => 3.0 * ulp(value),
            Class::Transcendental => 4.0 * ulp(value),
            Class::Sum => (4.0 * terms.log2() * eps * magnitude).max(ulp(value)),
            Class::Dot => (2.0 * terms.sqrt() * eps * magnitude).max(ulp(value)),
            Class::Winograd4 => 4.0 * Class::Dot.allowed(value, magnitude, terms as usize),
            Class::Cooperative => magnitude / 1024.0 + Class::Dot.allowed(value, magnitude, terms as usize),
            Class::Half => 1e-3 * value.abs() + 6e-8 + 2.0 * terms.sqrt() * eps * magnitude,
        }
    }

    /// The worst error as a share of the bound. `Err` says where and by how much `got` misses. NaN and infinities must be met exactly; a reference beyond the
    /// range of f32 is infinite.
    pub fn compare(self, got: &[f64], expected: &Expected) -> Result<f64, String> {
        self.compare_loosely(1.0, got, expected)
    }

    /// As `compare`, with every bound times `slack`: 2 where the other side is itself a result in f32.
    pub fn compare_loosely(self, slack: f64, got: &[f64], expected: &Expected) -> Result<f64, String> {
        let want = &expected.value;
        if got.len() != want.numel() {
            return Err(format!("{} values where {:?} has {}", got.len(), want.shape, want.numel()));
        }
        if matches!(self, Class::Sum | Class::Dot | Class::Winograd4) && expected.magnitude.is_none() {
            return Err(format!("class {self:?} needs the magnitude of each element"));
        }
        let (mut misses, mut worst, mut share) = (0, (0.0, String::new()), 0.0_f64);
        let (mut error_square, mut want_square) = (0.0, 0.0);
        for (i, (&got, &want)) in got.iter().zip(&want.data).enumerate() {
            let rounded = if self == Class::Whole { want } else { f64::from(want as f32) };
            let magnitude = expected.magnitude.as_ref().map_or(0.0, |m| m.data[i]);
            let error = (got - want).abs();
            let allowed = slack * self.allowed(want, magnitude, expected.terms);
            let met = if got.is_nan() || rounded.is_nan() {
                got.is_nan() && rounded.is_nan()
            } else if got.is_infinite() || rounded.is_infinite() {
                got == rounded
            } else {
                error_square += error * error;
                want_square += want * want;
                if allowed > 0.0 {
                    share = share.max(error / allowed);
                }
                // Exact is meant among f32: a reference that is one itself, or rounds to the value.
                got == rounded || error <= allowed
            };
            if !met {
                misses += 1;
                let excess = if error.is_finite() { error / allowed } else { f64::INFINITY };
                if excess > worst.0 || misses == 1 {
                    let at = crate::reference::array::unravel(&expected.value.shape, i);
                    worst = (
                        excess,
                        format!("at {at:?}: {got:e}, reference {want:e}, off by {error:.3e}, allowed {allowed:.3e}"),
                    );
                }
            }
        }
        if misses > 0 {
            return Err(format!("{misses} of {} miss class {self:?}; worst {}", got.len(), worst.1));
        }
        if self == Class::Dot && error_square > slack * slack * DOT_NMSE * want_square {
            return Err(format!("normalised mean square error {:.3e} over {DOT_NMSE:e}", error_square / want_square));
        }
        Ok(share)
    }

    pub fn assert(self, what: &str, got: &[f64], expected: &Expected) {
        if let Err(miss) = self.compare(got, expected) {
            panic!("{what}: {miss}");
        }
    }
}

#[test]
fn classes_accept_and_refuse() {
    let one = Expected::new(Array::scalar(1.0));
    let up = |n: usize| f64::from((0..n).fold(1.0_f32, |x, _| x.next_up()));
    assert!(Class::Exact.compare(&[1.0], &one).is_ok() && Class::Exact.compare(&[up(1)], &one).is_err());
    assert!(Class::Round.compare(&[up(1)], &one).is_ok() && Class::Round.compare(&[up(2)], &one).is_err());
    assert!(Class::Div.compare(&[up(3)], &one).is_ok() && Class::Div.compare(&[up(4)], &one).is_err());
    assert!(Class::Transcendental.compare(&[up(4)], &one).is_ok());
    assert!(Class::Transcendental.compare(&[up(5)], &one).is_err());
    // Two integers that are one f32.
    let whole = Expected::new(Array::scalar(16_777_217.0));
    assert!(Class::Whole.compare(&[16_777_217.0], &whole).is_ok());
    assert!(Class::Whole.compare(&[16_777_216.0], &whole).is_err());
    let nan = Expected::new(Array::scalar(f64::NAN));
    assert!(Class::Exact.compare(&[f64::NAN], &nan).is_ok() && Class::Div.compare(&[0.0], &nan).is_err());
    let huge = Expected::new(Array::scalar(1e300));
    assert!(Class::Round.compare(&[f64::INFINITY], &huge).is_ok());
    assert!(Class::Round.compare(&[f64::from(f32::MAX)], &huge).is_err());
    let sum = Expected::joined(Array::scalar(0.0), Array::scalar(8.0), 16);
    assert!(Class::Sum.compare(&[8.0 * 16.0 * f64::from(f32::EPSILON)], &sum).is_ok());
    assert!(Class::Sum.compare(&[8.0 * 17.0 * f64::from(f32::EPSILON)], &sum).is_err());
    // Each element within its bound and yet the whole too far off.
    let biased = Expected::joined(Array::ones(&[4]), Array::full(&[4], 100.0), 100);
    assert!(Class::Dot.compare(&[1.000_01; 4], &biased).unwrap_err().contains("mean square"));
}
