//! Optimizer steps for several tensors in one launch: `sgd.wgsl` and `adam.wgsl`.
//!
//! A launch takes up to [`capacity`] tensors. Its bindings are their parameters, then their gradients, both in order and
//! each contiguous `f32` in an allocation of its own (the kernel works in whole quads), repeated from the last where the
//! kernel has more than there are tensors; then the optimizer's state. A state buffer serves all tensors of an optimizer:
//! tensor after tensor, each with [`state_groups`] workgroups of 1,024 elements.

use std::sync::LazyLock;

use crate::Kernel;
use crate::launch::{Launch, params};

/// The most tensors in a launch.
pub const MOST: usize = 13;

/// The kernels' table sizes.
pub(crate) const SIZES: [usize; 4] = [1, 3, 7, MOST];

/// The buffers of state that an optimizer keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Optimizer {
    /// SGD without momentum: none.
    Sgd,
    /// SGD with momentum: one.
    SgdMomentum,
    /// Adam and AdamW: two.
    Adam,
    /// RMSprop: one to three.
    Rmsprop {
        /// Whether the squares are taken from the mean.
        centered: bool,
        /// Whether there is momentum.
        momentum: bool,
    },
    /// No optimizer, but pairs of tensors: none or one.
    Pairs {
        /// Whether there is a buffer besides.
        buffer: bool,
    },
}

impl Optimizer {
    /// The number of state buffers.
    pub const fn states(self) -> usize {
        match self {
            Optimizer::Sgd => 0,
            Optimizer::SgdMomentum => 1,
            Optimizer::Adam => 2,
            Optimizer::Rmsprop { centered, momentum } => 1 + centered as usize + momentum as usize,
            Optimizer::Pairs { buffer } => buffer as usize,
        }
    }
}

/// How many tensors a launch can take where the adapter allows `bindings` storage buffers in a kernel.
pub fn capacity(optimizer: Optimizer, bindings: usize) -> usize {
    let room = bindings.saturating_sub(optimizer.states()) / 2;
    SIZES.into_iter().rev().find(|&size| size <= room).unwrap_or(1)
}

/// The kernel's table size for a number of tensors: it has `2 * size + states` bindings.
pub fn table_size(tensors: usize) -> usize {
    SIZES.into_iter().find(|&size| size >= tensors).unwrap_or(MOST)
}

/// Workgroups, and 4 KiB blocks of each state buffer, that a tensor of `elements` takes.
pub const fn state_groups(elements: usize) -> usize {
    elements.div_ceil(1024)
}

params! {
    /// The parameters of `sgd.wgsl`.
    "sgd" pub struct SgdParams {
        /// By tensor: first workgroup, quads, first quad of the parameter and of the gradient. See [`segments`].
        pub segment: [[u32; 4]; MOST],
        /// The first tensor's place in the state, in blocks of 1,024 elements.
        pub first_state: u32,
        /// 1 at the first step, when the state is not read.
        pub first_step: u32,
        /// 1 for Nesterov's momentum.
        pub nesterov: u32,
        /// The learning rate.
        pub rate: f32,
        /// Added to the gradient, times the parameter.
        pub weight_decay: f32,
        /// A factor on gradients; 1 normally.
        pub scale: f32,
        /// The momentum.
        pub momentum: f32,
        /// 1 - dampening.
        pub kept: f32,
    }
}

params! {
    /// The parameters of `adam.wgsl`.
    "adam" pub struct AdamParams {
        /// By tensor, as in [`SgdParams`].
        pub segment: [[u32; 4]; MOST],
        /// The first tensor's place in the state, in blocks of 1,024 elements.
        pub first_state: u32,
        /// 1 at the first step, when the state is not read.
        pub first_step: u32,
        /// `rate / (1 - beta1^t)`
        pub step_size: f32,
        /// Added to the gradient, times the parameter; 0 for AdamW.
        pub weight_decay: f32,
        /// 1, or for AdamW `1 - rate * weight_decay`.
        pub decay: f32,
        /// A factor on gradients; 1 normally.
        pub scale: f32,
        /// Decay of the first moment.
        pub beta1: f32,
        /// 1 - beta1
        pub rest1: f32,
        /// Decay of the second moment.
        pub beta2: f32,
        /// 1 - beta2
        pub rest2: f32,
        /// `sqrt(1 - beta2^t)`
        pub root_correction: f32,
        /// Added to the root of the second moment.
        pub epsilon: f32,
    }
}

