// The taps of a convolution's weight two at a time, as one integer: see part/pixel_pairs. A binding ends with
// a whole pair, of which the weight may have the first alone.
//! use: float_pair_u64

alias Taps = u64;

fn tap_pair(index: i32) -> vec2<f32> {
    return float_pair(a[index]);
}
