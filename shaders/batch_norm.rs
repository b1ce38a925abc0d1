//! Batch norm by channel of a contiguous `[batch, channels, plane]`, and its gradients.

use crate::launch::{Launch, params};
use crate::{Kernel, Storage};

params! {
    /// The parameters of the kernels of batch norm. Offsets of x, dy and the result count items: see [`Planes::width`].
    "batch_norm" "batch_norm_combine" "batch_norm_grad" "batch_norm_grad_sums" "batch_norm_stats"
    pub struct BatchNormParams {
        /// Images.
        pub batch: u32,
        /// Channels.
        pub channels: u32,
        /// Items in the plane of a channel.
        pub plane: u32,
        /// How many lanes or workgroups share a channel.
        pub parts: u32,
        /// Where the partial results of this launch start.
        pub first_part: u32,
        /// Partial results of a channel, of all launches.
        pub all_parts: u32,
        /// First item of x.
        pub x_offset: u32,
        /// First item of dy.
        pub dy_offset: u32,
        /// First item of the result.
        pub out_offset: u32,
        /// First mean.
        pub mean_offset: u32,
        /// First variance, or inverse of a deviation.
        pub spread_offset: u32,
        /// First weight.
        pub weight_offset: u32,
        /// First bias.
        pub bias_offset: u32,
        /// First running mean.
        pub running_mean_offset: u32,
        /// First running variance.
        pub running_var_offset: u32,
        /// Elements of a channel.
        pub count: f32,
        /// Added to the variance.
        pub epsilon: f32,
        /// The share of this batch in the running statistics.
        pub momentum: f32,
    }
}

/// The images of one launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planes {
    /// The type of their elements: [`Storage::F32`] or [`Storage::F16`].
    pub storage: Storage,
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Elements in the plane of a channel.
    pub plane: usize,
    /// Whether every tensor of the launch starts at a multiple of four elements.
    pub aligned: bool,
}

impl Planes {
    /// Elements of an item: four where planes are whole quads, else one.
    pub fn width(&self) -> usize {
        if self.aligned && self.plane.is_multiple_of(4) { 4 } else { 1 }
    }

    /// Items of a channel.
    fn items(&self) -> usize {
        self.batch * self.plane / self.width()
    }

    /// Whether neighbouring lanes should take neighbours of a plane, not neighbouring channels.
    fn inside(&self) -> bool {
        self.plane > 1
    }

    fn params(&self, parts: usize, settings: BatchNormParams) -> BatchNormParams {
        BatchNormParams {
            batch: self.batch as u32,
            channels: self.channels as u32,
            plane: (self.plane / self.width()) as u32,
            parts: parts as u32,
            ..settings
        }
    }

    fn kernel(&self, file: &'static str) -> Kernel {
        let (v, xv, total) = match (self.width(), self.storage) {
            (4, Storage::F16) => ("vec4<f32>", "vec4<f16>", TOTAL_QUAD),
            (4, _) => ("vec4<f32>", "vec4<f32>", TOTAL_QUAD),
            (_, Storage::F16) => ("f32", "f16", TOTAL),
            _ => ("f32", "f32", TOTAL),
        };
        Kernel::new(file)
            .alias("V", v)
            .alias("XV", xv)
            .constant("WIDTH", self.width() as u32)
            .constant("INSIDE", self.inside())
            .function(total)
    }

    /// The part that lanes share a result by.
    fn sharing(&self, lanes: usize) -> &'static str {
        match (lanes > 1024, self.inside()) {
            (true, true) => "tree",
            (true, false) => "single",
            (false, _) => "single_narrow",
        }
    }

    /// How many parts of a channel keep `lanes` lanes busy, each with at least 16 items.
    fn parts(&self, lanes: usize) -> usize {
        let (wide, group) = self.groups_of(lanes);
        // A processor's cores take groups, and two groups of eight lanes each is little to share out.
        let busy = if group == 8 { 2 * lanes } else { lanes };
        busy.div_ceil((self.channels * wide).max(1)).min(self.items() / (16 * wide)).max(1)
    }

    /// Lanes that share a part, and lanes of a workgroup.
    fn groups_of(&self, lanes: usize) -> (usize, usize) {
        match self.sharing(lanes) {
            "tree" => (256, 256),
            "single" => (1, 64),
            _ => (1, 8),
        }
    }

    fn groups(&self, lanes: usize, parts: usize) -> u64 {
        let (wide, group) = self.groups_of(lanes);
        (self.channels * parts * wide).div_ceil(group) as u64
    }

    /// The launch of a kernel whose threads each make a few items.
    fn spread(&self, kernel: Kernel, lanes: usize, settings: BatchNormParams) -> Launch {
        // What a thread reads of its channel costs a processor as much as two items.
        let each = if lanes > 1024 { 1 } else { 16 };
        let parts = self.items().div_ceil(each).max(1);
        Launch::new(kernel, &self.params(parts, settings), (self.channels * parts).div_ceil(64) as u64)
    }
}

