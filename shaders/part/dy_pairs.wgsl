// Four neighbours of a row of dy as two integers, 0 beyond its end: rows start at, and have a length of, a multiple of 2.
//! use: float_pair_u64

@group(0) @binding(0) var<storage, read_write> dy: array<u64>;

fn hold(at: u32, x: u32) -> vec4<f32> {
    // Of two neighbours, both are in the row or neither; the first two always are.
    let inside = x + 2u < params.out_columns;
    let first = dy[(at + x) / 2u];
    let second = dy[(at + select(x, x + 2u, inside)) / 2u];
    return vec4<f32>(float_pair(first), select(vec2<f32>(0.0), float_pair(second), inside));
}
