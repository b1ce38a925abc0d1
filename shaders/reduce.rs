//! Reductions over any axes, in one launch or several: `reduce.wgsl`.

use crate::launch::{Launch, params};
use crate::{Compute, Kernel, Storage};

/// What is made of the elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reduction {
    /// Their sum: within `4 log2(n) eps sum|x|` for floats, modulo 2^32 for integers.
    Sum,
    /// Their sum over their number; floats only.
    Mean,
    /// The largest; NaN if there is one.
    Max,
    /// The smallest; NaN if there is one.
    Min,
    /// The position of the largest, the first of equals or the first NaN, within the reduced axes flattened in order.
    ArgMax,
    /// The position of the smallest, likewise.
    ArgMin,
}

params! {
    /// The parameters of `reduce.wgsl`.
    "reduce" pub struct ReduceParams {
        /// Extents of the kept axes, innermost first.
        pub kept_shape: [u32; 4],
        /// Their strides.
        pub kept_strides: [u32; 4],
        /// Extents of the reduced axes, innermost first.
        pub reduced_shape: [u32; 4],
        /// Their strides.
        pub reduced_strides: [u32; 4],
        /// The number of results.
        pub outputs: u32,
        /// Elements in a result.
        pub count: u32,
        /// Partial results of a result.
        pub parts: u32,
        /// First element of the operand.
        pub x_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// What a mean is divided by.
        pub divisor: f32,
        /// Not read.
        pub padding: [u32; 2],
    }
}

/// An operand as the reduction sees it: results of elements. Make it with [`View::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    kept_shape: [u32; 4],
    kept_strides: [u32; 4],
    kept_rank: usize,
    reduced_shape: [u32; 4],
    reduced_strides: [u32; 4],
    reduced_rank: usize,
    outputs: usize,
    count: usize,
}

/// Axes innermost first, joined where the strides allow it; `None` if more than four are left.
fn collapse(axes: impl Iterator<Item = (usize, usize)>) -> Option<([u32; 4], [u32; 4], usize)> {
    let (mut shape, mut strides, mut rank) = ([1u32; 4], [0u32; 4], 0usize);
    for (extent, stride) in axes.filter(|&(extent, _)| extent != 1) {
        if rank > 0 && stride == strides[rank - 1] as usize * shape[rank - 1] as usize {
            shape[rank - 1] *= extent as u32;
            continue;
        }
        *shape.get_mut(rank)? = extent as u32;
        strides[rank] = stride as u32;
        rank += 1;
    }
    Some((shape, strides, rank))
}

impl View {
    /// The view of a tensor with `shape` and `strides` (in elements, outermost first), reduced over the axes where
    /// `reduced` says so. Results are in the order of the kept axes. `None` where more than four kept or four reduced axes
    /// are left after joining neighbours, which a contiguous tensor of rank up to 8 never has.
    pub fn new(shape: &[usize], strides: &[usize], reduced: &[bool]) -> Option<View> {
        let axes = |wanted: bool| {
            let axes = shape.iter().zip(strides).zip(reduced).rev();
            axes.filter(move |(_, flag)| **flag == wanted).map(|((&extent, &stride), _)| (extent, stride))
        };
        let extents = |wanted| axes(wanted).map(|(extent, _)| extent).product();
        let (kept_shape, kept_strides, kept_rank) = collapse(axes(false))?;
        let (reduced_shape, reduced_strides, reduced_rank) = collapse(axes(true))?;
        Some(View {
            kept_shape,
            kept_strides,
            kept_rank,
            reduced_shape,
            reduced_strides,
            reduced_rank,
            outputs: extents(false),
            count: extents(true),
        })
    }

    /// The number of results.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of elements of a result.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether neighbouring lanes should take neighbouring elements of one result, not of neighbouring results.
    fn rows(&self) -> bool {
        self.reduced_strides[0] <= 1 || self.kept_strides[0] != 1
    }

