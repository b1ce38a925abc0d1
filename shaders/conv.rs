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

    /// WGSL that names `pixel(result, tap)` for some results and `taps` taps, and those names. `x` is the first pixel and `first` the
    /// first tap.
    fn pixels(
        self,
        [results, taps]: [u32; 2],
        x: &str,
        first: &str,
        reads: Reads,
    ) -> (String, impl Fn(u32, u32) -> String) {
        let mut text = String::new();
        let name = move |result: u32, tap: u32| match self {
            Spacing::Shared(step) => format!("w{}", result * step + tap),
            Spacing::Any => format!("w{result}_{tap}"),
        };
        // Writing to a String cannot fail.
        match (self, reads) {
            (Spacing::Shared(step), Reads::Pairs { even }) => {
                let count = (results - 1) * step + taps;
                let pairs = if even { count.div_ceil(2) } else { count / 2 + 1 };
                let _ = writeln!(text, "    let x = {x};");
                for pair in 0..pairs {
                    let offset = 2 * pair;
                    let at = if even { format!("x + {offset}") } else { format!("(x & -2) + {offset}") };
                    let _ = writeln!(text, "    let p{pair} = pair(place, {at});");
                }
                let element = |at: u32| format!("p{}.{}", at / 2, ["x", "y"][at as usize % 2]);
                for pixel in 0..count {
                    let value = if even {
                        element(pixel)
                    } else {
                        format!("select({}, {}, (x & 1) == 1)", element(pixel), element(pixel + 1))
                    };
                    let _ = writeln!(text, "    let w{pixel} = {value};");
                }
            }
            (Spacing::Shared(step), Reads::Single) => {
                for pixel in 0..(results - 1) * step + taps {
                    let _ = writeln!(text, "    let w{pixel} = pixel(place, {first}{pixel});");
                }
            }
            (Spacing::Any, _) => {
                for (result, tap) in (0..results).flat_map(|result| (0..taps).map(move |tap| (result, tap))) {
                    let offset = format!("({first}{tap}) * params.dilation_x + {result} * params.step_x");
                    let _ = writeln!(text, "    let {} = pixel(place, {offset});", name(result, tap));
                }
            }
        }
        (text, name)
    }
}

/// How a row of pixels is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// A pixel at a time.
    Single,
    /// Two at a time, in 64-bit integers; `even`: the first pixel of each lane's window is the first of two.
    Pairs { even: bool },
}

impl Reads {
    const ALL: [Reads; 3] = [Reads::Single, Reads::Pairs { even: false }, Reads::Pairs { even: true }];

    fn part(self) -> &'static str {
        match self {
            Reads::Single => "pixel_row",
            Reads::Pairs { .. } => "pixel_pairs",
        }
    }

    /// For an image of this width that starts at this element, with this padding, and `taps` of a row of `taps_x` at a time. A lane's
    /// results start at a multiple of 4, its taps at a multiple of `taps`.
    fn of(spacing: Spacing, [width, offset]: [u32; 2], pad_x: i32, [taps, taps_x]: [u32; 2]) -> Reads {
        let shared = matches!(spacing, Spacing::Shared(_));
        if shared && width.is_multiple_of(2) && offset.is_multiple_of(2) {
            Reads::Pairs { even: pad_x % 2 == 0 && (taps.is_multiple_of(2) || taps >= taps_x) }
        } else {
            Reads::Single
        }
    }

    /// Those that a spacing can have.
    fn with(spacing: Spacing) -> &'static [Reads] {
        if spacing == Spacing::Any { &Reads::ALL[..1] } else { &Reads::ALL }
    }

    fn index(self) -> usize {
        Reads::ALL.iter().position(|reads| *reads == self).unwrap_or(0)
    }
}

/// How four neighbours of a row of dy are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dy {
    Single,
    Quads,
    /// In 64-bit integers, two at a time.
    Pairs,
    /// In 64-bit integers, four at a time.
    QuadsOfPairs,
}

impl Dy {
    const ALL: [Dy; 4] = [Dy::Single, Dy::Quads, Dy::Pairs, Dy::QuadsOfPairs];

