//! Depthwise convolution, in which every channel is convolved on its own, and its gradients.
//!
//! Square kernels of 3, 5 and 7 with a stride of 1 or 2 have kernels that hold the taps in registers; all others take general
//! ones.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of the depthwise kernels; pairs are (x, y).
    "depthwise" "depthwise_any" "depthwise_input_grad" "depthwise_input_grad_any" "depthwise_weight_grad"
    "depthwise_weight_grad_any"
    pub struct DepthwiseParams {
        /// Width and height of an input plane.
        pub size: [u32; 2],
        /// Width and height of an output plane.
        pub out_size: [u32; 2],
        /// The kernel.
        pub kernel: [u32; 2],
        /// From window to window.
        pub stride: [u32; 2],
        /// On either side.
        pub padding: [u32; 2],
        /// From tap to tap.
        pub dilation: [u32; 2],
        /// Output channels.
        pub channels: u32,
        /// Output channels of an input channel.
        pub multiplier: u32,
        /// Columns of a plane, as the kernel counts them.
        pub columns: u32,
        /// Rows of a plane; for the weight gradient of all images.
        pub rows: u32,
        /// Rows that a thread makes, or sums.
        pub band: u32,
        /// How many bands there are of the rows.
        pub bands: u32,
        /// Threads.
        pub count: u32,
        /// First element of the binding x.
        pub x_offset: u32,
        /// First element of the binding w.
        pub w_offset: u32,
        /// First bias.
        pub bias_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// Not read.
        pub unused: u32,
    }
}

/// A depthwise convolution. Pairs are (height, width), as PyTorch's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depthwise {
    /// Images.
    pub batch: usize,
    /// Output channels.
    pub channels: usize,
    /// Output channels of an input channel.
    pub multiplier: usize,
    /// An input plane.
    pub size: [usize; 2],
    /// An output plane.
    pub out_size: [usize; 2],
    /// The kernel.
    pub kernel: [usize; 2],
    /// From window to window.
    pub stride: [usize; 2],
    /// On either side.
    pub padding: [usize; 2],
    /// From tap to tap.
    pub dilation: [usize; 2],
}

/// What is done to a finished sum of the forward pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epilogue {
    /// A bias per output channel is added.
    pub bias: bool,
    /// What is negative becomes 0.
    pub relu: bool,
}

/// The sides of the square kernels that have kernels of their own.
const SIDES: [usize; 3] = [3, 5, 7];

fn pair([y, x]: [usize; 2]) -> [u32; 2] {
    [x as u32, y as u32]
}

impl Depthwise {
    /// Side and stride, where the taps fit into registers.
    fn square(&self) -> Option<(u32, u32)> {
        let ([side, stride], plain) = ([self.kernel[0], self.stride[0]], self.dilation == [1; 2]);
        let square = self.kernel == [side; 2] && self.stride == [stride; 2];
        (plain && square && SIDES.contains(&side) && stride <= 2).then_some((side as u32, stride as u32))
    }

    /// The same sums as the data gradient of a stride of 1, by the kernel turned around.
    fn turned(&self) -> Option<Depthwise> {
        let padding = [0, 1].map(|axis| (self.kernel[axis] - 1).checked_sub(self.padding[axis]));
        let ([Some(y), Some(x)], Some((_, 1)), 1) = (padding, self.square(), self.multiplier) else {
            return None;
        };
        Some(Depthwise { size: self.out_size, out_size: self.size, padding: [y, x], ..*self })
    }

    fn params(&self) -> DepthwiseParams {
        DepthwiseParams {
            size: pair(self.size),
            out_size: pair(self.out_size),
            kernel: pair(self.kernel),
            stride: pair(self.stride),
            padding: pair(self.padding),
            dilation: pair(self.dilation),
            channels: self.channels as u32,
            multiplier: self.multiplier as u32,
            ..DepthwiseParams::default()
        }
    }
}

