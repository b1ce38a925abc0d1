//! Softmax, log-softmax and cross-entropy along the middle axis of a contiguous `[outer, n, inner]`.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of `softmax.wgsl`.
    "softmax" pub struct SoftmaxParams {
        /// `outer * inner`
        pub rows: u32,
        /// The extent of the axis.
        pub n: u32,
        /// Elements behind the axis.
        pub inner: u32,
        /// First element of x.
        pub x_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
    }
}

params! {
    /// The parameters of `softmax_grad.wgsl`.
    "softmax_grad" pub struct SoftmaxGradParams {
        /// `outer * inner`
        pub rows: u32,
        /// The extent of the axis.
        pub n: u32,
        /// Elements behind the axis.
        pub inner: u32,
        /// First element of y.
        pub y_offset: u32,
        /// First element of dy.
        pub dy_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
    }
}

params! {
    /// The parameters of `cross_entropy.wgsl`.
    "cross_entropy" pub struct CrossEntropyParams {
        /// `outer * inner`
        pub rows: u32,
        /// The number of classes.
        pub n: u32,
        /// Elements behind the class axis.
        pub inner: u32,
        /// First element of the logits.
        pub x_offset: u32,
        /// First target.
        pub target_offset: u32,
        /// First loss.
        pub loss_offset: u32,
        /// First of the rows' pairs.
        pub stats_offset: u32,
    }
}

params! {
    /// The parameters of `cross_entropy_grad.wgsl`.
    "cross_entropy_grad" pub struct CrossEntropyGradParams {
        /// Threads: `outer * chunks * inner`.
        pub count: u32,
        /// The number of classes.
        pub n: u32,
        /// Classes that a thread makes.
        pub run: u32,
        /// Threads of a row.
        pub chunks: u32,
        /// Elements behind the class axis.
        pub inner: u32,
        /// 1 over the number of rows for the mean, 1 for single losses.
        pub scale: f32,
        /// First element of the logits.
        pub x_offset: u32,
        /// First target.
        pub target_offset: u32,
        /// First of the rows' pairs.
        pub stats_offset: u32,
        /// First gradient of a loss.
        pub dloss_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
    }
}

/// The axis of a contiguous tensor, seen as `[outer, n, inner]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Axis {
    /// The product of the extents before the axis.
    pub outer: usize,
    /// The axis's extent.
    pub n: usize,
    /// The product of the extents behind the axis.
    pub inner: usize,
}

impl Axis {
    fn rows(self) -> u32 {
        (self.outer * self.inner) as u32
    }

    /// Whether a workgroup shares a row: long rows that lie in order, and too few of them to keep the adapter busy with one
    /// lane each.
    fn shared(self, lanes: usize) -> bool {
        self.inner == 1 && self.n >= 256 && self.outer < lanes
    }

    fn groups(self, shared: bool) -> u64 {
        let rows = u64::from(self.rows());
        if shared { rows } else { rows.div_ceil(64) }
    }
}

fn row_kernel(file: &'static str, storage: Storage, log: bool, shared: bool) -> Kernel {
    Kernel::new(file).alias("X", storage.wgsl()).constant("LOG", log).part(if shared {
        "row_tree"
    } else {
        "row_single"
    })
}

/// Softmax (`log`: its logarithm) of [`Storage::F32`] or [`Storage::F16`]. `lanes` is how many lanes keep the adapter
/// busy: about 64 for a CPU, 16,384 for a GPU. Bindings: x, out.
pub fn forward(storage: Storage, log: bool, axis: Axis, lanes: usize, x_offset: usize, out_offset: usize) -> Launch {
    let shared = axis.shared(lanes);
    let params = SoftmaxParams {
        rows: axis.rows(),
        n: axis.n as u32,
        inner: axis.inner as u32,
        x_offset: x_offset as u32,
        out_offset: out_offset as u32,
    };
    Launch::new(row_kernel("softmax", storage, log, shared), &params, axis.groups(shared))
}

