//! What an adapter can do at most: multiply-adds in registers, and copying memory.

use crate::Kernel;
use crate::launch::{Launch, params};

params! {
    /// The parameters of `multiply_add.wgsl`.
    "multiply_add" pub struct MultiplyAddParams {
        /// Threads, each with a vec4 of the result.
        pub threads: u32,
        /// Rounds of 8 steps.
        pub rounds: u32,
        /// The factor of each step.
        pub x: f32,
        /// What each step adds.
        pub y: f32,
    }
}

params! {
    /// The parameters of `copy_quads.wgsl`.
    "copy_quads" pub struct CopyParams {
        /// How many vec4s.
        pub quads: u32,
    }
}

/// Multiply-adds that a thread of [`multiply_add`] makes in a round: 8 steps of 12 chains.
pub const MULTIPLY_ADDS_A_ROUND: u64 = 8 * 12;

/// `rounds` rounds of [`MULTIPLY_ADDS_A_ROUND`] in each of `threads` threads. Bindings: out, four f32 a thread.
pub fn multiply_add(threads: u32, rounds: u32) -> Launch {
    // The chains tend to 2, so that no step meets a subnormal number or an infinity.
    let params = MultiplyAddParams { threads, rounds, x: 0.5, y: 1.0 };
    Launch::new(Kernel::new("multiply_add"), &params, u64::from(threads.div_ceil(64)))
}

/// `out = x` for `quads` vec4s. Bindings: x, out.
pub fn copy(quads: u32) -> Launch {
    Launch::new(Kernel::new("copy_quads"), &CopyParams { quads }, u64::from(quads.div_ceil(256)))
}

pub(crate) fn variants() -> Vec<Kernel> {
    vec![multiply_add(1, 1).kernel, copy(1).kernel]
}
