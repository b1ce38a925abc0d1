// Four channels of two neighbouring pixels, each channel's as one integer: on a processor each component is a load of its own,
// lane by lane, so half as many components are half as many loads. The image is f32, and starts at, and has a width of, a
// multiple of 2.
//! needs: int64
//! use: winograd_place

alias Pixels = u64;

struct Pair {
    left: vec4<f32>,
    right: vec4<f32>,
}

// 0 outside of the image. `place.x + x` is even, so both are inside or neither.
fn pair(place: Place, y: i32, x: i32) -> Pair {
    let row = place.y + y;
    let column = place.x + x;
    // As unsigned numbers, what is negative is large.
    let inside = u32(row) < params.height && u32(column) < params.width;
    let at = select(0u, (place.base + u32(row) * params.width + u32(column)) / 2u, inside);
    let plane = params.height * params.width / 2u;
    let both = vec4<u64>(image[at], image[at + plane], image[at + 2u * plane], image[at + 3u * plane]);
    let left = bitcast<vec4<f32>>(vec4<u32>(both));
    let right = bitcast<vec4<f32>>(vec4<u32>(both >> vec4<u32>(32u)));
    return Pair(select(vec4<f32>(0.0), left, inside), select(vec4<f32>(0.0), right, inside));
}