/// Learned scale and shift, and what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Whether there are weight and bias.
    pub affine: bool,
    /// Whether mean and variance are given, not those of the batch.
    pub running: bool,
    /// Whether a ReLU follows.
    pub relu: bool,
}

fn shaped(planes: &Planes, kernel: Kernel, form: Form, affine: &'static str) -> Kernel {
    let reached = if planes.width() == 4 { REACHED_QUAD } else { REACHED };
    let kernel = kernel.constant("RUNNING", form.running).constant("RELU", form.relu).function(reached);
    if form.affine { kernel.function(affine).part("affine") } else { kernel.part("no_affine") }
}

/// Where [`statistics`] leaves what it found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// In a buffer of `[parts, channels]` quads, for [`combine`].
    Partial,
    /// In the means and the inverses of the deviations.
    Statistics,
    /// As `Statistics`, and the running statistics are moved.
    Tracked,
}

/// How many parts [`statistics`] and [`gradient_sums`] make of a channel.
pub fn parts(planes: &Planes, lanes: usize) -> usize {
    planes.parts(lanes)
}

/// The moments of each channel. `lanes` is how many lanes keep the adapter busy: about 64 for a CPU, 16,384 for a GPU.
/// Bindings: x, then those of the target: the partial moments; or mean and inverse deviation; and running mean and variance.
pub fn statistics(planes: &Planes, target: Target, lanes: usize, settings: BatchNormParams) -> Launch {
    let parts = planes.parts(lanes);
    Launch::new(statistics_kernel(planes, target, lanes), &planes.params(parts, settings), planes.groups(lanes, parts))
}

fn statistics_kernel(planes: &Planes, target: Target, lanes: usize) -> Kernel {
    planes.kernel("batch_norm_stats").function(LOAD).function(store(target)).part(planes.sharing(lanes))
}

/// The moments of each channel from those of its parts. Bindings: the partial moments, then those of the target.
pub fn combine(planes: &Planes, target: Target, settings: BatchNormParams) -> Launch {
    let kernel = combine_kernel(target);
    Launch::new(kernel, &planes.params(1, settings), planes.channels.div_ceil(64) as u64)
}

fn combine_kernel(target: Target) -> Kernel {
    Kernel::new("batch_norm_combine").constant("INSIDE", false).function(LOAD_PARTIAL).function(store(target))
}

/// `(x - mean) / deviation * weight + bias`. Bindings: x, out, mean, spread, and with `affine` weight and bias.
pub fn normalise(planes: &Planes, form: Form, lanes: usize, settings: BatchNormParams) -> Launch {
    planes.spread(normalise_kernel(planes, form), lanes, settings)
}

fn normalise_kernel(planes: &Planes, form: Form) -> Kernel {
    shaped(planes, planes.kernel("batch_norm"), form, AFFINE_4)
}

/// The gradients of bias and weight, as `[2, all_parts, channels]`. Bindings: x, dy, sums, mean, spread, and with `affine`
/// weight and bias.
pub fn gradient_sums(planes: &Planes, form: Form, lanes: usize, settings: BatchNormParams) -> Launch {
    let parts = planes.parts(lanes);
    let kernel = gradient_sums_kernel(planes, form, lanes);
    Launch::new(kernel, &planes.params(parts, settings), planes.groups(lanes, parts))
}

fn gradient_sums_kernel(planes: &Planes, form: Form, lanes: usize) -> Kernel {
    let kernel = planes.kernel("batch_norm_grad_sums").alias("A", "vec2<f32>").function(ADD);
    shaped(planes, kernel.part(planes.sharing(lanes)), form, AFFINE_5)
}

