//! Tensors made of nothing: `arange`, random numbers, and dropout.
//!
//! Random numbers come from Philox4x32-10 and depend on seed, stream and position alone.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

/// What a random kernel draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Draw {
    /// Evenly from `low` (included) to `high` (excluded).
    Uniform {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// From the normal distribution.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
    },
    /// 1 with probability `p`, else 0.
    Bernoulli {
        /// The probability.
        p: f32,
    },
}

params! {
    /// The parameters of `arange.wgsl`.
    "arange" pub struct ArangeParams {
        /// `ceil(count / 4)`
        pub quads: u32,
        /// First quad of the result.
        pub offset: u32,
        /// The first value's bits.
        pub start: u32,
        /// The step's bits.
        pub step: u32,
    }
}

params! {
    /// The parameters of `random.wgsl`.
    "random" pub struct RandomParams {
        /// The seed, low word first.
        pub seed: [u32; 2],
        /// The stream, low word first.
        pub stream: [u32; 2],
        /// `ceil(count / 4)`
        pub quads: u32,
        /// First quad of the result.
        pub offset: u32,
        /// First quad of the numbers.
        pub first: u32,
        /// Low bound, mean or probability.
        pub s0: f32,
        /// High bound or deviation.
        pub s1: f32,
        /// Not read.
        pub padding: u32,
    }
}

/// The first stream of a seed.
impl From<u64> for Random {
    fn from(seed: u64) -> Random {
        Random { seed, stream: 0 }
    }
}

params! {
    /// The parameters of `dropout.wgsl`.
    "dropout" pub struct DropoutParams {
        /// The seed, low word first.
        pub seed: [u32; 2],
        /// The stream, low word first.
        pub stream: [u32; 2],
        /// `ceil(count / 4)`
        pub quads: u32,
        /// First quad of x.
        pub x_offset: u32,
        /// First quad of the result.
        pub out_offset: u32,
        /// The probability that an element is dropped.
        pub p: f32,
        /// `1 / (1 - p)`
        pub scale: f32,
        /// Not read.
        pub padding: u32,
    }
}

/// A seed and a stream number: two streams of one seed are independent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Random {
    /// The seed.
    pub seed: u64,
    /// The stream.
    pub stream: u64,
}

const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn quads(count: usize) -> (u32, u64) {
    let quads = count.div_ceil(4);
    (quads as u32, quads.div_ceil(256) as u64)
}

/// `out[i] = start + i * step`, for [`Storage::F32`], [`Storage::I32`] or [`Storage::U32`] with start and step as the bits
/// of that type ([`Storage::bits`]). Bindings: out, from its allocation's start plus `4 * offset_quads` elements.
pub fn arange(storage: Storage, count: usize, offset_quads: usize, start: u32, step: u32) -> Launch {
    let (quads, groups) = quads(count);
    let kernel = Kernel::new("arange").alias("T", storage.compute().wgsl());
    Launch::new(kernel, &ArangeParams { quads, offset: offset_quads as u32, start, step }, groups)
}

/// `count` random numbers from number `first` on, a multiple of four, as [`Storage::F32`] or [`Storage::F16`]. Bindings: out.
pub fn random(draw: Draw, storage: Storage, random: Random, first: usize, count: usize, offset_quads: usize) -> Launch {
    let (quads, groups) = quads(count);
    let (text, s0, s1) = match draw {
        Draw::Uniform { low, high } => (UNIFORM, low, high),
        Draw::Normal { mean, deviation } => (NORMAL, mean, deviation),
        Draw::Bernoulli { p } => (BERNOULLI, p, 0.0),
    };
    let (seed, stream) = (halves(random.seed), halves(random.stream));
    let (offset, first) = (offset_quads as u32, (first / 4) as u32);
    let params = RandomParams { seed, stream, quads, offset, first, s0, s1, padding: 0 };
    Launch::new(Kernel::new("random").alias("T", storage.wgsl()).function(text), &params, groups)
}

/// `x / (1 - p)` where a random number is at least `p`, else 0. The gradient is the same launch on dy.
/// Bindings: x, out; offsets in quads.
pub fn dropout(storage: Storage, p: f32, random: Random, count: usize, x_quads: usize, out_quads: usize) -> Launch {
    let (quads, groups) = quads(count);
    let params = DropoutParams {
        seed: halves(random.seed),
        stream: halves(random.stream),
        quads,
        x_offset: x_quads as u32,
        out_offset: out_quads as u32,
        p,
        // Everything is dropped at p = 1, and 0 * infinity would not be 0.
        scale: if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 },
        padding: 0,
    };
    Launch::new(Kernel::new("dropout").alias("T", storage.wgsl()), &params, groups)
}

const UNIFORM: &str = "fn draw(words: vec4<u32>) -> vec4<f32> {
    let value = params.s0 + unit_interval(words) * (params.s1 - params.s0);
    // Rounding may reach the upper bound.
    return select(value, vec4<f32>(params.s0), value >= vec4<f32>(params.s1));
}";

const NORMAL: &str = "fn draw(words: vec4<u32>) -> vec4<f32> {
    return params.s0 + params.s1 * vec4<f32>(normal_pair(words.xy), normal_pair(words.zw));
}";

const BERNOULLI: &str = "fn draw(words: vec4<u32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(1.0), unit_interval(words) < vec4<f32>(params.s0));
}";

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> =
        [Storage::F32, Storage::I32, Storage::U32].map(|storage| arange(storage, 1, 0, 0, 1).kernel).to_vec();
    let state = Random { seed: 0, stream: 0 };
    for storage in [Storage::F32, Storage::F16] {
        let draws = [
            Draw::Uniform { low: 0.0, high: 1.0 },
            Draw::Normal { mean: 0.0, deviation: 1.0 },
            Draw::Bernoulli { p: 0.5 },
        ];
        kernels.extend(draws.map(|draw| random(draw, storage, state, 0, 1, 0).kernel));
        kernels.push(dropout(storage, 0.5, state, 1, 0, 0).kernel);
    }
    kernels
}
