// Four neighbours of a row of dy at once: rows start at, and have a length of, a multiple of 4.

@group(0) @binding(0) var<storage, read_write> dy: array<Quad>;

fn hold(at: u32, x: u32) -> vec4<f32> {
    return unpacked(dy[(at + x) / 4u]);
}
