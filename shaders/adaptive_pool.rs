//! Adaptive pooling of contiguous planes, and its gradients.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of adaptive pooling; pairs are (x, y).
    "adaptive_pool" "adaptive_pool_grad" pub struct AdaptivePoolParams {
        /// Width and height of an input plane.
        pub size: [u32; 2],
        /// Width and height of an output plane.
        pub out_size: [u32; 2],
        /// Threads: elements of the result.
        pub count: u32,
        /// First element of x.
        pub x_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// First position of a maximum.
        pub index_offset: u32,
        /// First element of dy.
        pub dy_offset: u32,
        /// Not read.
        pub padding: u32,
    }
}

/// An adaptive pooling problem. Pairs are (height, width), as PyTorch's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdaptivePool {
    /// The number of planes: batch times channels.
    pub planes: usize,
    /// An input plane.
    pub size: [usize; 2],
    /// An output plane.
    pub out_size: [usize; 2],
    /// The largest of each window, not its mean.
    pub max: bool,
}

impl AdaptivePool {
    fn launch(&self, kernel: Kernel, pixels: [usize; 2], params: AdaptivePoolParams) -> Launch {
        let pair = |[y, x]: [usize; 2]| [x as u32, y as u32];
        let count = self.planes * pixels[0] * pixels[1];
        let (size, out_size) = (pair(self.size), pair(self.out_size));
        let params = AdaptivePoolParams { size, out_size, count: count as u32, ..params };
        Launch::new(kernel, &params, count.div_ceil(64) as u64)
    }
}

const STORE_INDEX: &str = "@group(0) @binding(2) var<storage, read_write> index: array<i32>;
fn store_index(i: u32, position: u32) {
    index[i] = i32(position);
}";
const NO_STORE: &str = "fn store_index(i: u32, position: u32) {}";
const INDEX_AT: &str = "@group(0) @binding(2) var<storage, read_write> index: array<i32>;
fn index_at(i: u32) -> u32 {
    return u32(index[i]);
}";
const NO_INDEX: &str = "fn index_at(i: u32) -> u32 {
    return 0u;
}";

fn kernel(storage: Storage, max: bool, gradient: bool) -> Kernel {
    let (file, function) = match (gradient, max) {
        (false, true) => ("adaptive_pool", STORE_INDEX),
        (false, false) => ("adaptive_pool", NO_STORE),
        (true, true) => ("adaptive_pool_grad", INDEX_AT),
        (true, false) => ("adaptive_pool_grad", NO_INDEX),
    };
    Kernel::new(file).alias("T", storage.wgsl()).constant("MAX", max).function(function)
}

/// The pooled planes. `offsets` are those of the bindings x, out and, for maxima, index (i32).
pub fn forward(storage: Storage, pool: &AdaptivePool, offsets: [usize; 3]) -> Launch {
    let [x_offset, out_offset, index_offset] = offsets.map(|offset| offset as u32);
    let params = AdaptivePoolParams { x_offset, out_offset, index_offset, ..AdaptivePoolParams::default() };
    pool.launch(kernel(storage, pool.max, false), pool.out_size, params)
}

/// The gradient to the input. `offsets` are those of the bindings dy, out and, for maxima, index.
pub fn gradient(storage: Storage, pool: &AdaptivePool, offsets: [usize; 3]) -> Launch {
    let [dy_offset, out_offset, index_offset] = offsets.map(|offset| offset as u32);
    let params = AdaptivePoolParams { dy_offset, out_offset, index_offset, ..AdaptivePoolParams::default() };
    pool.launch(kernel(storage, pool.max, true), pool.size, params)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let storages = [Storage::F32, Storage::F16].into_iter();
    let all = storages.flat_map(|storage| [0, 1, 2, 3].map(|i| kernel(storage, i & 1 != 0, i & 2 != 0)));
    all.collect()
}
