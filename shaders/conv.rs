//! Direct convolution for software adapters, forward and data gradient (`conv_lanes`) and weight gradient
//! (`conv_grad_lanes`).

use std::fmt::Write;
use std::sync::LazyLock;

use crate::Kernel;
use crate::launch::{Launch, params};

params! {
    /// Parameters of `conv_lanes.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "conv_lanes" pub struct ConvParams {
        pub m: u32,
        pub channels: u32,
        pub groups: u32,
        pub images: u32,
        pub out_rows: u32,
        pub out_columns: u32,
        pub height: u32,
        pub width: u32,
        pub taps_y: u32,
        pub taps_x: u32,
        pub step_y: i32,
        pub step_x: i32,
        pub dilation_y: i32,
        pub dilation_x: i32,
        pub pad_y: i32,
        pub pad_x: i32,
        pub a_offset: i32,
        pub a_group: i32,
        pub a_row: i32,
        pub a_channel: i32,
        pub a_y: i32,
        pub a_x: i32,
        pub image_offset: u32,
        pub c_offset: u32,
        pub c_row: u32,
        pub c_y: u32,
        pub c_x: u32,
        pub bias: u32,
        pub bias_offset: u32,
        pub rest: u32,
        pub rest_offset: u32,
        pub relu: u32,
    }
}

params! {
    /// Parameters of `conv_grad_lanes.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "conv_grad_lanes" pub struct ConvGradParams {
        pub m: u32,
        pub channels: u32,
        pub groups: u32,
        pub images: u32,
        pub out_rows: u32,
        pub out_columns: u32,
        pub height: u32,
        pub width: u32,
        pub taps_y: u32,
        pub taps_x: u32,
        pub step_y: i32,
        pub step_x: i32,
        pub dilation_y: i32,
        pub dilation_x: i32,
        pub pad_y: i32,
        pub pad_x: i32,
        pub splits: u32,
        pub split_lines: u32,
        pub dy_offset: u32,
        pub image_offset: u32,
        pub c_offset: u32,
        pub sums_offset: u32,
    }
}

/// How far apart the pixels lie that neighbouring results and taps want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    /// Dilation 1 and this stride, 1 or 2: pixels are shared.
    Shared(u32),
    /// Any stride and dilation.
    Any,
}

impl Spacing {
    const ALL: [Spacing; 3] = [Spacing::Shared(1), Spacing::Shared(2), Spacing::Any];

    fn of(step: i32, dilation: i32) -> Spacing {
        match (step, dilation) {
            (1, 1) => Spacing::Shared(1),
            (2, 1) => Spacing::Shared(2),
            _ => Spacing::Any,
        }
    }

    fn index(self) -> usize {
        Spacing::ALL.iter().position(|spacing| *spacing == self).unwrap_or(2)
    }

    /// WGSL that names `pixel(result, tap)` for four results and `taps` taps, and those names. `first` is the first tap.
    fn pixels(self, taps: u32, first: &str) -> (String, impl Fn(u32, u32) -> String) {
        let mut text = String::new();
        let name = move |result: u32, tap: u32| match self {
            Spacing::Shared(step) => format!("w{}", result * step + tap),
            Spacing::Any => format!("w{result}_{tap}"),
        };
        let mut named = Vec::new();
        for (result, tap) in (0..4).flat_map(|result| (0..taps).map(move |tap| (result, tap))) {
            let name = name(result, tap);
            if named.contains(&name) {
                continue;
            }
            let offset = match self {
                Spacing::Shared(step) => format!("{first}{}", result * step + tap),
                Spacing::Any => format!("({first}{tap}) * params.dilation_x + {result} * params.step_x"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    let {name} = pixel(place, {offset});");
            named.push(name);
        }
        (text, name)
    }
}

/// Taps of a step, forward.
const FORWARD_TAPS: [u32; 4] = [5, 4, 3, 2];
/// Taps of a lane, weight gradient.
const GRAD_TAPS: [u32; 3] = [4, 3, 2];

/// The number of taps at a time that wastes the fewest of a row of `taps`.
fn chunk(taps: u32, choices: &[u32]) -> u32 {
    choices.iter().copied().min_by_key(|chunk| taps.div_ceil(*chunk) * chunk).unwrap_or(4)
}

/// The generated functions of `conv_lanes`, by taps and spacing.
static FORWARD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let each = FORWARD_TAPS.iter().flat_map(|taps| Spacing::ALL.map(|spacing| (*taps, spacing)));
    each.map(|(taps, spacing)| {
        let (pixels, name) = spacing.pixels(taps, "s + ");
        let step = |tap| format!("V({})", (0..4).map(|result| name(result, tap)).collect::<Vec<_>>().join(", "));
        let steps = (0..taps).map(step).collect::<Vec<_>>().join(", ");
        let tap = |tap| format!("tap(at, s + {tap}u)");
        let taps = (0..taps).map(tap).collect::<Vec<_>>();
        let held = match &taps[..] {
            [four @ .., last] if four.len() == 4 => format!("vec4<f32>({}), {last}", four.join(", ")),
            taps => taps.join(", "),
        };
        format!(
            "fn window(place: Place, s: i32) -> Step {{\n{pixels}    return Step({steps});\n}}\n\nfn hold(at: i32, s: u32) -> \
             Held {{\n    return Held({held});\n}}"
        )
    })
    .collect()
});

