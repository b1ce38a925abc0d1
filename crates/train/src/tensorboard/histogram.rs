//! Histograms in TensorBoard's buckets.

use std::sync::OnceLock;

use super::proto::Message;

/// How values are spread: their number, sum and extremes, and counts in buckets whose width grows by a tenth from one to the next,
/// from `1e-12` to `1e20` on either side of zero. Source: tensorflow/core/lib/histogram/histogram.cc.
///
/// ```
/// use kiln_train::Histogram;
/// let spread = Histogram::of(&[-1.0, 0.25, 0.25, f32::NAN]);
/// assert_eq!((spread.count(), spread.not_finite(), spread.sum()), (3, 1, -0.5));
/// assert_eq!((spread.min(), spread.max()), (-1.0, 0.25));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    min: f64,
    max: f64,
    count: u64,
    sum: f64,
    sum_of_squares: f64,
    not_finite: u64,
    /// The upper end of each bucket, above all its values, and how many there are.
    buckets: Vec<(f64, u64)>,
}

/// The upper ends of all buckets, ascending.
fn limits() -> &'static [f64] {
    static LIMITS: OnceLock<Vec<f64>> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let mut above = vec![1e-12];
        while let Some(next) = above.last().map(|last| last * 1.1).filter(|&next| next < 1e20) {
            above.push(next);
        }
        above.push(f64::MAX);
        let below = above.iter().rev().map(|limit| -limit);
        below.chain([0.0]).chain(above.iter().copied()).collect()
    })
}

impl Histogram {
    /// Of these values. Those that are not finite are counted and otherwise left out.
    pub fn of(values: &[f32]) -> Histogram {
        let limits = limits();
        let mut counts = vec![0u64; limits.len()];
        let mut histogram = Histogram {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            not_finite: 0,
            buckets: Vec::new(),
        };
        for value in values.iter().map(|&value| f64::from(value)) {
            if !value.is_finite() {
                histogram.not_finite += 1;
                continue;
            }
            histogram.count += 1;
            histogram.sum += value;
            histogram.sum_of_squares += value * value;
            histogram.min = histogram.min.min(value);
            histogram.max = histogram.max.max(value);
            counts[limits.partition_point(|&limit| limit <= value)] += 1;
        }
        if histogram.count == 0 {
            (histogram.min, histogram.max) = (0.0, 0.0);
        }
        // Empty buckets in a row are one; those at the ends say nothing.
        for (&limit, &count) in limits.iter().zip(&counts) {
            match histogram.buckets.last_mut() {
                None if count == 0 => {}
                Some(last) if count == 0 && last.1 == 0 => last.0 = limit,
                _ => histogram.buckets.push((limit, count)),
            }
        }
        if histogram.buckets.last().is_some_and(|last| last.1 == 0) {
            histogram.buckets.pop();
        }
        histogram
    }

    /// The number of finite values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The number of values that are NaN or infinite.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// The smallest finite value; 0 where there is none.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest finite value; 0 where there is none.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The sum of the finite values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// As a `HistogramProto`. A reader takes `min` as the lower end of the first bucket, and `max` as the upper end of the last.
    pub(crate) fn message(&self) -> Message {
        let (mut limits, mut counts): (Vec<f64>, Vec<f64>) =
            self.buckets.iter().map(|&(limit, count)| (limit, count as f64)).unzip();
        if limits.is_empty() {
            (limits, counts) = (vec![f64::MAX], vec![0.0]);
        }
        Message::new()
            .double(1, self.min)
            .double(2, self.max)
            .double(3, self.count as f64)
            .double(4, self.sum)
            .double(5, self.sum_of_squares)
            .doubles(6, &limits)
            .doubles(7, &counts)
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, limits};

    #[test]
    fn each_value_is_in_the_bucket_around_it() {
        let values: Vec<f32> = (0..2000).map(|i| ((i * 37 % 2000) as f32 - 700.0) * 1e-3).collect();
        let histogram = Histogram::of(&values);
        let mut below = f64::NEG_INFINITY;
        for &(limit, count) in &histogram.buckets {
            let own = values.iter().filter(|&&value| (below..limit).contains(&f64::from(value))).count();
            assert_eq!(count, own as u64, "{below}..{limit}");
            below = limit;
        }
        assert_eq!(histogram.buckets.iter().map(|bucket| bucket.1).sum::<u64>(), 2000);
        assert_eq!(histogram.buckets.first().map(|bucket| bucket.1 > 0), Some(true));
        assert_eq!(histogram.buckets.last().map(|bucket| bucket.1 > 0), Some(true));
    }

    #[test]
    fn extremes_and_nothing_have_buckets_too() {
        let far = Histogram::of(&[f32::MAX, f32::MIN, 0.0, -0.0, f32::INFINITY]);
        assert_eq!((far.count(), far.not_finite()), (4, 1));
        let found: Vec<u64> = far.buckets.iter().map(|bucket| bucket.1).filter(|&count| count > 0).collect();
        assert_eq!(found, [1, 2, 1]);
        let nothing = Histogram::of(&[f32::NAN]);
        assert_eq!((nothing.count(), nothing.not_finite(), nothing.min(), nothing.max()), (0, 1, 0.0, 0.0));
        assert!(limits().is_sorted() && limits().len() > 1500, "{}", limits().len());
    }
}
