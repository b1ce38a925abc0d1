// Pixels of one row of one channel of an image, 0 outside of it.
//! use: place

alias Pixels = T;

fn pixel(place: Place, offset: i32) -> f32 {
    let x = place.x + offset;
    // As an unsigned number, what is negative is large.
    let inside = place.inside && u32(x) < params.width;
    return select(0.0, f32(image[select(0, place.base + x, inside)]), inside);
}