    /// The view of the partial results of a launch over this one.
    fn of_partials(&self, parts: usize, inside: bool) -> View {
        let (outputs, parts) = (self.outputs as u32, parts as u32);
        let (kept, reduced) = if inside { (parts, 1) } else { (1, outputs) };
        View {
            kept_shape: [outputs, 1, 1, 1],
            kept_strides: [kept, 0, 0, 0],
            kept_rank: 1,
            reduced_shape: [parts, 1, 1, 1],
            reduced_strides: [reduced, 0, 0, 0],
            reduced_rank: 1,
            outputs: self.outputs,
            count: parts as usize,
        }
    }
}

/// One launch of a reduction. Bindings: x (the operand, or the previous pass's result), out.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The launch.
    pub launch: Launch,
    /// Items of 4 bytes that `out` must hold; a temporary buffer for all passes but the last.
    pub words: usize,
}

/// The most elements that one lane sums in a launch, so that the error stays within the bound of [`Reduction::Sum`].
const LONGEST: usize = 8192;

/// Plans a reduction: one launch, or first ones into temporary buffers where the results are too few to keep `lanes` lanes
/// busy (about 64 for a CPU, 16,384 for a GPU) or too long.
///
/// `x` is the operand's type and `out` the result's: [`Storage::I32`] or [`Storage::U32`] for positions, otherwise a type
/// with the operand's compute type (a byte result is made as [`Storage::U32`] and cast). `count` is not 0. The first pass
/// reads from `x_offset`, the last writes from `out_offset`.
pub fn plan(
    reduction: Reduction,
    x: Storage,
    out: Storage,
    view: &View,
    lanes: usize,
    x_offset: usize,
    out_offset: usize,
) -> Vec<Pass> {
    let mut passes = Vec::new();
    let mut view = *view;
    let mut source = Source::Tensor(x);
    let mut offset = x_offset;
    let total = view.count;
    loop {
        let rows = view.rows();
        // A tree pays where its 256 lanes have something to read.
        let tree = rows && lanes > 1024 && view.count >= 512 && view.outputs < lanes;
        let wide = if tree { 256 } else { 1 };
        let longest = wide * LONGEST;
        // A further launch costs a CPU what reading some thousand elements does, a GPU much less.
        let worth = if tree {
            256 * 32
        } else if lanes > 1024 {
            128
        } else {
            2048
        };
        let wanted = lanes.div_ceil((view.outputs * wide).max(1)).min(view.count / worth);
        let parts = wanted.max(view.count.div_ceil(longest)).max(1);
        let last = parts == 1;
        let target = if last { Target::Result(out) } else { Target::Partial };
        let params = ReduceParams {
            kept_shape: view.kept_shape,
            kept_strides: view.kept_strides,
            reduced_shape: view.reduced_shape,
            reduced_strides: view.reduced_strides,
            outputs: view.outputs as u32,
            count: view.count as u32,
            parts: parts as u32,
            x_offset: offset as u32,
            out_offset: if last { out_offset as u32 } else { 0 },
            divisor: total as f32,
            padding: [0; 2],
        };
        let shape = Shape { kept: view.kept_rank, reduced: view.reduced_rank, inside: rows, tree };
        let results = view.outputs * parts;
        let groups = if tree { results } else { results.div_ceil(64) };
        let words = if last || !reduction.positions() { results } else { 2 * results };
        let kernel = kernel(reduction, x.compute(), source, target, shape);
        passes.push(Pass { launch: Launch::new(kernel, &params, groups as u64), words });
        if last {
            return passes;
        }
        view = view.of_partials(parts, rows);
        source = Source::Partial;
        offset = 0;
    }
}

/// What a pass reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Tensor(Storage),
    Partial,
}

/// What a pass writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Result(Storage),
    Partial,
}

#[derive(Clone, Copy)]
struct Shape {
    kept: usize,
    reduced: usize,
    inside: bool,
    tree: bool,
}

