// Two f32 that are neighbours in memory, read as one integer.
//! needs: int64

fn float_pair(both: u64) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(u32(both), u32(both >> 32u)));
}
