// Four f32 that are neighbours in memory, as two integers: on a processor each component is a load of its own, lane by lane,
// so half as many components are half as many loads.
//! needs: int64

alias Quad = vec2<u64>;

fn unpacked(quad: Quad) -> vec4<f32> {
    let low = vec2<u32>(quad);
    let high = vec2<u32>(quad >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}
