// Four f32 that are neighbours in memory, read as two integers.
//! use: float_quads_u64

alias Quad = FloatQuad;

fn unpacked(quad: Quad) -> vec4<f32> {
    return floats(quad);
}
