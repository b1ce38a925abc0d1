// Four neighbours of a row of dy, an element at a time; 0 beyond its end.

@group(0) @binding(0) var<storage, read_write> dy: array<T>;

fn hold(at: u32, x: u32) -> vec4<f32> {
    let i = at + x;
    let inside = vec4<u32>(x, x + 1u, x + 2u, x + 3u) < vec4<u32>(params.out_columns);
    let j = select(vec4<u32>(at), vec4<u32>(i, i + 1u, i + 2u, i + 3u), inside);
    return select(vec4<f32>(0.0), vec4<f32>(vec4<T>(dy[j.x], dy[j.y], dy[j.z], dy[j.w])), inside);
}
