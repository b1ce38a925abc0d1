// Four neighbouring channels of a transformed tile in memory, as two integers: half as many loads and stores where each
// component is one of its own.
//! needs: int64

alias TileQuad = vec2<u64>;

fn tile_value(quad: TileQuad) -> vec4<f32> {
    let low = vec2<u32>(quad);
    let high = vec2<u32>(quad >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn tile_quad(value: vec4<f32>) -> TileQuad {
    let bits = bitcast<vec4<u32>>(value);
    return vec2<u64>(bits.xz) | (vec2<u64>(bits.yw) << vec2<u32>(32u));
}