    fn of(columns: u32, offset: u32, pairs: bool) -> Dy {
        let all = |count| columns.is_multiple_of(count) && offset.is_multiple_of(count);
        match pairs {
            true if all(4) => Dy::QuadsOfPairs,
            true if all(2) => Dy::Pairs,
            false if all(4) => Dy::Quads,
            _ => Dy::Single,
        }
    }

    fn parts(self) -> &'static [&'static str] {
        match self {
            Dy::Single => &["dy_single"],
            Dy::Quads => &["dy_quads", "quads"],
            Dy::Pairs => &["dy_pairs"],
            Dy::QuadsOfPairs => &["dy_quads", "quads_u64"],
        }
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

/// The generated functions of `conv_lanes`, by taps, spacing and reads; first all for four results a lane, then for eight.
static FORWARD: LazyLock<[Vec<String>; 2]> = LazyLock::new(|| [4, 8].map(forward_functions));

fn forward_functions(results: u32) -> Vec<String> {
    each(&FORWARD_TAPS, |taps, spacing, reads| {
        let (pixels, name) = spacing.pixels([results, taps], "place.x + s", "s + ", reads);
        let step = |first: u32| {
            let four = |tap| (first..first + 4).map(|result| name(result, tap)).collect::<Vec<_>>().join(", ");
            (0..taps).map(|tap| format!("V({})", four(tap))).collect::<Vec<_>>().join(", ")
        };
        let [first, second] = [0, results - 4].map(step);
        format!(
            "fn window(place: Place, s: i32) -> Window {{\n{pixels}    return Window(Step({first}), Step({second}));\n}}"
        )
    })
}

/// The generated functions of `conv_lanes` that hold taps, by their number; first all for single taps, then for pairs.
static HOLD: LazyLock<[[String; FORWARD_TAPS.len()]; 2]> =
    LazyLock::new(|| [FORWARD_TAPS.map(hold_single), FORWARD_TAPS.map(hold_pairs)]);

fn hold_single(taps: u32) -> String {
    let taps: Vec<String> = (0..taps).map(|tap| format!("tap(at, s + {tap}u)")).collect();
    format!("fn hold(at: i32, s: u32) -> Held {{\n    return {};\n}}", held(&taps))
}

/// The pairs that hold the taps, which may begin with the second of a pair and lie from the last to the first.
fn hold_pairs(taps: u32) -> String {
    let element = |at: u32| format!("p{}.{}", at / 2, ["x", "y"][at as usize % 2]);
    let mut names: Vec<String> = (0..taps).map(|tap| format!("t{tap}")).collect();
    let forward = held(&names);
    names.reverse();
    let backward = held(&names);
    let loads: String =
        (0..taps / 2 + 1).map(|pair| format!("    let p{pair} = tap_pair((low >> 1u) + {pair});\n")).collect();
    let selects: String = (0..taps)
        .map(|tap| format!("    let t{tap} = select({}, {}, odd);\n", element(tap), element(tap + 1)))
        .collect();
    format!(
        "fn hold(at: i32, s: u32) -> Held {{\n    let first = at + i32(s) * params.a_x;\n    \
         let low = select(first, first - {}, params.a_x < 0);\n    let odd = (low & 1) == 1;\n{loads}{selects}    \
         if (params.a_x < 0) {{\n        return {backward};\n    }}\n    return {forward};\n}}",
        taps - 1
    )
}

/// Taps as a `Held`.
fn held(taps: &[String]) -> String {
    match taps {
        [four @ .., last] if four.len() == 4 => format!("Held(vec4<f32>({}), {last})", four.join(", ")),
        taps => format!("Held({})", taps.join(", ")),
    }
}

/// The generated function of `conv_grad_lanes`, by taps, spacing and reads.
static GRAD: LazyLock<Vec<String>> = LazyLock::new(|| {
    each(&GRAD_TAPS, |taps, spacing, reads| {
        let (pixels, name) = spacing.pixels([4, taps], "place.x", "", reads);
        let step = |result| format!("V({})", (0..taps).map(|tap| name(result, tap)).collect::<Vec<_>>().join(", "));
        let steps = (0..4).map(step).collect::<Vec<_>>().join(", ");
        format!("fn window(place: Place) -> Step {{\n{pixels}    return Step({steps});\n}}")
    })
});

fn each(taps: &[u32], text: impl Fn(u32, Spacing, Reads) -> String) -> Vec<String> {
    let spaced = taps.iter().flat_map(|taps| Spacing::ALL.map(|spacing| (*taps, spacing)));
    spaced.flat_map(|(taps, spacing)| Reads::ALL.map(|reads| text(taps, spacing, reads))).collect()
}

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

fn position(choices: &[u32], taps: u32) -> usize {
    choices.iter().position(|choice| *choice == taps).unwrap_or(0)
}

fn generated(texts: &'static [String], choices: &[u32], taps: u32, spacing: Spacing, reads: Reads) -> &'static str {
    let at = (position(choices, taps) * Spacing::ALL.len() + spacing.index()) * Reads::ALL.len() + reads.index();
    texts.get(at).map_or("", String::as_str)
}

/// Rows of C and results of a lane.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Blocks of eight rows, by four results.
    Blocks(u32),
    /// Eight rows by eight results.
    Wide,
}

impl Shape {
    const ALL: [Shape; 4] = [Shape::Blocks(1), Shape::Blocks(2), Shape::Blocks(4), Shape::Wide];

    /// For rows and columns of results. Eight results halve the loads of taps, but are more to waste at the end of a line.
    fn of(m: u32, columns: u32, rows: u32) -> Shape {
        let wide = 8 * columns.div_ceil(8);
        if m <= 8 && 7 * wide <= 8 * (4 * columns.div_ceil(4)) { Shape::Wide } else { Shape::Blocks(blocks(m, rows)) }
    }

    fn blocks(self) -> u32 {
        match self {
            Shape::Blocks(blocks) => blocks,
            Shape::Wide => 1,
        }
    }

    fn results(self) -> u32 {
        match self {
            Shape::Blocks(_) => 4,
            Shape::Wide => 8,
        }
    }
}

fn forward_kernel(
    shape: Shape,
    (taps, tap_pairs): (u32, bool),
    (spacing, reads): (Spacing, Reads),
    quads: bool,
    f16: bool,
) -> Kernel {
    let wide = matches!(shape, Shape::Wide);
    let chain = match taps {
        5 => "chain5",
        4 => "chain4",
        3 => "chain3",
        _ => "chain2",
    };
    Kernel::new("conv_lanes")
        .constant("BLOCKS", shape.blocks())
        .constant("WIDE", wide)
        .constant("C_QUADS", quads)
        .alias("T", float(f16))
        .alias("C", float(f16))
        .part(chain)
        .part(reads.part())
        .function(generated(&FORWARD[usize::from(wide)], &FORWARD_TAPS, taps, spacing, reads))
        .part(if tap_pairs { "tap_pairs" } else { "tap_single" })
        .function(HOLD[usize::from(tap_pairs)][position(&FORWARD_TAPS, taps)].as_str())
}

/// The convolution as a launch. `quads`: four neighbours of C can be stored at once. A workgroup owns at most `rows` rows, 16 or
/// 32. `int64`: the device has 64-bit integers.
pub fn forward(params: &ConvParams, quads: bool, f16: bool, rows: u32, int64: bool) -> Launch {
    let shape = Shape::of(params.m, params.out_columns, rows);
    let taps = chunk(params.taps_x, &FORWARD_TAPS);
    let spacing = Spacing::of(params.step_x, params.dilation_x);
    let reads = match int64 && !f16 {
        true => Reads::of(spacing, [params.width, params.image_offset], params.pad_x, [taps, params.taps_x]),
        false => Reads::Single,
    };
    // All taps of a step are neighbours and of the kernel's row, and more than their pairs.
    let neighbours = params.a_x.abs() == 1 && params.taps_x.is_multiple_of(taps);
    let tap_pairs = reads != Reads::Single && neighbours && taps > 2;
    let kernel = forward_kernel(shape, (taps, tap_pairs), (spacing, reads), quads, f16);
    let lines = u64::from(params.images) * u64::from(params.out_rows);
    let across = (lines * u64::from(params.out_columns.div_ceil(shape.results()))).div_ceil(8);
    Launch::new(kernel, params, across * u64::from(params.m.div_ceil(8 * shape.blocks())) * u64::from(params.groups))
}

fn grad_kernel(
    blocks: u32,
    taps: u32,
    (spacing, reads): (Spacing, Reads),
    dy: Dy,
    sums: bool,
    types: [&'static str; 2],
) -> Kernel {
    let vector = match taps {
        4 => "vec4<f32>",
        3 => "vec3<f32>",
        _ => "vec2<f32>",
    };
    let kernel = Kernel::new("conv_grad_lanes")
        .constant("BLOCKS", blocks)
        .constant("TAPS", taps)
        .constant("ROW_SUMS", sums)
        .alias("V", vector)
        .alias("T", types[0])
        .alias("C", types[1])
        .part(reads.part())
        .function(generated(&GRAD, &GRAD_TAPS, taps, spacing, reads));
    dy.parts().iter().fold(kernel, |kernel, part| kernel.part(part))
}

/// Workgroups of one part of the weight gradient's sum, of at most `rows` rows.
pub fn grad_groups(params: &ConvGradParams, rows: u32) -> u64 {
    let chunks = params.taps_x.div_ceil(chunk(params.taps_x, &GRAD_TAPS));
    let across = u64::from(params.channels * params.taps_y * chunks).div_ceil(8);
    across * u64::from(params.m.div_ceil(8 * blocks(params.m, rows))) * u64::from(params.groups)
}

/// The weight gradient as a launch. `sums`: those of dy are wanted. The operands are f32 or f16, and so is the result; the parts of
/// a split sum stay in f32. `int64`: the device has 64-bit integers.
pub fn grad(params: &ConvGradParams, sums: bool, f16: [bool; 2], rows: u32, int64: bool) -> Launch {
    let taps = chunk(params.taps_x, &GRAD_TAPS);
    let spacing = Spacing::of(params.step_x, params.dilation_x);
    let pairs = int64 && !f16[0];
    let reads = match pairs {
        true => Reads::of(spacing, [params.width, params.image_offset], params.pad_x, [taps, params.taps_x]),
        false => Reads::Single,
    };
    let dy = Dy::of(params.out_columns, params.dy_offset, pairs);
    let kernel = grad_kernel(blocks(params.m, rows), taps, (spacing, reads), dy, sums, f16.map(float));
    Launch::new(kernel, params, grad_groups(params, rows) * u64::from(params.splits))
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut variants = Vec::new();
    let both = [false, true];
    let reads =
        Spacing::ALL.iter().flat_map(|spacing| Reads::with(*spacing).iter().map(move |reads| (*spacing, *reads)));
    for (shape, (spacing, reads)) in Shape::ALL.iter().flat_map(|shape| reads.clone().map(move |reads| (*shape, reads)))
    {
        let single = reads == Reads::Single;
        for (taps, quads) in FORWARD_TAPS.iter().flat_map(|taps| both.map(|quads| (*taps, quads))) {
            let kernel = |tap_pairs, f16| forward_kernel(shape, (taps, tap_pairs), (spacing, reads), quads, f16);
            variants.push(kernel(false, false));
            if single {
                variants.push(kernel(false, true));
            } else if taps > 2 {
                variants.push(kernel(true, false));
            }
        }
        let Shape::Blocks(blocks) = shape else { continue };
        for (taps, sums) in GRAD_TAPS.iter().flat_map(|taps| both.map(|sums| (*taps, sums))) {
            for dy in Dy::ALL {
                variants.push(grad_kernel(blocks, taps, (spacing, reads), dy, sums, ["f32", "f32"]));
                if single && matches!(dy, Dy::Single | Dy::Quads) {
                    let types = [["f16", "f16"], ["f16", "f32"]];
                    variants.extend(types.map(|types| grad_kernel(blocks, taps, (spacing, reads), dy, sums, types)));
                }
            }
        }
    }
    variants
}
