// arange: out[i] = start + i * step.
//
// Bindings: out. One thread makes four elements; the tail of the last vec4 lies in the allocation's padding.
// T is f32, i32 or u32. Integer steps arrive as bits, so they are exact.
//! use: index

struct Params {
    quads: u32, // ceil(count / 4)
    offset: u32, // of out, in vec4s
    start: u32, // the bits of a T
    step: u32, // the bits of a T
}

@group(0) @binding(0) var<storage, read_write> out: array<vec4<T>>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 256u + lane;
    if (i >= params.quads) {
        return;
    }
    let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
    out[params.offset + i] = vec4<T>(bitcast<T>(params.start)) + vec4<T>(index) * vec4<T>(bitcast<T>(params.step));
}
