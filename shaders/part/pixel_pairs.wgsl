// Pixels of one row of one channel of an image two at a time, as one integer: on a processor each component is a load of its
// own, lane by lane, so half as many components are half as many loads. The image starts at, and has a width of, a multiple of 2.
//! use: float_pair_u64 place

alias Pixels = u64;

// Two neighbours, 0 outside of the image; `x` is even, so both are inside or neither.
fn pair(place: Place, x: i32) -> vec2<f32> {
    // As an unsigned number, what is negative is large.
    let inside = place.inside && u32(x) < params.width;
    let both = image[select(0, (place.base + x) >> 1u, inside)];
    return select(vec2<f32>(0.0), float_pair(both), inside);
}
