// The geometry of interpolation: which pixels of the input a result is made of, with PyTorch's coordinates and roundings.
// The header declares BILINEAR and ALIGN (align_corners).
//! use: index

struct Params {
    // (x, y) pairs
    size: vec2<u32>,
    out_size: vec2<u32>,
    scale: vec2<f32>, // input pixels for a step of the output
    count: u32, // threads that have work
    x_offset: u32,
    out_offset: u32,
    dy_offset: u32,
}

// (x, y, plane) of element i of planes of `size`.
fn place(i: u32, size: vec2<u32>) -> vec3<u32> {
    let line = quotient(i, size.x);
    let plane = quotient(line, size.y);
    return vec3<u32>(i - line * size.x, line - plane * size.y, plane);
}

// A result along one axis is `(1 - share) x[first] + share x[second]`.
struct Taps {
    first: u32,
    second: u32,
    share: f32,
}

fn taps(o: u32, scale: f32, size: u32) -> Taps {
    if (!BILINEAR) {
        let nearest = min(u32(floor(f32(o) * scale)), size - 1u);
        return Taps(nearest, nearest, 0.0);
    }
    // Pixels are squares around their coordinate, unless the corners of both images are the centres of their last pixels.
    let at = select(max((f32(o) + 0.5) * scale - 0.5, 0.0), f32(o) * scale, ALIGN);
    let first = min(u32(at), size - 1u);
    return Taps(first, min(first + 1u, size - 1u), clamp(at - f32(first), 0.0, 1.0));
}

// The part of pixel p in a result.
fn part_of(found: Taps, p: u32) -> f32 {
    return select(0.0, 1.0 - found.share, found.first == p) + select(0.0, found.share, found.second == p);
}

// The results that may have a part of pixel p: the first, and one past the last. A few more than do, whatever is rounded.
fn readers(p: u32, scale: f32, size: u32, count: u32) -> vec2<u32> {
    if (scale <= 0.0) {
        return vec2<u32>(0u, count);
    }
    let lowest = max((f32(p) - 1.0) / scale - 2.0, 0.0);
    let past = min((f32(p) + 2.0) / scale + 3.0, f32(count));
    // All that lies beyond the last pixel is its.
    return vec2<u32>(u32(lowest), select(u32(past), count, p == size - 1u));
}
