// A, an element at a time.

@group(0) @binding(0) var<storage, read_write> a: array<T>;

fn element_a(index: u32) -> f32 {
    return f32(a[index]);
}

fn quad_a(index: u32) -> vec4<f32> {
    return vec4<f32>(element_a(index), element_a(index + 1u), element_a(index + 2u), element_a(index + 3u));
}
