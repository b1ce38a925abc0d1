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
    columns: u32, // of a plane, as the kernel counts them
    rows: u32,
    band: u32, // rows that a thread makes
    bands: u32, // of a plane
    count: u32, // threads that have work: planes * bands * columns
    include_pad: u32, // average: 1 if padding counts in the divisor
    x_offset: u32,
    out_offset: u32,
    index_offset: u32,
    dy_offset: u32,
    y_offset: u32,
}

// What one thread makes: the rows from `first` up to `last` of one column of one plane. An index is taken apart once for
// all of them.
struct Strip {
    column: u32,
    first: u32,
    last: u32,
    plane: u32,
}

fn strip(i: u32) -> Strip {
    let line = quotient(i, params.columns);
    let plane = quotient(line, params.bands);
    let first = (line - plane * params.bands) * params.band;
    return Strip(i - line * params.columns, first, min(first + params.band, params.rows), plane);
}

// The pixels nearest to window `o` along an axis: from its first up to the next window's first, and to the plane's edge
// for the first and the last window. They cut the axis into `count` parts.
fn cell(o: u32, count: u32, stride: u32, padding: u32, size: u32) -> vec2<u32> {
    let first = select(o * stride - padding, 0u, o == 0u);
    let last = select((o + 1u) * stride - padding, size, o + 1u == count);
    return vec2<u32>(first, min(last, size));
}
