// B, an element at a time.

@group(0) @binding(1) var<storage, read_write> b: array<T>;

fn element_b(index: u32) -> f32 {
    return f32(b[index]);
}

fn quad_b(index: u32) -> vec4<f32> {
    return vec4<f32>(element_b(index), element_b(index + 1u), element_b(index + 2u), element_b(index + 3u));
}
