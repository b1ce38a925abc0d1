//! Max and average pooling of contiguous planes, and their gradients.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of the pooling kernels; pairs are (x, y).
    "max_pool" "max_pool_pairs" "max_pool_grad" "max_pool_grad_pairs" "avg_pool" "avg_pool_grad" pub struct PoolParams {
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
        /// Columns of a plane: of windows, of pixels, or of pairs of windows.
        pub columns: u32,
        /// Rows of a plane, of the same.
        pub rows: u32,
        /// Rows that a thread makes.
        pub band: u32,
        /// Bands of a plane.
        pub bands: u32,
        /// Threads.
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
        /// First element of y.
        pub y_offset: u32,
        /// Not read.
        pub unused: u32,
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
    /// Whether no two windows share a pixel.
    fn disjoint(&self) -> bool {
        (0..2).all(|axis| self.dilation[axis] * (self.kernel[axis] - 1) < self.stride[axis])
    }

    fn mode(&self) -> Mode {
        let reach = [0, 1].map(|axis| self.dilation[axis] * (self.kernel[axis] - 1));
        match reach {
            _ if self.disjoint() => Mode::Windows,
            _ if self.stride == [2; 2] && reach.iter().all(|&reach| reach < 4) => Mode::Squares,
            _ => Mode::Pixels,
        }
    }

    /// Whether windows are 2x2, side by side, and lie in whole quads of a plane's lines.
    fn pairs(&self) -> bool {
        (self.kernel, self.stride, self.padding, self.dilation) == ([2; 2], [2; 2], [0; 2], [1; 2])
            && self.size[1].is_multiple_of(4)
            && 2 * self.out_size[0] <= self.size[0]
    }
}

