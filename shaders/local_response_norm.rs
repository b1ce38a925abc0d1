//! Local response normalisation of a contiguous `[batch, channels, plane]`, and its gradient.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of local response normalisation. Offsets count items: see [`Response::width`].
    "local_response_norm" "local_response_norm_grad" pub struct ResponseParams {
        /// Items.
        pub count: u32,
        /// Channels.
        pub channels: u32,
        /// Items in the plane of a channel.
        pub plane: u32,
        /// Channels of a window before its own.
        pub before: u32,
        /// Channels of a window behind its own.
        pub after: u32,
        /// First item of x.
        pub x_offset: u32,
        /// First item of y.
        pub y_offset: u32,
        /// First item of the scale.
        pub scale_offset: u32,
        /// First item of dy.
        pub dy_offset: u32,
        /// First item of the result.
        pub out_offset: u32,
        /// The factor on the sum of squares.
        pub alpha: f32,
        /// The exponent.
        pub beta: f32,
        /// Added to the sum.
        pub k: f32,
    }
}

/// A problem of local response normalisation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Response {
    /// The type of the elements: [`Storage::F32`] or [`Storage::F16`].
    pub storage: Storage,
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Elements in the plane of a channel.
    pub plane: usize,
    /// Whether every tensor starts at a multiple of four elements.
    pub aligned: bool,
    /// Channels of a window.
    pub size: usize,
    /// The factor on the mean of squares.
    pub alpha: f64,
    /// The exponent.
    pub beta: f64,
    /// Added to the mean.
    pub k: f64,
}

impl Response {
    /// Elements of an item: four where planes are whole quads, else one.
    pub fn width(&self) -> usize {
        if self.aligned && self.plane.is_multiple_of(4) { 4 } else { 1 }
    }

    fn launch(&self, file: &'static str, offsets: ResponseParams) -> Launch {
        let count = self.batch * self.channels * self.plane / self.width();
        let params = ResponseParams {
            count: count as u32,
            channels: self.channels as u32,
            plane: (self.plane / self.width()) as u32,
            before: (self.size / 2) as u32,
            after: ((self.size - 1) / 2) as u32,
            alpha: (self.alpha / self.size as f64) as f32,
            beta: self.beta as f32,
            k: self.k as f32,
            ..offsets
        };
        Launch::new(kernel(file, self.storage, self.width()), &params, count.div_ceil(64) as u64)
    }
}

const POWER: &str = "fn power(v: V, exponent: f32) -> V {
    return exp_f32(exponent * log_f32(v));
}";
const POWER_QUAD: &str = "fn power(v: V, exponent: f32) -> V {
    let logs = vec4<f32>(log_f32(v.x), log_f32(v.y), log_f32(v.z), log_f32(v.w)) * exponent;
    return vec4<f32>(exp_f32(logs.x), exp_f32(logs.y), exp_f32(logs.z), exp_f32(logs.w));
}";

fn kernel(file: &'static str, storage: Storage, width: usize) -> Kernel {
    let (v, xv, power) = match (width, storage) {
        (4, Storage::F16) => ("vec4<f32>", "vec4<f16>", POWER_QUAD),
        (4, _) => ("vec4<f32>", "vec4<f32>", POWER_QUAD),
        (_, Storage::F16) => ("f32", "f16", POWER),
        _ => ("f32", "f32", POWER),
    };
    Kernel::new(file).alias("V", v).alias("XV", xv).function(power)
}

/// The normalised elements and their scale. `offsets` are those of the bindings x, y, scale, in items.
pub fn forward(response: &Response, offsets: [usize; 3]) -> Launch {
    let [x_offset, y_offset, scale_offset] = offsets.map(|offset| offset as u32);
    let offsets = ResponseParams { x_offset, y_offset, scale_offset, ..ResponseParams::default() };
    response.launch("local_response_norm", offsets)
}

/// The gradient of x. `offsets` are those of the bindings x, y, scale, dy, out, in items.
pub fn gradient(response: &Response, offsets: [usize; 5]) -> Launch {
    let [x_offset, y_offset, scale_offset, dy_offset, out_offset] = offsets.map(|offset| offset as u32);
    let offsets =
        ResponseParams { x_offset, y_offset, scale_offset, dy_offset, out_offset, ..ResponseParams::default() };
    response.launch("local_response_norm_grad", offsets)
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    for storage in [Storage::F32, Storage::F16] {
        for width in [1, 4] {
            kernels
                .extend(["local_response_norm", "local_response_norm_grad"].map(|file| kernel(file, storage, width)));
        }
    }
    kernels
}
