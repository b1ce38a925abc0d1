// The gradient of class_loss.wgsl to the logits, from what it left in stats:
//
//   dx_k = (exp(x_k - m - log(sum_j exp(x_j - m))) sum_j c_j - c_k) dloss
//
// where dloss is one number for each row (EACH), or one over the mean's divisor, the second of `sums`. An ignored row is 0.
// Bindings: x, targets, stats, dloss, out, sums, and with weights w. One thread makes one element.
//! use: index math class

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> targets: array<XT>;
@group(0) @binding(2) var<storage, read_write> stats: array<f32>;
@group(0) @binding(3) var<storage, read_write> dloss: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<X>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.rows * params.n) {
        return;
    }
    let slab = quotient(i, params.inner);
    let outer = quotient(slab, params.n);
    let k = slab - outer * params.n;
    let near = i - slab * params.inner;
    let row = outer * params.inner + near;
    let base = outer * params.n * params.inner + near;
    let at = params.first_row + row;
    let class_index = target_of(row);
    var value = 0.0;
    if (PROBABILITIES || class_index != params.ignored) {
        let centred = f32(x[params.x_offset + i]) - stats[at];
        let probability = exp_f32(centred - stats[params.all_rows + at]);
        value = probability * stats[2u * params.all_rows + at] - coefficient(class_index, base, k);
        var given = dloss[params.dloss_offset];
        if (EACH) {
            given = dloss[params.dloss_offset + at];
        } else if (params.mean == 1u) {
            given /= sums[params.sums_offset + 1u];
        }
        value *= given;
    }
    out[params.out_offset + i] = X(value);
}
