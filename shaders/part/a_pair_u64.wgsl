// Two neighbours of A, of quads that are two integers.
//! use: float_pair_u64

// `index` is even.
fn pair_a(index: u32) -> vec2<f32> {
    return float_pair(a[index / 4u][(index / 2u) % 2u]);
}