/// The generated function of `conv_grad_lanes`, by taps and spacing.
static GRAD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let each = GRAD_TAPS.iter().flat_map(|taps| Spacing::ALL.map(|spacing| (*taps, spacing)));
    each.map(|(taps, spacing)| {
        let (pixels, name) = spacing.pixels(taps, "");
        let step = |result| format!("V({})", (0..taps).map(|tap| name(result, tap)).collect::<Vec<_>>().join(", "));
        let steps = (0..4).map(step).collect::<Vec<_>>().join(", ");
        format!("fn window(place: Place) -> Step {{\n{pixels}    return Step({steps});\n}}")
    })
    .collect()
});

/// Blocks of eight rows that a workgroup owns, for `m` rows; at most `rows` rows, 16 or 32.
fn blocks(m: u32, rows: u32) -> u32 {
    match m {
        0..=8 => 1,
        9..=16 => 2,
        _ => rows / 8,
    }
}

fn float(f16: bool) -> &'static str {
    if f16 { "f16" } else { "f32" }
}

fn generated(texts: &'static [String], choices: &[u32], taps: u32, spacing: Spacing) -> &'static str {
    let row = choices.iter().position(|choice| *choice == taps).unwrap_or(0);
    texts.get(row * Spacing::ALL.len() + spacing.index()).map_or("", String::as_str)
}

fn forward_kernel(blocks: u32, taps: u32, spacing: Spacing, quads: bool, f16: bool) -> Kernel {
    let chain = match taps {
        5 => "chain5",
        4 => "chain4",
        3 => "chain3",
        _ => "chain2",
    };
    Kernel::new("conv_lanes")
        .constant("BLOCKS", blocks)
        .constant("C_QUADS", quads)
        .alias("T", float(f16))
        .alias("C", float(f16))
        .part(chain)
        .function(generated(&FORWARD, &FORWARD_TAPS, taps, spacing))
}

/// The convolution as a launch. `quads`: four neighbours of C can be stored at once. A workgroup owns at most `rows` rows, 16 or
/// 32.
pub fn forward(params: &ConvParams, quads: bool, f16: bool, rows: u32) -> Launch {
    let blocks = blocks(params.m, rows);
    let taps = chunk(params.taps_x, &FORWARD_TAPS);
    let kernel = forward_kernel(blocks, taps, Spacing::of(params.step_x, params.dilation_x), quads, f16);
    let lines = u64::from(params.images) * u64::from(params.out_rows);
    let across = (lines * u64::from(params.out_columns.div_ceil(4))).div_ceil(8);
    Launch::new(kernel, params, across * u64::from(params.m.div_ceil(8 * blocks)) * u64::from(params.groups))
}

fn grad_kernel(blocks: u32, taps: u32, spacing: Spacing, quads: bool, sums: bool, types: [&'static str; 2]) -> Kernel {
    let vector = match taps {
        4 => "vec4<f32>",
        3 => "vec3<f32>",
        _ => "vec2<f32>",
    };
    Kernel::new("conv_grad_lanes")
        .constant("BLOCKS", blocks)
        .constant("TAPS", taps)
        .constant("DY_QUADS", quads)
        .constant("ROW_SUMS", sums)
        .alias("V", vector)
        .alias("T", types[0])
        .alias("C", types[1])
        .function(generated(&GRAD, &GRAD_TAPS, taps, spacing))
}

/// Workgroups of one part of the weight gradient's sum, of at most `rows` rows.
pub fn grad_groups(params: &ConvGradParams, rows: u32) -> u64 {
    let chunks = params.taps_x.div_ceil(chunk(params.taps_x, &GRAD_TAPS));
    let across = u64::from(params.channels * params.taps_y * chunks).div_ceil(8);
    across * u64::from(params.m.div_ceil(8 * blocks(params.m, rows))) * u64::from(params.groups)
}

/// The weight gradient as a launch. `quads`: four neighbours of dy can be read at once; `sums`: those of dy are wanted. The
/// operands are f32 or f16, and so is the result; the parts of a split sum stay in f32.
pub fn grad(params: &ConvGradParams, quads: bool, sums: bool, f16: [bool; 2], rows: u32) -> Launch {
    let taps = chunk(params.taps_x, &GRAD_TAPS);
    let spacing = Spacing::of(params.step_x, params.dilation_x);
    let kernel = grad_kernel(blocks(params.m, rows), taps, spacing, quads, sums, f16.map(float));
    Launch::new(kernel, params, grad_groups(params, rows) * u64::from(params.splits))
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut variants = Vec::new();
    let both = [false, true];
    for (blocks, spacing, quads) in
        [1, 2, 4].iter().flat_map(|b| Spacing::ALL.iter().flat_map(move |s| both.map(|q| (*b, *s, q))))
    {
        for taps in FORWARD_TAPS {
            variants.extend(both.map(|f16| forward_kernel(blocks, taps, spacing, quads, f16)));
        }
        for (taps, sums) in GRAD_TAPS.iter().flat_map(|taps| both.map(|sums| (*taps, sums))) {
            for types in [["f32", "f32"], ["f16", "f16"], ["f16", "f32"]] {
                variants.push(grad_kernel(blocks, taps, spacing, quads, sums, types));
            }
        }
    }
    variants
}
