//! Cross-entropy with class weights, label smoothing and ignored targets, along the middle axis of a contiguous
//! `[outer, n, inner]`.

use crate::launch::{Launch, params};
use crate::softmax::Axis;
use crate::{Kernel, Storage};

params! {
    /// The parameters of `class_loss.wgsl` and its gradient.
    "class_loss" "class_loss_grad" pub struct ClassLossParams {
        /// `outer * inner` of this launch.
        pub rows: u32,
        /// The number of classes.
        pub n: u32,
        /// Elements behind the class axis.
        pub inner: u32,
        /// The first row of this launch among all.
        pub first_row: u32,
        /// The rows of all launches.
        pub all_rows: u32,
        /// The class index that does not count, by its bits.
        pub ignored: u32,
        /// 1 where the gradient of the loss is over the divisor.
        pub mean: u32,
        /// The share of the target that is dealt out evenly.
        pub smoothing: f32,
        /// First element of the logits.
        pub x_offset: u32,
        /// First target.
        pub target_offset: u32,
        /// First weight.
        pub weight_offset: u32,
        /// First gradient of a loss.
        pub dloss_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// First of the two sums.
        pub sums_offset: u32,
    }
}

/// What the targets are, and whether classes have weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Targets {
    /// Of the logits.
    pub x: Storage,
    /// Class indices ([`Storage::I32`], [`Storage::U32`] or [`Storage::U8`]) or probabilities (the logits' type).
    pub targets: Storage,
    /// Whether there are weights of the classes.
    pub weighted: bool,
}

const INDEX: &str = "fn target_of(row: u32) -> u32 {
    return targets[params.target_offset + row];
}
fn share_of(class_index: u32, base: u32, k: u32) -> f32 {
    return select(0.0, 1.0, k == class_index);
}";
const BYTE_INDEX: &str = "fn target_of(row: u32) -> u32 {
    let i = params.target_offset + row;
    return (targets[i >> 2u] >> (8u * (i & 3u))) & 255u;
}
fn share_of(class_index: u32, base: u32, k: u32) -> f32 {
    return select(0.0, 1.0, k == class_index);
}";
const PROBABILITY: &str = "fn target_of(row: u32) -> u32 {
    return 0u;
}
fn share_of(class_index: u32, base: u32, k: u32) -> f32 {
    return f32(targets[params.target_offset + base + k * params.inner]);
}";

const NO_WEIGHT: &str = "fn weight_at(k: u32) -> f32 {
    return 1.0;
}";

macro_rules! weight {
    ($binding:literal) => {
        concat!(
            "@group(0) @binding(",
            $binding,
            ") var<storage, read_write> class_weights: array<f32>;\nfn weight_at(k: u32) -> f32 {\n    return \
             class_weights[params.weight_offset + k];\n}"
        )
    };
}

impl Targets {
    fn kernel(self, file: &'static str, weight: &'static str) -> Kernel {
        let probabilities = matches!(self.targets, Storage::F32 | Storage::F16);
        let xt = if probabilities { self.targets.wgsl() } else { "u32" };
        Kernel::new(file)
            .alias("X", self.x.wgsl())
            .alias("XT", xt)
            .constant("PROBABILITIES", probabilities)
            .function(match self.targets {
                Storage::U8 => BYTE_INDEX,
                _ if probabilities => PROBABILITY,
                _ => INDEX,
            })
            .function(if self.weighted { weight } else { NO_WEIGHT })
    }

    fn forward_kernel(self, group: u32) -> Kernel {
        self.kernel("class_loss", weight!("4")).constant("GROUP", group)
    }

    fn gradient_kernel(self, each: bool) -> Kernel {
        self.kernel("class_loss_grad", weight!("6")).constant("EACH", each)
    }
}

fn shaped(axis: Axis, settings: ClassLossParams) -> ClassLossParams {
    let rows = (axis.outer * axis.inner) as u32;
    ClassLossParams { rows, n: axis.n as u32, inner: axis.inner as u32, ..settings }
}

/// The losses of rows. `lanes` is how many lanes keep the adapter busy. Bindings: x, targets, losses, stats, and weights.
pub fn forward(targets: Targets, axis: Axis, lanes: usize, settings: ClassLossParams) -> Launch {
    // Few rows still reach every core of a processor.
    let group = if lanes > 1024 { 64 } else { 8 };
    let params = shaped(axis, settings);
    Launch::new(targets.forward_kernel(group), &params, u64::from(params.rows.div_ceil(group)))
}

/// The gradient of the logits; `each` says that every row has its own dloss. Bindings: x, targets, stats, dloss, out, sums,
/// and weights.
pub fn gradient(targets: Targets, each: bool, axis: Axis, settings: ClassLossParams) -> Launch {
    let params = shaped(axis, settings);
    Launch::new(targets.gradient_kernel(each), &params, (axis.outer * axis.n * axis.inner).div_ceil(64) as u64)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for x in [Storage::F32, Storage::F16] {
        for targets in [Storage::I32, Storage::U8, x] {
            for weighted in [false, true] {
                let targets = Targets { x, targets, weighted };
                kernels.extend([8, 64].map(|group| targets.forward_kernel(group)));
                kernels.extend([false, true].map(|each| targets.gradient_kernel(each)));
            }
        }
    }
    kernels
}