impl Reduction {
    /// Every reduction.
    pub const ALL: [Reduction; 6] =
        [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min, Reduction::ArgMax, Reduction::ArgMin];

    /// Whether the result is a position, not a value.
    pub const fn positions(self) -> bool {
        matches!(self, Reduction::ArgMax | Reduction::ArgMin)
    }
}

fn kernel(reduction: Reduction, compute: Compute, source: Source, target: Target, shape: Shape) -> Kernel {
    let mut kernel = Kernel::new("reduce")
        .constant("KEPT", if shape.kept > 1 { 4u32 } else { 1 })
        .constant("REDUCED", [1u32, 1, 2, 4, 4].get(shape.reduced).copied().unwrap_or(4))
        .constant("INSIDE", shape.inside)
        .part(if shape.tree { "tree" } else { "single" })
        .part("float");
    let positions = reduction.positions();
    kernel = match source {
        Source::Partial if positions => kernel.function(LOAD_PAIR),
        Source::Partial => kernel.alias("X", compute.wgsl()).function(LOAD),
        Source::Tensor(Storage::U8) if positions => kernel.function(LOAD_BYTE_POSITION),
        Source::Tensor(Storage::U8) => kernel.function(LOAD_BYTE),
        Source::Tensor(storage) => {
            kernel.alias("X", storage.wgsl()).function(if positions { LOAD_POSITION } else { LOAD })
        }
    };
    kernel = match target {
        Target::Partial if positions => kernel.function(STORE_PAIR),
        Target::Partial => kernel.alias("Y", compute.wgsl()).function(STORE),
        Target::Result(storage) => kernel.alias("Y", storage.wgsl()).function(match reduction {
            Reduction::Mean => STORE_MEAN,
            _ if positions => STORE_POSITION,
            _ => STORE,
        }),
    };
    kernel =
        if positions { kernel.alias("V", compute.wgsl()).function(BEST) } else { kernel.alias("A", compute.wgsl()) };
    kernel.function(match (reduction, compute) {
        (Reduction::Sum | Reduction::Mean, _) => SUM,
        (Reduction::Max, Compute::Float) => MAX_FLOAT,
        (Reduction::Min, Compute::Float) => MIN_FLOAT,
        (Reduction::Max, Compute::Int) => MAX_INT,
        (Reduction::Min, Compute::Int) => MIN_INT,
        (Reduction::Max, Compute::Uint) => MAX_UINT,
        (Reduction::Min, Compute::Uint) => MIN_UINT,
        (Reduction::ArgMax, Compute::Float) => GREATER_FLOAT,
        (Reduction::ArgMin, Compute::Float) => LESS_FLOAT,
        (Reduction::ArgMax, _) => GREATER,
        (Reduction::ArgMin, _) => LESS,
    })
}

const LOAD: &str = "@group(0) @binding(0) var<storage, read_write> x: array<X>;
fn load(i: u32, k: u32) -> A {
    return A(x[i]);
}";
const LOAD_BYTE: &str = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
fn load(i: u32, k: u32) -> A {
    return (x[i >> 2u] >> (8u * (i & 3u))) & 255u;
}";
const LOAD_POSITION: &str = "@group(0) @binding(0) var<storage, read_write> x: array<X>;
fn load(i: u32, k: u32) -> A {
    return A(V(x[i]), k);
}";
const LOAD_BYTE_POSITION: &str = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
fn load(i: u32, k: u32) -> A {
    return A((x[i >> 2u] >> (8u * (i & 3u))) & 255u, k);
}";
const LOAD_PAIR: &str = "@group(0) @binding(0) var<storage, read_write> x: array<vec2<u32>>;
fn load(i: u32, k: u32) -> A {
    return A(bitcast<V>(x[i].x), x[i].y);
}";