params! {
    /// The parameters of `rmsprop.wgsl`.
    "rmsprop" pub struct RmspropParams {
        /// By tensor, as in [`SgdParams`].
        pub segment: [[u32; 4]; MOST],
        /// The first tensor's place in the state, in blocks of 1,024 elements.
        pub first_state: u32,
        /// 1 at the first step, when the state is not read.
        pub first_step: u32,
        /// The learning rate.
        pub rate: f32,
        /// Added to the gradient, times the parameter.
        pub weight_decay: f32,
        /// Decay of the means.
        pub alpha: f32,
        /// 1 - alpha
        pub rest: f32,
        /// Added to the root of the mean square.
        pub epsilon: f32,
        /// The momentum.
        pub momentum: f32,
    }
}

/// A tensor of a launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its elements.
    pub elements: usize,
    /// The parameter's first quad in its binding.
    pub parameter_quads: usize,
    /// The gradient's first quad in its binding.
    pub gradient_quads: usize,
}

/// The tensors of a launch, up to [`MOST`].
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Parameters and gradients.
    pub tensors: &'a [Segment],
    /// The first tensor's place in the state, in blocks of 1,024 elements.
    pub first_state: u32,
    /// Whether memory is read and written as 64-bit integers: faster where each component is a load or store of its own.
    pub int64: bool,
}

/// The table of up to [`MOST`] tensors, and the workgroups of the launch.
pub fn segments(tensors: &[Segment]) -> ([[u32; 4]; MOST], u32) {
    // An unused row starts beyond every workgroup.
    let mut table = [[u32::MAX, 0, 0, 0]; MOST];
    let mut groups = 0;
    for (row, tensor) in table.iter_mut().zip(tensors) {
        let quads = tensor.elements.div_ceil(4) as u32;
        *row = [groups as u32, quads, tensor.parameter_quads as u32, tensor.gradient_quads as u32];
        groups += state_groups(tensor.elements);
    }
    (table, groups as u32)
}

/// A step of SGD; `settings` has the fields behind the table. Bindings: `table_size(tensors)` parameters, as many gradients, and
/// with momentum the state.
pub fn sgd(batch: &Batch<'_>, with_momentum: bool, settings: SgdParams) -> Launch {
    let (segment, groups) = segments(batch.tensors);
    let optimizer = if with_momentum { Optimizer::SgdMomentum } else { Optimizer::Sgd };
    let params = SgdParams { segment, first_state: batch.first_state, ..settings };
    Launch::new(kernel(optimizer, table_size(batch.tensors.len()), batch.int64), &params, u64::from(groups))
}

/// A step of Adam; `settings` has the fields behind the table. Bindings: `table_size(tensors)` parameters, as many gradients, the
/// first and the second moments.
pub fn adam(batch: &Batch<'_>, settings: AdamParams) -> Launch {
    let (segment, groups) = segments(batch.tensors);
    let params = AdamParams { segment, first_state: batch.first_state, ..settings };
    Launch::new(kernel(Optimizer::Adam, table_size(batch.tensors.len()), batch.int64), &params, u64::from(groups))
}

/// A step of RMSprop; `settings` has the fields behind the table. Bindings: `table_size(tensors)` parameters, as many gradients,
/// the mean squares, the means where they are centered, the momentum where there is one.
pub fn rmsprop(batch: &Batch<'_>, centered: bool, with_momentum: bool, settings: RmspropParams) -> Launch {
    let (segment, groups) = segments(batch.tensors);
    let optimizer = Optimizer::Rmsprop { centered, momentum: with_momentum };
    let params = RmspropParams { segment, first_state: batch.first_state, ..settings };
    Launch::new(kernel(optimizer, table_size(batch.tensors.len()), batch.int64), &params, u64::from(groups))
}

/// What [`bindings`] gives, by table size and number of state buffers.
static BINDINGS: LazyLock<[[String; 4]; SIZES.len()]> =
    LazyLock::new(|| SIZES.map(|size| [0, 1, 2, 3].map(|states| bindings(size, states))));

