//! One formula for many pairs of tensors in a launch: `foreach.wgsl` and `square_sums.wgsl`. Bindings are laid out as the
//! optimizers': see [`optim`](crate::optim).

use crate::Kernel;
use crate::launch::{Launch, params};
use crate::optim::{Batch, MOST, Optimizer, SIZES, paired, segments, table_size};

params! {
    /// The parameters of kernels that work on pairs of tensors.
    "foreach" "square_sums" pub struct PairParams {
        /// By pair: first workgroup, quads, first quad of the written and of the read tensor.
        pub segment: [[u32; 4]; MOST],
        /// The first pair's place in the buffer, in workgroups.
        pub first_state: u32,
        /// Workgroups.
        pub groups: u32,
        /// The formula's first number.
        pub s0: f32,
        /// The formula's second number.
        pub s1: f32,
    }
}

/// What is made of the written tensor's element `p` and the read one's `g`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Formula {
    /// `p + factor g`
    AddScaled {
        /// The factor.
        factor: f32,
    },
    /// `p + weight (g - p)`
    Lerp {
        /// The weight.
        weight: f32,
    },
    /// `g`, at least `low` and at most `high`; a NaN stays.
    Clamp {
        /// The least.
        low: f32,
        /// The most.
        high: f32,
    },
    /// `g` times the first element of the buffer.
    Scale,
}

impl Formula {
    /// The bindings behind the pairs.
    pub const fn optimizer(self) -> Optimizer {
        match self {
            Formula::Scale => Optimizer::Pairs { buffer: true },
            _ => Optimizer::Pairs { buffer: false },
        }
    }

    fn apply(self) -> (&'static str, [f32; 2]) {
        match self {
            Formula::AddScaled { factor } => (ADD_SCALED, [factor, 0.0]),
            Formula::Lerp { weight } => (LERP, [weight, 0.0]),
            Formula::Clamp { low, high } => (CLAMP, [low, high]),
            Formula::Scale => (SCALE, [0.0; 2]),
        }
    }
}

const ADD_SCALED: &str = "fn apply(p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(params.s0), g, p);
}";
const LERP: &str = "fn apply(p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(params.s0), g - p, p);
}";
const CLAMP: &str = "fn apply(p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    let lost = vec4<bool>(is_nan(g.x), is_nan(g.y), is_nan(g.z), is_nan(g.w));
    return select(clamp(g, vec4<f32>(params.s0), vec4<f32>(params.s1)), g, lost);
}";
const SCALE: &str = "fn apply(p: vec4<f32>, g: vec4<f32>) -> vec4<f32> {
    return g * floats(state0[0]).x;
}";

fn kernel(formula: Formula, size: usize, int64: bool) -> Kernel {
    let kernel = paired("foreach", formula.optimizer(), size, int64).function(formula.apply().0);
    if matches!(formula, Formula::Clamp { .. }) { kernel.part("float") } else { kernel }
}

/// A formula on pairs, of which the parameter is the written one.
pub fn foreach(batch: &Batch<'_>, formula: Formula) -> Launch {
    let (segment, groups) = segments(batch.tensors);
    let [s0, s1] = formula.apply().1;
    let params = PairParams { segment, groups, s0, s1, first_state: 0 };
    Launch::new(kernel(formula, table_size(batch.tensors.len()), batch.int64), &params, u64::from(groups))
}

/// Sums of squares in each 1,024 elements of the gradients, from the block `first_state` on: see [`SQUARE_PARTS`].
pub fn square_sums(batch: &Batch<'_>) -> Launch {
    let (mut segment, groups) = segments(batch.tensors);
    for (row, tensor) in segment.iter_mut().zip(batch.tensors) {
        row[1] = tensor.elements as u32;
    }
    let params = PairParams { segment, groups, s0: 0.0, s1: 0.0, first_state: batch.first_state };
    Launch::new(square_kernel(table_size(batch.tensors.len()), batch.int64), &params, u64::from(groups))
}

/// How many sums a block of 1,024 elements has.
pub const SQUARE_PARTS: usize = 128;

fn square_kernel(size: usize, int64: bool) -> Kernel {
    paired("square_sums", Optimizer::Pairs { buffer: true }, size, int64)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let formulas = [
        Formula::AddScaled { factor: 1.0 },
        Formula::Lerp { weight: 0.5 },
        Formula::Clamp { low: -1.0, high: 1.0 },
        Formula::Scale,
    ];
    let layouts = SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]);
    layouts
        .flat_map(|(size, int64)| {
            let kernels = formulas.map(|formula| kernel(formula, size, int64));
            kernels.into_iter().chain([square_kernel(size, int64)])
        })
        .collect()
}