const STORE: &str = "@group(0) @binding(1) var<storage, read_write> out: array<Y>;
fn store(i: u32, value: A) {
    out[i] = Y(value);
}";
const STORE_MEAN: &str = "@group(0) @binding(1) var<storage, read_write> out: array<Y>;
fn store(i: u32, value: A) {
    out[i] = Y(value / params.divisor);
}";
const STORE_POSITION: &str = "@group(0) @binding(1) var<storage, read_write> out: array<Y>;
fn store(i: u32, value: A) {
    out[i] = Y(value.position);
}";
const STORE_PAIR: &str = "@group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
fn store(i: u32, value: A) {
    out[i] = vec2<u32>(bitcast<u32>(value.value), value.position);
}";

const SUM: &str = "fn identity() -> A {
    return A(0);
}
fn combine(a: A, b: A) -> A {
    return a + b;
}";
const MAX_FLOAT: &str = "fn identity() -> A {
    return -infinity();
}
fn combine(a: A, b: A) -> A {
    return maximum_f32(a, b);
}";
const MIN_FLOAT: &str = "fn identity() -> A {
    return infinity();
}
fn combine(a: A, b: A) -> A {
    return minimum_f32(a, b);
}";
const MAX_INT: &str = "fn identity() -> A {
    return -2147483647 - 1;
}
fn combine(a: A, b: A) -> A {
    return max(a, b);
}";
const MIN_INT: &str = "fn identity() -> A {
    return 2147483647;
}
fn combine(a: A, b: A) -> A {
    return min(a, b);
}";
const MAX_UINT: &str = "fn identity() -> A {
    return 0u;
}
fn combine(a: A, b: A) -> A {
    return max(a, b);
}";
const MIN_UINT: &str = "fn identity() -> A {
    return 0xffffffffu;
}
fn combine(a: A, b: A) -> A {
    return min(a, b);
}";

/// A value and its position; the largest position stands for no element.
const BEST: &str = "struct A {
    value: V,
    position: u32,
}
fn identity() -> A {
    return A(V(0), 0xffffffffu);
}
fn combine(a: A, b: A) -> A {
    if (a.position == 0xffffffffu) {
        return b;
    }
    if (b.position == 0xffffffffu) {
        return a;
    }
    if (better(a.value, b.value)) {
        return a;
    }
    if (better(b.value, a.value)) {
        return b;
    }
    if (a.position < b.position) {
        return a;
    }
    return b;
}";
const GREATER: &str = "fn better(a: V, b: V) -> bool {
    return a > b;
}";
const LESS: &str = "fn better(a: V, b: V) -> bool {
    return a < b;
}";
const GREATER_FLOAT: &str = "fn better(a: V, b: V) -> bool {
    return !is_nan(b) && (is_nan(a) || a > b);
}";
const LESS_FLOAT: &str = "fn better(a: V, b: V) -> bool {
    return !is_nan(b) && (is_nan(a) || a < b);
}";

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for reduction in Reduction::ALL {
        for x in Storage::ALL {
            let compute = x.compute();
            if reduction == Reduction::Mean && compute != Compute::Float {
                continue;
            }
            let out = match (reduction.positions(), x) {
                (true, _) => Storage::I32,
                (false, Storage::F16) => Storage::F16,
                (false, _) => compute.storage(),
            };
            for (kept, reduced) in [(1, 1), (1, 2), (1, 4), (4, 1), (4, 2), (4, 4)] {
                for inside in [false, true] {
                    for tree in if inside { &[false, true][..] } else { &[false] } {
                        let shape = Shape { kept, reduced, inside, tree: *tree };
                        for target in [Target::Partial, Target::Result(out)] {
                            kernels.push(kernel(reduction, compute, Source::Tensor(x), target, shape));
                            if (kept, reduced) == (1, 1) {
                                kernels.push(kernel(reduction, compute, Source::Partial, target, shape));
                            }
                        }
                    }
                }
            }
        }
    }
    kernels
}
