// Four neighbouring f32 in memory.

alias FloatQuad = vec4<f32>;

fn floats(quad: FloatQuad) -> vec4<f32> {
    return quad;
}

fn quad_of(value: vec4<f32>) -> FloatQuad {
    return value;
}
