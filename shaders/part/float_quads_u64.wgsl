// Four neighbouring f32 in memory, as two integers: on a processor each component is a load or store of its own, lane by
// lane, so half as many components are half as many of them.
//! needs: int64

alias FloatQuad = vec2<u64>;

fn floats(quad: FloatQuad) -> vec4<f32> {
    let low = vec2<u32>(quad);
    let high = vec2<u32>(quad >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn quad_of(value: vec4<f32>) -> FloatQuad {
    let bits = bitcast<vec4<u32>>(value);
    return vec2<u64>(bits.xz) | (vec2<u64>(bits.yw) << vec2<u32>(32u));
}
