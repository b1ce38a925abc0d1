//! Timing.

use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_gpu::Device;

/// The shortest sample: long against the clock's grain and the cost of waiting for the device.
const SAMPLE: Duration = Duration::from_millis(10);
/// How long samples are taken, beyond the least number of them.
const SAMPLING: Duration = Duration::from_secs(1);
/// The least and the greatest number of samples.
const SAMPLES: (usize, usize) = (5, 50);
/// Calls in a sample: more would queue too much work at once.
const MOST_CALLS: u32 = 64;

/// Times of one call, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) median_ms: f64,
    pub(super) best_ms: f64,
}

impl Times {
    /// The median and the best of some times, of which there is at least one.
    pub(super) fn of(times: &mut [f64]) -> Times {
        times.sort_by(f64::total_cmp);
        let n = times.len();
        Times { median_ms: (times[(n - 1) / 2] + times[n / 2]) / 2.0, best_ms: times[0] }
    }
}

pub(super) fn milliseconds(start: Instant) -> f64 {
    1000.0 * start.elapsed().as_secs_f64()
}

/// Times work that `call` queues. What it returns is dropped at once, so that the next call finds the memory.
pub(super) fn time<T>(device: &Device, mut call: impl FnMut() -> Result<T>) -> Result<Times> {
    let mut sample = |calls: u32| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        device.sync()?;
        Ok(milliseconds(start) / f64::from(calls))
    };
    // The first call compiles, the second finds its memory in the pool.
    sample(1)?;
    let once = sample(1)?;
    let wanted = SAMPLE.as_secs_f64() * 1000.0 / once;
    let calls = if wanted > f64::from(MOST_CALLS) { MOST_CALLS } else { (wanted.ceil() as u32).max(1) };
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < SAMPLES.0 || (start.elapsed() < SAMPLING && times.len() < SAMPLES.1) {
        times.push(sample(calls)?);
    }
    Ok(Times::of(&mut times))
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn the_median_of_an_even_number_lies_in_the_middle() {
        assert_eq!(Times::of(&mut [4.0, 1.0, 3.0, 2.0]), Times { median_ms: 2.5, best_ms: 1.0 });
        assert_eq!(Times::of(&mut [9.0, 1.0, 2.0]), Times { median_ms: 2.0, best_ms: 1.0 });
        assert_eq!(Times::of(&mut [7.0]), Times { median_ms: 7.0, best_ms: 7.0 });
    }
}
