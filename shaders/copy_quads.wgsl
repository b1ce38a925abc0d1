// copy_quads: out = x, a vec4 a thread: the adapter's memory bandwidth.
//
// Bindings: x, out. Groups of 256 are the fastest both on processors and on GPUs.
//! use: index

struct Params {
    quads: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;

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
    out[i] = x[i];
}
