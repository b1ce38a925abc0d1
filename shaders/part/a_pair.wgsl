// Two neighbours of A, of quads of elements.

// `index` is even.
fn pair_a(index: u32) -> vec2<f32> {
    return vec2<f32>(vec2<T>(a[index / 4u][index % 4u], a[index / 4u][index % 4u + 1u]));
}