/// The bindings of a kernel and the functions that reach its tensors. WGSL cannot index bindings, so a switch picks one; the
/// choice is the same for a whole workgroup.
fn bindings(size: usize, states: usize) -> String {
    let names = |name: &'static str, count: usize| (0..count).map(move |i| format!("{name}{i}"));
    let all = names("parameter", size).chain(names("gradient", size)).chain(names("state", states));
    let declarations: String = all
        .enumerate()
        .map(|(binding, name)| {
            format!("@group(0) @binding({binding}) var<storage, read_write> {name}: array<FloatQuad>;\n")
        })
        .collect();
    let switch = |statement: fn(usize) -> String| {
        let cases: String = (1..size).map(|i| format!("        case {i}u: {{ {} }}\n", statement(i))).collect();
        format!("    switch segment {{\n{cases}        default: {{ {} }}\n    }}", statement(0))
    };
    format!(
        "{declarations}
fn load_parameter(segment: u32, i: u32) -> vec4<f32> {{
{}
}}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {{
{}
}}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {{
    let quad = quad_of(value);
{}
}}",
        switch(|i| format!("return floats(parameter{i}[i]);")),
        switch(|i| format!("return floats(gradient{i}[i]);")),
        switch(|i| format!("parameter{i}[i] = quad;")),
    )
}

/// A kernel for so many pairs, with the state buffers of this optimizer.
pub(crate) fn paired(file: &'static str, optimizer: Optimizer, size: usize, int64: bool) -> Kernel {
    let row = SIZES.iter().position(|known| *known == size).unwrap_or(SIZES.len() - 1);
    let bindings = BINDINGS[row][optimizer.states()].as_str();
    let quads = if int64 { "float_quads_u64" } else { "float_quads" };
    Kernel::new(file).constant("SEGMENTS", size as u32).function(bindings).part("segments").part(quads)
}

fn kernel(optimizer: Optimizer, size: usize, int64: bool) -> Kernel {
    let file = match optimizer {
        Optimizer::Sgd | Optimizer::SgdMomentum => "sgd",
        Optimizer::Adam => "adam",
        Optimizer::Rmsprop { .. } => "rmsprop",
        Optimizer::Pairs { .. } => "foreach",
    };
    let kernel = paired(file, optimizer, size, int64);
    match optimizer {
        Optimizer::Sgd => kernel.part("no_momentum"),
        Optimizer::SgdMomentum => kernel.part("momentum"),
        Optimizer::Rmsprop { centered, momentum } => {
            let kernel = kernel.function(if centered { CENTRED } else { NOT_CENTRED });
            kernel.function(match (momentum, centered) {
                (false, _) => NOT_CARRIED,
                (true, false) => CARRIED,
                (true, true) => CARRIED_BEHIND,
            })
        }
        // The formula of pairs is a matter of `foreach`.
        Optimizer::Adam | Optimizer::Pairs { .. } => kernel,
    }
}

const NOT_CENTRED: &str = "fn centred(s: vec4<f32>, g: vec4<f32>, i: u32) -> vec4<f32> {
    return s;
}";
const CENTRED: &str = "fn centred(s: vec4<f32>, g: vec4<f32>, i: u32) -> vec4<f32> {
    var a = params.rest * g;
    if (params.first_step == 0u) {
        a = fma(vec4<f32>(params.alpha), floats(state1[i]), a);
    }
    state1[i] = quad_of(a);
    return s - a * a;
}";
const NOT_CARRIED: &str = "fn carried(d: vec4<f32>, i: u32) -> vec4<f32> {
    return d;
}";

macro_rules! carried {
    ($state:literal) => {
        concat!(
            "fn carried(d: vec4<f32>, i: u32) -> vec4<f32> {\n    var b = d;\n    if (params.first_step == 0u) {\n        \
             b = fma(vec4<f32>(params.momentum), floats(",
            $state,
            "[i]), d);\n    }\n    ",
            $state,
            "[i] = quad_of(b);\n    return b;\n}"
        )
    };
}
const CARRIED: &str = carried!("state1");
const CARRIED_BEHIND: &str = carried!("state2");

pub(crate) fn variants() -> Vec<Kernel> {
    let rmsprop = |i: u32| Optimizer::Rmsprop { centered: i & 1 != 0, momentum: i & 2 != 0 };
    let mut optimizers = vec![Optimizer::Sgd, Optimizer::SgdMomentum, Optimizer::Adam];
    optimizers.extend((0..4).map(rmsprop));
    let layouts = SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]);
    layouts
        .flat_map(|(size, int64)| {
            optimizers.iter().map(move |&optimizer| kernel(optimizer, size, int64)).collect::<Vec<_>>()
        })
        .collect()
}
