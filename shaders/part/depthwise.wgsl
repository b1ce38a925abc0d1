// The geometry of depthwise convolution: input planes [batch, channels / multiplier, height, width], each convolved into
// `multiplier` output planes [batch, channels, out_height, out_width] by kernels [channels, kernel height, kernel width].
//! use: index

struct Params {
    // (x, y) pairs; the input's and the output's planes are those of the forward convolution.
    size: vec2<u32>,
    out_size: vec2<u32>,
    kernel: vec2<u32>,
    stride: vec2<u32>,
    padding: vec2<u32>,
    dilation: vec2<u32>,
    channels: u32, // of the output
    multiplier: u32,
    columns: u32, // of a plane, as the kernel counts them
    rows: u32,
    band: u32, // rows that a thread makes
    bands: u32, // of a plane
    count: u32, // threads that have work
    x_offset: u32,
    w_offset: u32,
    bias_offset: u32,
    out_offset: u32,
}

// What one thread makes: the rows from `first` up to `last` of one column of one plane.
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
