// The geometry of adaptive pooling.
//! use: index

struct Params {
    // (x, y) pairs
    size: vec2<u32>,
    out_size: vec2<u32>,
    count: u32, // threads that have work
    x_offset: u32,
    out_offset: u32,
    index_offset: u32,
    dy_offset: u32,
}

// (x, y, plane) of element i of planes of `size`.
fn place(i: u32, size: vec2<u32>) -> vec3<u32> {
    let line = quotient(i, size.x);
    let plane = quotient(line, size.y);
    return vec3<u32>(i - line * size.x, line - plane * size.y, plane);
}

// Of `size` pixels dealt out to `count` windows: the first of window i, and one past its last.
fn covered(i: u32, size: u32, count: u32) -> vec2<u32> {
    return vec2<u32>(quotient(i * size, count), quotient((i + 1u) * size + count - 1u, count));
}