/// The gradient of x. Bindings: x, dy, sums (`[2, channels]`), mean, spread, out, and with `affine` weight and bias.
pub fn gradient(planes: &Planes, form: Form, lanes: usize, settings: BatchNormParams) -> Launch {
    planes.spread(gradient_kernel(planes, form), lanes, settings)
}

fn gradient_kernel(planes: &Planes, form: Form) -> Kernel {
    shaped(planes, planes.kernel("batch_norm_grad"), form, AFFINE_6)
}

const TOTAL: &str = "fn total(v: V) -> f32 {
    return v;
}";
const TOTAL_QUAD: &str = "fn total(v: V) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}";

// What a ReLU lets through, NaN with it.
const REACHED: &str = "fn reached(v: V) -> bool {
    return v > 0.0 || is_nan(v);
}";
const REACHED_QUAD: &str = "fn reached(v: V) -> vec4<bool> {
    return (v > V(0.0)) | vec4<bool>(is_nan(v.x), is_nan(v.y), is_nan(v.z), is_nan(v.w));
}";

const ADD: &str = "fn combine(a: A, b: A) -> A {
    return a + b;
}";

const LOAD: &str = "@group(0) @binding(0) var<storage, read_write> x: array<XV>;";
const LOAD_PARTIAL: &str = "@group(0) @binding(0) var<storage, read_write> partial: array<vec4<f32>>;";

fn store(target: Target) -> &'static str {
    match target {
        Target::Partial => STORE_PARTIAL,
        Target::Statistics => STORE,
        Target::Tracked => STORE_TRACKED,
    }
}

const STORE_PARTIAL: &str = "@group(0) @binding(1) var<storage, read_write> partial: array<vec4<f32>>;
fn store(share: Share, moments: A) {
    let at = (params.first_part + share.part) * params.channels + share.channel;
    partial[at] = vec4<f32>(moments.count, moments.mean, moments.squares, 0.0);
}";
const STORE: &str = "@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> spread: array<f32>;
fn store(share: Share, moments: A) {
    mean[params.mean_offset + share.channel] = moments.mean;
    spread[params.spread_offset + share.channel] = 1.0 / sqrt(moments.squares / moments.count + params.epsilon);
}";
// The running variance is that of the population which the batch is a sample of.
const STORE_TRACKED: &str = "@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> spread: array<f32>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_var: array<f32>;
fn store(share: Share, moments: A) {
    mean[params.mean_offset + share.channel] = moments.mean;
    spread[params.spread_offset + share.channel] = 1.0 / sqrt(moments.squares / moments.count + params.epsilon);
    let kept = 1.0 - params.momentum;
    let i = params.running_mean_offset + share.channel;
    running_mean[i] = kept * running_mean[i] + params.momentum * moments.mean;
    let j = params.running_var_offset + share.channel;
    running_var[j] = kept * running_var[j] + params.momentum * (moments.squares / (moments.count - 1.0));
}";

macro_rules! affine {
    ($weight:literal, $bias:literal) => {
        concat!(
            "@group(0) @binding(",
            $weight,
            ") var<storage, read_write> weight: array<f32>;\n@group(0) @binding(",
            $bias,
            ") var<storage, read_write> bias: array<f32>;"
        )
    };
}
const AFFINE_4: &str = affine!("4", "5");
const AFFINE_5: &str = affine!("5", "6");
const AFFINE_6: &str = affine!("6", "7");

pub(crate) fn variants() -> Vec<Kernel> {
    let targets = [Target::Partial, Target::Statistics, Target::Tracked];
    let mut kernels: Vec<Kernel> = targets[1..].iter().map(|&target| combine_kernel(target)).collect();
    let forms = (0..8).map(|i| Form { affine: i & 1 != 0, running: i & 2 != 0, relu: i & 4 != 0 });
    for storage in [Storage::F32, Storage::F16] {
        for plane in [1, 2, 4] {
            let planes = Planes { storage, batch: 1, channels: 1, plane, aligned: true };
            for lanes in [64, 16_384] {
                kernels.extend(targets.map(|target| statistics_kernel(&planes, target, lanes)));
                kernels.extend(forms.clone().map(|form| gradient_sums_kernel(&planes, form, lanes)));
            }
            kernels.extend(
                forms.clone().flat_map(|form| [normalise_kernel(&planes, form), gradient_kernel(&planes, form)]),
            );
        }
    }
    kernels
}