/// A launch over planes of `[rows, columns]` things to make, cut into threads: a column of some rows each. `lanes` lanes keep
/// the adapter busy, and threads take fewer rows where there would be too few of them.
fn strips(
    kernel: Kernel,
    problem: &Depthwise,
    planes: usize,
    [rows, columns]: [usize; 2],
    lanes: usize,
    offsets: DepthwiseParams,
) -> Launch {
    let wanted = (8 * lanes).div_ceil((planes * columns).max(1));
    let band = (rows / wanted).max(1);
    let bands = rows.div_ceil(band);
    let count = planes * bands * columns;
    let [columns, rows, band, bands] = [columns, rows, band, bands].map(|extent| extent as u32);
    let DepthwiseParams { x_offset, w_offset, bias_offset, out_offset, .. } = offsets;
    let params = DepthwiseParams {
        columns,
        rows,
        band,
        bands,
        count: count as u32,
        x_offset,
        w_offset,
        bias_offset,
        out_offset,
        ..problem.params()
    };
    Launch::new(kernel, &params, count.div_ceil(64) as u64)
}

/// The convolution. `lanes` is how many lanes keep the adapter busy: about 64 for a CPU, 16,384 for a GPU. `offsets` are those of
/// the bindings x, w, out, bias; without a bias there is no fourth binding.
pub fn forward(storage: Storage, problem: &Depthwise, epilogue: Epilogue, lanes: usize, offsets: [usize; 4]) -> Launch {
    let [x_offset, w_offset, out_offset, bias_offset] = offsets.map(|offset| offset as u32);
    let offsets = DepthwiseParams { x_offset, w_offset, out_offset, bias_offset, ..DepthwiseParams::default() };
    let planes = problem.batch * problem.channels;
    let [rows, columns] = problem.out_size;
    let kernel = forward_kernel(storage, problem.square(), false, epilogue);
    let columns = if problem.square().is_some() { columns.div_ceil(4) } else { columns };
    strips(kernel, problem, planes, [rows, columns], lanes, offsets)
}

/// The gradient of [`forward`] without epilogue to its input. `offsets` are those of the bindings dy, w, out.
pub fn input_gradient(storage: Storage, problem: &Depthwise, lanes: usize, offsets: [usize; 3]) -> Launch {
    let [x_offset, w_offset, out_offset] = offsets.map(|offset| offset as u32);
    let offsets = DepthwiseParams { x_offset, w_offset, out_offset, ..DepthwiseParams::default() };
    let planes = problem.batch * problem.channels / problem.multiplier;
    let [rows, columns] = problem.size;
    if let Some(turned) = problem.turned() {
        let kernel = forward_kernel(storage, turned.square(), true, Epilogue { bias: false, relu: false });
        return strips(kernel, &turned, planes, [rows, columns.div_ceil(4)], lanes, offsets);
    }
    if let (Some((side, 2)), 1) = (problem.square(), problem.multiplier) {
        let [rows, columns] = [0, 1].map(|axis| problem.size[axis] + problem.padding[axis]);
        let kernel = squares_kernel(storage, side);
        return strips(kernel, problem, planes, [rows.div_ceil(2), columns.div_ceil(8)], lanes, offsets);
    }
    let kernel = gather_kernel(storage, problem.dilation != [1; 2]);
    strips(kernel, problem, planes, [rows, columns], lanes, offsets)
}

/// A launch of the weight gradient, and how many partial sums it leaves of each element.
#[derive(Clone, Debug)]
pub struct WeightGradient {
    /// The launch. It writes `f32`, `[channels, kernel height, kernel width, parts]`, to be summed over the parts.
    pub launch: Launch,
    /// Partial sums of an element.
    pub parts: usize,
}

