// A, four elements at a time.

@group(0) @binding(0) var<storage, read_write> a: array<vec4<T>>;

fn element_a(index: u32) -> f32 {
    return f32(a[index / 4u][index % 4u]);
}

// `index` is a multiple of 4.
fn quad_a(index: u32) -> vec4<f32> {
    return vec4<f32>(a[index / 4u]);
}
