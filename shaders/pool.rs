//! Max and average pooling of contiguous planes, and their gradients.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of the pooling kernels; pairs are (x, y).
    "max_pool" "max_pool_grad" "avg_pool" "avg_pool_grad" pub struct PoolParams {
        /// Width and height of an input plane.
        pub size: [u32; 2],
        /// Width and height of an output plane.
        pub out_size: [u32; 2],
        /// The window.
        pub kernel: [u32; 2],
        /// From window to window.
        pub stride: [u32; 2],
        /// On either side.
        pub padding: [u32; 2],
        /// From pixel to pixel in a window.
        pub dilation: [u32; 2],
        /// Threads: elements of the result.
        pub count: u32,
        /// 1 if padding counts in an average's divisor.
        pub include_pad: u32,
        /// First element of x.
        pub x_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// First saved index.
        pub index_offset: u32,
        /// First element of dy.
        pub dy_offset: u32,
    }
}

/// A pooling problem. Pairs are (height, width), as PyTorch's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    /// The number of planes: batch times channels.
    pub planes: usize,
    /// An input plane.
    pub size: [usize; 2],
    /// An output plane.
    pub out_size: [usize; 2],
    /// The window.
    pub kernel: [usize; 2],
    /// From window to window.
    pub stride: [usize; 2],
    /// On either side.
    pub padding: [usize; 2],
    /// From pixel to pixel in a window; average pooling has 1.
    pub dilation: [usize; 2],
}

impl Pool {
    fn params(&self) -> PoolParams {
        let pair = |[y, x]: [usize; 2]| [x as u32, y as u32];
        PoolParams {
            size: pair(self.size),
            out_size: pair(self.out_size),
            kernel: pair(self.kernel),
            stride: pair(self.stride),
            padding: pair(self.padding),
            dilation: pair(self.dilation),
            ..PoolParams::default()
        }
    }

    /// Whether no two windows share a pixel.
    fn disjoint(&self) -> bool {
        (0..2).all(|axis| self.dilation[axis] * (self.kernel[axis] - 1) < self.stride[axis])
    }

    fn windows(&self) -> usize {
        self.planes * self.out_size[0] * self.out_size[1]
    }

    fn pixels(&self) -> usize {
        self.planes * self.size[0] * self.size[1]
    }
}

fn launch(file: &'static str, storage: Storage, params: PoolParams, count: usize) -> Launch {
    let params = PoolParams { count: count as u32, ..params };
    Launch::new(Kernel::new(file).alias("T", storage.wgsl()), &params, count.div_ceil(64) as u64)
}

/// The extent of an output axis.
///
/// `floor((extent + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`; with `ceil_mode` rounded up, less a window that
/// would start beyond the input and its left padding. `None` where the window is larger than the padded input or an
/// argument is 0.
///
/// ```
/// use kiln_shaders::pool::extent;
///
/// assert_eq!(extent(28, 2, 2, 0, 1, false), Some(14));
/// assert_eq!(extent(7, 2, 2, 0, 1, true), Some(4));
/// assert_eq!(extent(2, 3, 1, 0, 1, false), None);
/// ```
pub fn extent(
    extent: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Option<usize> {
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    let room = extent.checked_add(padding.checked_mul(2)?)?.checked_sub(reach)?;
    if dilation == 0 {
        return None;
    }
    let windows = room.checked_div(stride)? + 1;
    let hangs = ceil_mode && !room.is_multiple_of(stride) && windows * stride < extent + padding;
    Some(windows + usize::from(hangs))
}

/// Max pooling. `offsets` are those of the bindings x, out, index (i32, a position in the plane, -1 for a window that
/// holds no pixel, whose maximum is negative infinity).
pub fn max(storage: Storage, pool: &Pool, offsets: [usize; 3]) -> Launch {
    let [x_offset, out_offset, index_offset] = offsets.map(|offset| offset as u32);
    launch("max_pool", storage, PoolParams { x_offset, out_offset, index_offset, ..pool.params() }, pool.windows())
}

/// The gradient of max pooling to its input. `offsets` are those of the bindings dy, index, out.
pub fn max_gradient(storage: Storage, pool: &Pool, offsets: [usize; 3]) -> Launch {
    let [dy_offset, index_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { dy_offset, index_offset, out_offset, ..pool.params() };
    let mut launch = launch("max_pool_grad", storage, params, pool.pixels());
    launch.kernel = launch.kernel.constant("DISJOINT", pool.disjoint());
    launch
}

/// Average pooling; `include_pad` counts padding in the divisor. `offsets` are those of the bindings x, out.
pub fn average(storage: Storage, pool: &Pool, include_pad: bool, offsets: [usize; 2]) -> Launch {
    let [x_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { x_offset, out_offset, include_pad: u32::from(include_pad), ..pool.params() };
    launch("avg_pool", storage, params, pool.windows())
}

/// The gradient of average pooling to its input. `offsets` are those of the bindings dy, out.
pub fn average_gradient(storage: Storage, pool: &Pool, include_pad: bool, offsets: [usize; 2]) -> Launch {
    let [dy_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { dy_offset, out_offset, include_pad: u32::from(include_pad), ..pool.params() };
    launch("avg_pool_grad", storage, params, pool.pixels())
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        let kernel = |file| Kernel::new(file).alias("T", storage.wgsl());
        kernels.extend(["max_pool", "avg_pool", "avg_pool_grad"].map(kernel));
        kernels.extend([false, true].map(|disjoint| kernel("max_pool_grad").constant("DISJOINT", disjoint)));
    }
    kernels
}
