// Gradient of cross-entropy for logits [outer, n, inner], from the row's log-sum-exp that the forward kernel saved.
//
//   dx[row, k] = (exp(x[row, k] - lse[row]) - [k = target[row]]) * scale * dloss
//
// dloss is one number with MEAN (and scale is 1 / rows), otherwise one per row. A row whose target is outside 0..n is NaN.
// Bindings: x, targets, lse, dloss, out. One thread makes one element.
//! use: index math

struct Params {
    count: u32, // outer * n * inner
    n: u32,
    inner: u32,
    scale: f32,
    x_offset: u32,
    target_offset: u32,
    lse_offset: u32,
    dloss_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> dloss: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<X>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count) {
        return;
    }
    let slab = quotient(i, params.inner);
    let outer = quotient(slab, params.n);
    let k = slab - outer * params.n;
    let row = outer * params.inner + (i - slab * params.inner);
    let class_index = load_target(params.target_offset + row);
    let probability = exp_f32(f32(x[params.x_offset + i]) - lse[params.lse_offset + row]);
    let gradient = dloss[params.dloss_offset + select(row, 0u, MEAN)] * params.scale;
    let value = (probability - select(0.0, 1.0, k == class_index)) * gradient;
    out[params.out_offset + i] = X(select(value, nan(), class_index >= params.n));
}
