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

/// Seconds that a race takes beyond its least number of rounds, and the greatest number.
const RACE: (Duration, usize) = (Duration::from_secs(1), 20);
/// How much slower than the fastest a way's first calls may be for it to stay in a race, and how many they are.
const IN_THE_RACE: f64 = 2.0;
const QUALIFYING: usize = 3;

/// The best time of a call of each of several ways to do the same, in milliseconds. They are measured in turns, so that what else
/// the machine does slows all alike.
pub(super) fn race(device: &Device, ways: usize, mut call: impl FnMut(usize) -> Result<()>) -> Result<Vec<f64>> {
    let mut sample = |way: usize, calls: u32| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..calls {
            call(way)?;
        }
        device.sync()?;
        Ok(milliseconds(start) / f64::from(calls))
    };
    let mut best = Vec::new();
    for way in 0..ways {
        // The first call compiles. Of the others the best counts: a way is not to lose by a pause of the machine.
        sample(way, 1)?;
        let mut once = f64::INFINITY;
        for _ in 0..QUALIFYING {
            once = once.min(sample(way, 1)?);
        }
        best.push(once);
    }
    let fastest = best.iter().copied().fold(f64::INFINITY, f64::min);
    let racing: Vec<usize> = (0..ways).filter(|&way| best[way] < IN_THE_RACE * fastest).collect();
    let calls = calls_in_a_sample(fastest);
    let start = Instant::now();
    for round in 0..RACE.1 {
        if racing.len() < 2 || (round >= SAMPLES.0 && start.elapsed() > RACE.0) {
            break;
        }
        for &way in &racing {
            best[way] = best[way].min(sample(way, calls)?);
        }
    }
    Ok(best)
}

/// How many calls of this many milliseconds fill a sample.
fn calls_in_a_sample(once: f64) -> u32 {
    let wanted = SAMPLE.as_secs_f64() * 1000.0 / once;
    if wanted > f64::from(MOST_CALLS) { MOST_CALLS } else { (wanted.ceil() as u32).max(1) }
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
    let calls = calls_in_a_sample(once);
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