/// The gradient of [`forward`] without epilogue to its weight, in at most `most` partial sums for all elements together, or the
/// fewest that there can be. `offsets` are those of the bindings x, dy, out.
pub fn weight_gradient(
    storage: Storage,
    problem: &Depthwise,
    lanes: usize,
    most: usize,
    offsets: [usize; 3],
) -> WeightGradient {
    let [x_offset, w_offset, out_offset] = offsets.map(|offset| offset as u32);
    let square = problem.square();
    let columns = if square.is_some() { problem.out_size[1].div_ceil(4) } else { 1 };
    let lines = problem.channels * problem.kernel[0] * if square.is_some() { 1 } else { problem.kernel[1] };
    let rows = problem.batch * problem.out_size[0];
    let elements = problem.channels * problem.kernel[0] * problem.kernel[1];
    let wanted = (8 * lanes).div_ceil((lines * columns).max(1)).min(most / (elements * columns).max(1)).max(1);
    let band = rows.div_ceil(wanted).max(1);
    let bands = rows.div_ceil(band);
    let count = lines * columns * bands;
    let parts = bands * columns;
    let [columns, rows, band, bands] = [columns, rows, band, bands].map(|extent| extent as u32);
    let params = DepthwiseParams {
        columns,
        rows,
        band,
        bands,
        count: count as u32,
        x_offset,
        w_offset,
        out_offset,
        ..problem.params()
    };
    WeightGradient { launch: Launch::new(weight_kernel(storage, square), &params, count.div_ceil(64) as u64), parts }
}

fn sized(file: &'static str, storage: Storage, (side, stride): (u32, u32)) -> Kernel {
    Kernel::new(file).alias("T", storage.wgsl()).constant("SIDE", side).constant("STRIDE", stride)
}

fn forward_kernel(storage: Storage, square: Option<(u32, u32)>, flip: bool, epilogue: Epilogue) -> Kernel {
    let kernel = match square {
        Some(square) => sized("depthwise", storage, square).constant("FLIP", flip),
        None => Kernel::new("depthwise_any").alias("T", storage.wgsl()),
    };
    kernel.function(match (epilogue.bias, epilogue.relu) {
        (false, false) => PLAIN,
        (false, true) => RELU,
        (true, false) => BIAS,
        (true, true) => BIAS_RELU,
    })
}

fn squares_kernel(storage: Storage, side: u32) -> Kernel {
    Kernel::new("depthwise_input_grad").alias("T", storage.wgsl()).constant("SIDE", side)
}

fn gather_kernel(storage: Storage, dilated: bool) -> Kernel {
    Kernel::new("depthwise_input_grad_any").alias("T", storage.wgsl()).constant("DILATED", dilated)
}

fn weight_kernel(storage: Storage, square: Option<(u32, u32)>) -> Kernel {
    match square {
        Some(square) => sized("depthwise_weight_grad", storage, square),
        None => Kernel::new("depthwise_weight_grad_any").alias("T", storage.wgsl()),
    }
}

const PLAIN: &str = "fn finish(sum: vec4<f32>, channel: u32) -> vec4<f32> {
    return sum;
}";
// By comparison: what is NaN stays so.
const RELU: &str = "fn finish(sum: vec4<f32>, channel: u32) -> vec4<f32> {
    return select(sum, vec4<f32>(0.0), sum < vec4<f32>(0.0));
}";
const BIAS: &str = "@group(0) @binding(3) var<storage, read_write> bias: array<T>;
fn finish(sum: vec4<f32>, channel: u32) -> vec4<f32> {
    return sum + f32(bias[params.bias_offset + channel]);
}";
const BIAS_RELU: &str = "@group(0) @binding(3) var<storage, read_write> bias: array<T>;
fn finish(sum: vec4<f32>, channel: u32) -> vec4<f32> {
    let biased = sum + f32(bias[params.bias_offset + channel]);
    return select(biased, vec4<f32>(0.0), biased < vec4<f32>(0.0));
}";

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        let squares = SIDES.into_iter().flat_map(|side| [1, 2].map(|stride| Some((side as u32, stride))));
        for square in squares.chain([None]) {
            for bias in [false, true] {
                for relu in [false, true] {
                    kernels.push(forward_kernel(storage, square, false, Epilogue { bias, relu }));
                }
            }
            kernels.push(weight_kernel(storage, square));
        }
        for side in SIDES.map(|side| side as u32) {
            let plain = Epilogue { bias: false, relu: false };
            kernels.push(forward_kernel(storage, Some((side, 1)), true, plain));
            kernels.push(squares_kernel(storage, side));
        }
        kernels.extend([false, true].map(|dilated| gather_kernel(storage, dilated)));
    }
    kernels
}
