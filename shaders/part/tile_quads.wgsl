// Four neighbouring channels of a transformed tile in memory.

alias TileQuad = vec4<f32>;

fn tile_value(quad: TileQuad) -> vec4<f32> {
    return quad;
}

fn tile_quad(value: vec4<f32>) -> TileQuad {
    return value;
}
