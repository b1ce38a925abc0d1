// Random tensors: uniform and normal numbers, Bernoulli masks.
//
//   uniform:   low + u * (high - low), u a multiple of 2^-24 in [0, 1); never high
//   normal:    mean + deviation * z, z by Box and Muller
//   bernoulli: 1 with probability p, else 0
//
// Four neighbours are the words of one Philox call with key (seed) and counter (quad, 0, stream), so a value depends on
// seed, stream and position alone. One thread makes a quad; the tail lies in the allocation's padding.
// Bindings: out. T is f32 or f16; the header declares `draw(words) -> vec4<f32>`, from random.rs.
//! use: index philox

struct Params {
    seed: vec2<u32>,
    stream: vec2<u32>,
    quads: u32, // ceil(count / 4)
    offset: u32, // of out, in quads
    first: u32, // number, in quads
    s0: f32, // low, mean, p
    s1: f32, // high, deviation
    padding: u32,
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
    out[params.offset + i] = vec4<T>(draw(philox(params.seed, vec4<u32>(params.first + i, 0u, params.stream))));
}
