// The rows of a channel's kernel, as the part `taps` has them. Needs the binding w, and FLIP, which turns the kernel around.
//! use: depthwise taps

fn tap(channel: u32, t: u32) -> f32 {
    return f32(w[params.w_offset + channel * SIDE * SIDE + select(t, SIDE * SIDE - 1u - t, FLIP)]);
}

// Row r of the channel's kernel; no row beyond the last.
fn load_taps(channel: u32, r: u32) -> Taps {
    var taps = Taps();
    if (r >= SIDE) {
        return taps;
    }
    taps.a.x = tap(channel, r * SIDE);
    taps.a.y = tap(channel, r * SIDE + 1u);
    taps.a.z = tap(channel, r * SIDE + 2u);
    if (SIDE > 3u) {
        taps.a.w = tap(channel, r * SIDE + 3u);
        taps.b.x = tap(channel, r * SIDE + 4u);
    }
    if (SIDE > 5u) {
        taps.b.y = tap(channel, r * SIDE + 5u);
        taps.b.z = tap(channel, r * SIDE + 6u);
    }
    return taps;
}
