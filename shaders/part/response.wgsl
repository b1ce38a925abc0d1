// Local response normalisation of a contiguous [batch, channels, plane], in items V of four neighbours of a plane or one.
// The header declares V, its storage XV, and `power(v, exponent)` for v > 0.
//! use: index math

struct Params {
    count: u32, // items
    channels: u32,
    plane: u32, // items in the plane of a channel
    before: u32, // channels of a window before its own
    after: u32, // and behind it
    x_offset: u32, // in items, as all
    y_offset: u32,
    scale_offset: u32,
    dy_offset: u32,
    out_offset: u32,
    alpha: f32, // over the window's size
    beta: f32,
    k: f32,
}

// (the item of channel 0 below item i, the channel of item i)
fn channel_below(i: u32) -> vec2<u32> {
    let row = quotient(i, params.plane);
    let channel = row - quotient(row, params.channels) * params.channels;
    return vec2<u32>(i - channel * params.plane, channel);
}
