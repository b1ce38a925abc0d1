// Two neighbours of A, of quads that are two integers.
//! needs: int64

// `index` is even.
fn pair_a(index: u32) -> vec2<f32> {
    let both = a[index / 4u][(index / 2u) % 2u];
    return bitcast<vec2<f32>>(vec2<u32>(u32(both), u32(both >> 32u)));
}