/// A launch over all planes of `[rows, columns]` things to make, cut into threads: a column of some rows each. `lanes` lanes keep
/// the adapter busy, and threads take fewer rows where there would be too few of them.
fn launch(kernel: Kernel, pool: &Pool, [rows, columns]: [usize; 2], lanes: usize, offsets: PoolParams) -> Launch {
    let pair = |[y, x]: [usize; 2]| [x as u32, y as u32];
    let wanted = (8 * lanes).div_ceil((pool.planes * columns).max(1));
    let band = (rows / wanted).max(1);
    let bands = rows.div_ceil(band);
    let count = pool.planes * bands * columns;
    let [columns, rows, band, bands] = [columns, rows, band, bands].map(|extent| extent as u32);
    let params = PoolParams {
        size: pair(pool.size),
        out_size: pair(pool.out_size),
        kernel: pair(pool.kernel),
        stride: pair(pool.stride),
        padding: pair(pool.padding),
        dilation: pair(pool.dilation),
        columns,
        rows,
        band,
        bands,
        count: count as u32,
        ..offsets
    };
    Launch::new(kernel, &params, count.div_ceil(64) as u64)
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

/// What a thread of `max_pool_grad.wgsl` makes.
#[derive(Clone, Copy)]
enum Mode {
    /// The pixels around windows that do not overlap.
    Windows = 0,
    /// Squares of pixels, which four windows at most touch.
    Squares = 1,
    /// Pixels.
    Pixels = 2,
}

fn kernel(file: &'static str, storage: Storage) -> Kernel {
    Kernel::new(file).alias("T", storage.wgsl())
}

/// Whether tensors begin at whole vectors of so many elements.
fn aligned<const N: usize>(offsets: [usize; N], widths: [usize; N]) -> bool {
    offsets.into_iter().zip(widths).all(|(offset, width)| offset.is_multiple_of(width))
}

/// Max pooling; with `relu` the larger of that and 0. `lanes` is how many lanes keep the adapter busy: about 64 for a CPU, 16,384
/// for a GPU. `offsets` are those of the bindings x, out, index (i32, a position in the plane, -1 for a window that holds no
/// pixel, whose maximum is negative infinity).
pub fn max(storage: Storage, pool: &Pool, relu: bool, lanes: usize, offsets: [usize; 3]) -> Launch {
    let pairs = pool.pairs() && aligned(offsets, [4, 2, 2]);
    let kernel = max_kernel(storage, pairs, relu);
    let [rows, columns] = pool.out_size;
    let [x_offset, out_offset, index_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { x_offset, out_offset, index_offset, ..PoolParams::default() };
    if !pairs {
        return launch(kernel, pool, [rows, columns], lanes, params);
    }
    let params =
        PoolParams { x_offset: x_offset / 4, out_offset: out_offset / 2, index_offset: index_offset / 2, ..params };
    launch(kernel, pool, [rows, columns / 2], lanes, params)
}

fn max_kernel(storage: Storage, pairs: bool, relu: bool) -> Kernel {
    kernel(if pairs { "max_pool_pairs" } else { "max_pool" }, storage).constant("RELU", relu)
}

/// The gradient of max pooling to its input. `offsets` are those of the bindings dy, index, out, y, where y is the result of a
/// forward pass with `relu` and otherwise not bound.
pub fn max_gradient(storage: Storage, pool: &Pool, relu: bool, lanes: usize, offsets: [usize; 4]) -> Launch {
    let pairs = pool.pairs() && pool.size[0].is_multiple_of(2) && aligned(offsets, [2, 2, 4, 2]);
    let mode = pool.mode();
    let kernel = max_gradient_kernel(storage, pairs, mode, relu);
    let [rows, columns] = match mode {
        Mode::Windows => pool.out_size,
        Mode::Squares => [0, 1].map(|axis| (pool.size[axis] + pool.padding[axis]).div_ceil(2)),
        Mode::Pixels => pool.size,
    };
    let [dy_offset, index_offset, out_offset, y_offset] = offsets.map(|offset| offset as u32);
    if !pairs {
        let params = PoolParams { dy_offset, index_offset, out_offset, y_offset, ..PoolParams::default() };
        return launch(kernel, pool, [rows, columns], lanes, params);
    }
    let params = PoolParams {
        dy_offset: dy_offset / 2,
        index_offset: index_offset / 2,
        out_offset: out_offset / 4,
        y_offset: y_offset / 2,
        ..PoolParams::default()
    };
    launch(kernel, pool, [rows, columns / 2], lanes, params)
}

fn max_gradient_kernel(storage: Storage, pairs: bool, mode: Mode, relu: bool) -> Kernel {
    if pairs {
        return kernel("max_pool_grad_pairs", storage).function(if relu { RELU_PAIR } else { PAIR });
    }
    let kernel = kernel("max_pool_grad", storage).constant("MODE", mode as u32);
    kernel.function(if relu { RELU_GRADIENT } else { GRADIENT })
}

const GRADIENT: &str = "fn gradient_of(o: u32) -> f32 {
    return f32(dy[params.dy_offset + o]);
}";
const RELU_GRADIENT: &str = "@group(0) @binding(3) var<storage, read_write> y: array<T>;
fn gradient_of(o: u32) -> f32 {
    let result = f32(y[params.y_offset + o]);
    return select(0.0, f32(dy[params.dy_offset + o]), result > 0.0 || is_nan(result));
}";
const PAIR: &str = "fn gradient_of(o: u32) -> vec2<f32> {
    return vec2<f32>(dy[params.dy_offset + o]);
}";
const RELU_PAIR: &str = "@group(0) @binding(3) var<storage, read_write> y: array<vec2<T>>;
fn gradient_of(o: u32) -> vec2<f32> {
    let result = vec2<f32>(y[params.y_offset + o]);
    let passes = (result > vec2<f32>(0.0)) | vec2<bool>(is_nan(result.x), is_nan(result.y));
    return select(vec2<f32>(0.0), vec2<f32>(dy[params.dy_offset + o]), passes);
}";

/// Average pooling; `include_pad` counts padding in the divisor. `offsets` are those of the bindings x, out.
pub fn average(storage: Storage, pool: &Pool, include_pad: bool, lanes: usize, offsets: [usize; 2]) -> Launch {
    let [x_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { x_offset, out_offset, include_pad: u32::from(include_pad), ..PoolParams::default() };
    launch(kernel("avg_pool", storage), pool, pool.out_size, lanes, params)
}

/// The gradient of average pooling to its input. `offsets` are those of the bindings dy, out.
pub fn average_gradient(storage: Storage, pool: &Pool, include_pad: bool, lanes: usize, offsets: [usize; 2]) -> Launch {
    let [dy_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = PoolParams { dy_offset, out_offset, include_pad: u32::from(include_pad), ..PoolParams::default() };
    let disjoint = pool.disjoint();
    let kernel = kernel("avg_pool_grad", storage).constant("DISJOINT", disjoint);
    launch(kernel, pool, if disjoint { pool.out_size } else { pool.size }, lanes, params)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        kernels.push(kernel("avg_pool", storage));
        kernels.extend([false, true].map(|disjoint| kernel("avg_pool_grad", storage).constant("DISJOINT", disjoint)));
        for relu in [false, true] {
            kernels.extend([false, true].map(|pairs| max_kernel(storage, pairs, relu)));
            let modes = [Mode::Windows, Mode::Squares, Mode::Pixels];
            kernels.extend(modes.map(|mode| max_gradient_kernel(storage, false, mode, relu)));
            kernels.push(max_gradient_kernel(storage, true, Mode::Windows, relu));
        }
    }
    kernels
}
