// Four neighbours of a row of dy as two integers, 0 beyond its end: rows start at, and have a length of, a multiple of 2.
//! needs: int64

@group(0) @binding(0) var<storage, read_write> dy: array<u64>;

fn hold(at: u32, x: u32) -> vec4<f32> {
    // Of two neighbours, both are in the row or neither; the first two always are.
    let inside = x + 2u < params.out_columns;
    let first = dy[(at + x) / 2u];
    let second = dy[(at + select(x, x + 2u, inside)) / 2u];
    let next = select(vec2<u32>(0u), vec2<u32>(u32(second), u32(second >> 32u)), inside);
    return bitcast<vec4<f32>>(vec4<u32>(u32(first), u32(first >> 32u), next));
}
