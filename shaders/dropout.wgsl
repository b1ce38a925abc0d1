// Dropout: out[i] = x[i] / (1 - p) where a random number is at least p, else 0. (Srivastava et al., 2014)
//
// The mask is not stored: the gradient is the same kernel, with the same seed and stream, on dy. The numbers are those of
// random.wgsl. One thread makes four elements. Bindings: x, out. T is f32 or f16.
//! use: index philox

struct Params {
    seed: vec2<u32>,
    stream: vec2<u32>,
    quads: u32, // ceil(count / 4)
    x_offset: u32, // in quads
    out_offset: u32, // in quads
    p: f32,
    scale: f32, // 1 / (1 - p)
}

@group(0) @binding(0) var<storage, read_write> x: array<vec4<T>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<T>>;

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
    let u = unit_interval(philox(params.seed, vec4<u32>(i, 0u, params.stream)));
    let kept = vec4<f32>(x[params.x_offset + i]) * params.scale;
    // A dropped NaN or infinity is 0, so this is a selection and no product.
    out[params.out_offset + i] = vec4<T>(select(vec4<f32>(0.0), kept, u >= vec4<f32>(params.p)));
}
