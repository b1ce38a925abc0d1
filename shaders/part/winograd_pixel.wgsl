// Four channels of one pixel of an image, 0 outside of it.
//! use: winograd_place

alias Pixels = T;

fn pixel(place: Place, y: i32, x: i32) -> vec4<f32> {
    let row = place.y + y;
    let column = place.x + x;
    // As unsigned numbers, what is negative is large.
    let inside = u32(row) < params.height && u32(column) < params.width;
    let at = select(0u, place.base + u32(row) * params.width + u32(column), inside);
    let plane = params.height * params.width;
    let value = vec4<T>(image[at], image[at + plane], image[at + 2u * plane], image[at + 3u * plane]);
    return select(vec4<f32>(0.0), vec4<f32>(value), inside);
}
