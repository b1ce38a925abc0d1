// Gradient of cross-entropy for logits [outer, n, inner], from what the forward kernel saved of the row: its maximum m and
// s = log(sum_j exp(x_j - m)).
//
//   dx[row, k] = (exp((x[row, k] - m) - s) - [k = target[row]]) * scale * dloss
//
// dloss is one number with MEAN (and scale is 1 / rows), otherwise one per row. A row whose target is outside 0..n is NaN.
// Bindings: x, targets, stats, dloss, out. One thread makes `run` classes of a row.
//! use: index math

struct Params {
    count: u32, // threads that have work: outer * chunks * inner
    n: u32,
    run: u32,
    chunks: u32, // ceil(n / run)
    inner: u32,
    scale: f32,
    x_offset: u32,
    target_offset: u32,
    stats_offset: u32,
    dloss_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;
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
    let inner = params.inner;
    let slab = quotient(i, inner);
    let outer = quotient(slab, params.chunks);
    let at = i - slab * inner;
    let row = outer * inner + at;
    let class_index = load_target(params.target_offset + row);
    let largest = stats[params.stats_offset + 2u * row];
    let log_sum = stats[params.stats_offset + 2u * row + 1u];
    let gradient = dloss[params.dloss_offset + select(row, 0u, MEAN)] * params.scale;
    let n = params.n;
    let source = params.x_offset;
    let to = params.out_offset;
    let first = (slab - outer * params.chunks) * params.run;
    let last = min(first + params.run, n);
    var e = (outer * n + first) * inner + at;
    for (var k = first; k < last; k += 1u) {
        let value = (exp_f32((f32(x[source + e]) - largest) - log_sum) - select(0.0, 1.0, k == class_index)) * gradient;
        out[to + e] = X(select(value, nan(), class_index >= n));
        e += inner;
    }
}
