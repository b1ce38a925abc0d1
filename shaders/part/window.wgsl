// The geometry of pooling: a contiguous [planes, height, width] and its windows [planes, out_height, out_width].
//! use: index

struct Params {
    // (x, y) pairs
    size: vec2<u32>,
    out_size: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
    count: u32, // threads that have work
    include_pad: u32, // average: 1 if padding counts in the divisor
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

// The first and one past the last window, along both axes, that can hold the input's pixel `at`.
fn windows_of(at: vec2<u32>) -> vec4<u32> {
    let reach = (params.kernel - vec2<u32>(1u)) * params.dilation;
    let position = at + params.padding;
    // ceil((position - reach) / stride), not below 0
    let first = max(position, reach) - reach + params.stride - vec2<u32>(1u);
    let low = vec2<u32>(quotient(first.x, params.stride.x), quotient(first.y, params.stride.y));
    let high = vec2<u32>(quotient(position.x, params.stride.x), quotient(position.y, params.stride.y));
    return vec4<u32>(low, min(high + vec2<u32>(1u), params.out_size));
}
