//! Seeded order: a counter-based generator and the shuffle that uses it.

/// SplitMix64: `mix(seed + i * GAMMA)` is the i-th number, so it is counter-based and its state is one word.
///
/// G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014; the mixing constants
/// are those of D. Stafford's variant 13, as in the paper's generator for Java.
pub(crate) struct SplitMix64 {
    state: u64,
}

/// 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// An own generator for each pair of seed and stream (an epoch, say): neighbouring pairs start far apart.
    pub(crate) fn stream(seed: u64, stream: u64) -> SplitMix64 {
        SplitMix64::new(mix(mix(seed.wrapping_add(GAMMA)).wrapping_add(stream).wrapping_add(GAMMA)))
    }

    /// An own generator for each sample of each epoch, apart from the one that orders the epoch.
    pub(crate) fn sample(seed: u64, epoch: u64, index: u64) -> SplitMix64 {
        SplitMix64::stream(SplitMix64::stream(!seed, epoch).next(), index)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number below `bound` (at least 1), each equally likely: the high word of a product, with the few numbers that
    /// would favour some results drawn again. D. Lemire, "Fast Random Integer Generation in an Interval", TOMACS 2019.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let unfair = bound.wrapping_neg() % bound.max(1);
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= unfair {
                return (product >> 64) as u64;
            }
        }
    }

    /// An even number in 0..1, a multiple of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An even number from `low` to `high`.
    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number of the standard normal distribution (G. Box, M. Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        // 1 - u is above 0, whose logarithm there is.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A number of the beta distribution with both parameters `alpha`, above 0.
    pub(crate) fn symmetric_beta(&mut self, alpha: f64) -> f64 {
        if alpha > 0.5 {
            // Without rejection: G. Ulrich, "Computer generation of distributions on the m-sphere", 1984.
            let radius = (1.0 - (1.0 - self.unit()).powf(2.0 / (2.0 * alpha - 1.0))).max(0.0).sqrt();
            return 0.5 + 0.5 * radius * (std::f64::consts::TAU * self.unit()).cos();
        }
        // M. Joehnk, 1964; at these parameters more than half of the pairs are taken. In logarithms, since u^(1/alpha) may
        // be too small for a number.
        loop {
            let (u, v) = ((1.0 - self.unit()).ln() / alpha, (1.0 - self.unit()).ln() / alpha);
            let larger = u.max(v);
            let sum = larger + ((u - larger).exp() + (v - larger).exp()).ln();
            if sum <= 0.0 {
                return (u - sum).exp();
            }
        }
    }

    /// Puts `items` into one of their orders, each equally likely (Fisher-Yates, from the end).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut random = SplitMix64::new(1234567);
        let given = [(); 5].map(|()| random.next());
        assert_eq!(
            given,
            [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
        );
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut random = SplitMix64::new(7);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        // Standard deviation of each count: sqrt(60000 * 1/6 * 5/6) = 91.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 5 * 91), "{counts:?}");
        assert_eq!((0..100).map(|_| random.below(1)).sum::<u64>(), 0);
        // Three quarters of the range: without drawing again, every third number would come twice as often as the others.
        let mut counts = [0u32; 3];
        for _ in 0..30_000 {
            counts[(random.below((3 << 62) + 1) % 3) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 5 * 82), "{counts:?}");
    }

    #[test]
    fn numbers_have_the_moments_of_their_distributions() {
        let mut random = SplitMix64::new(11);
        let mut moments = |draw: &mut dyn FnMut(&mut SplitMix64) -> f64| {
            let numbers: Vec<f64> = (0..40_000).map(|_| draw(&mut random)).collect();
            let mean = numbers.iter().sum::<f64>() / 40_000.0;
            (mean, numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0)
        };
        let close = |(mean, variance): (f64, f64), needed: (f64, f64), what: &str| {
            let off = ((mean - needed.0).abs(), (variance / needed.1 - 1.0).abs());
            assert!(off.0 < 5.0 * (needed.1 / 40_000.0).sqrt() && off.1 < 0.05, "{what}: {mean} {variance}");
        };
        close(moments(&mut |r| r.normal()), (0.0, 1.0), "normal");
        close(moments(&mut |r| r.within(-1.0, 3.0)), (1.0, 16.0 / 12.0), "even");
        for alpha in [0.1, 0.2, 0.5, 0.6, 1.0, 4.0] {
            close(
                moments(&mut |r| r.symmetric_beta(alpha)),
                (0.5, 0.25 / (2.0 * alpha + 1.0)),
                &format!("beta {alpha}"),
            );
        }
    }

    #[test]
    fn shuffle_reaches_every_order_equally_often() {
        let mut random = SplitMix64::new(3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0u8, 1, 2, 3];
            random.shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| count.abs_diff(1_000) < 5 * 31), "{counts:?}");
    }

    #[test]
    fn streams_differ_by_seed_and_by_number() {
        let first = |seed, stream| SplitMix64::stream(seed, stream).next();
        let all: std::collections::BTreeSet<u64> =
            (0..50).flat_map(|seed| (0..50).map(move |stream| first(seed, stream))).collect();
        assert_eq!(all.len(), 2500);
    }
}
