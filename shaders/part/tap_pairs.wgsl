// The taps of a convolution's weight two at a time, as one integer: see part/pixel_pairs. A binding ends with
// a whole pair, of which the weight may have the first alone.
//! needs: int64

alias Taps = u64;

fn tap_pair(index: i32) -> vec2<f32> {
    let both = a[index];
    return bitcast<vec2<f32>>(vec2<u32>(u32(both), u32(both >> 32u)));
}
