// Four neighbours in memory.

alias Quad = vec4<T>;

fn unpacked(quad: Quad) -> vec4<f32> {
    return vec4<f32>(quad);
}
