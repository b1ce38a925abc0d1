// B, four elements at a time.

@group(0) @binding(1) var<storage, read_write> b: array<vec4<T>>;

fn element_b(index: u32) -> f32 {
    return f32(b[index / 4u][index % 4u]);
}

// `index` is a multiple of 4.
fn quad_b(index: u32) -> vec4<f32> {
    return vec4<f32>(b[index / 4u]);
}