/// The gradient of softmax (`log`: its logarithm) from its result y. `offsets` are those of the bindings y, dy, out.
pub fn gradient(storage: Storage, log: bool, axis: Axis, lanes: usize, offsets: [usize; 3]) -> Launch {
    let shared = axis.shared(lanes);
    let [y_offset, dy_offset, out_offset] = offsets.map(|offset| offset as u32);
    let (rows, n, inner) = (axis.rows(), axis.n as u32, axis.inner as u32);
    let params = SoftmaxGradParams { rows, n, inner, y_offset, dy_offset, out_offset };
    Launch::new(row_kernel("softmax_grad", storage, log, shared), &params, axis.groups(shared))
}

fn targets(kernel: Kernel, storage: Storage, mean: bool) -> Kernel {
    kernel.constant("MEAN", mean).function(match storage {
        Storage::U8 => "fn load_target(i: u32) -> u32 {\n    return (targets[i >> 2u] >> (8u * (i & 3u))) & 255u;\n}",
        // A negative i32 is a huge u32, so it is out of range too.
        _ => "fn load_target(i: u32) -> u32 {\n    return targets[i];\n}",
    })
}

/// Cross-entropy of logits against class indices ([`Storage::I32`], [`Storage::U32`] or [`Storage::U8`]): one loss per
/// row, or with `mean` their mean, in one launch. A class index outside the axis makes the loss NaN.
///
/// `offsets` are those of the bindings x, targets, loss (f32), stats (f32, two per row, for [`cross_entropy_gradient`]).
pub fn cross_entropy(x: Storage, target: Storage, mean: bool, axis: Axis, offsets: [usize; 4]) -> Launch {
    let [x_offset, target_offset, loss_offset, stats_offset] = offsets.map(|offset| offset as u32);
    let (rows, n, inner) = (axis.rows(), axis.n as u32, axis.inner as u32);
    let params = CrossEntropyParams { rows, n, inner, x_offset, target_offset, loss_offset, stats_offset };
    let kernel = Kernel::new("cross_entropy").alias("X", x.wgsl()).part(if mean { "row_tree" } else { "row_single" });
    let groups = if mean { 1 } else { axis.groups(false) };
    Launch::new(targets(kernel, target, mean), &params, groups)
}

/// The gradient of [`cross_entropy`] to the logits. `lanes` as for [`forward`]. `offsets` are those of the bindings x, targets, stats, dloss (one number
/// with `mean`, else one per row), out.
pub fn cross_entropy_gradient(
    x: Storage,
    target: Storage,
    mean: bool,
    axis: Axis,
    lanes: usize,
    offsets: [usize; 5],
) -> Launch {
    let [x_offset, target_offset, stats_offset, dloss_offset, out_offset] = offsets.map(|offset| offset as u32);
    // A target and what is known of its row serve several classes where enough threads are left.
    let run = (axis.outer * axis.n * axis.inner / (8 * lanes)).clamp(1, 16);
    let chunks = axis.n.div_ceil(run);
    let count = axis.outer * chunks * axis.inner;
    let params = CrossEntropyGradParams {
        count: count as u32,
        n: axis.n as u32,
        run: run as u32,
        chunks: chunks as u32,
        inner: axis.inner as u32,
        scale: if mean { 1.0 / axis.rows() as f32 } else { 1.0 },
        x_offset,
        target_offset,
        stats_offset,
        dloss_offset,
        out_offset,
    };
    let kernel = targets(Kernel::new("cross_entropy_grad").alias("X", x.wgsl()), target, mean);
    Launch::new(kernel, &params, count.div_ceil(64) as u64)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    let axis = Axis { outer: 1, n: 1, inner: 1 };
    for storage in [Storage::F32, Storage::F16] {
        for flag in [false, true] {
            for shared in [false, true] {
                kernels.push(row_kernel("softmax", storage, flag, shared));
                kernels.push(row_kernel("softmax_grad", storage, flag, shared));
            }
            for target in [Storage::I32, Storage::U8] {
                kernels.push(cross_entropy(storage, target, flag, axis, [0; 4]).kernel);
                kernels.push(cross_entropy_gradient(storage, target, flag, axis, 1, [0; 5]).kernel);
            }
        }
    }
    kernels
}
