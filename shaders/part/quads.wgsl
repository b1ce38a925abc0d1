// Four neighbours in memory.

alias Quad = vec4<T>;

fn unpacked(quad: Quad) -> vec4<f32> {
    return vec4<f32>(quad);
}

// Two neighbours of A; `index` is even.
fn load_pair(index: u32) -> vec2<f32> {
    return vec2<f32>(vec2<T>(a[index / 4u][index % 4u], a[index / 4u][index % 4u + 1u]));
}
