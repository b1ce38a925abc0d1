// Gradients of softmax and log_softmax along the middle axis of a contiguous [outer, n, inner], from the result y.
//
//   softmax:     dx[k] = y[k] * (dy[k] - sum_j dy[j] y[j])
//   log_softmax: dx[k] = dy[k] - exp(y[k]) * sum_j dy[j]
//
// Bindings: y, dy, out. Rows and the order of sums are as in softmax.wgsl.
//! use: index math cascade

struct Params {
    rows: u32, // outer * inner
    n: u32,
    inner: u32,
    y_offset: u32,
    dy_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<X>;
@group(0) @binding(1) var<storage, read_write> dy: array<X>;
@group(0) @binding(2) var<storage, read_write> out: array<X>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var row = group_index(group, groups);
    var first = lane;
    if (LANES == 1u) {
        row = row * GROUP + lane;
        first = 0u;
    }
    if (row >= params.rows) {
        return;
    }
    let outer = quotient(row, params.inner);
    let base = outer * params.n * params.inner + (row - outer * params.inner);
    var partial = Cascade();
    for (var k = first; k < params.n; k += LANES) {
        let i = base + k * params.inner;
        var term = f32(dy[params.dy_offset + i]);
        if (!LOG) {
            term *= f32(y[params.y_offset + i]);
        }
        cascade_add(&partial, term);
    }
    let sum = row_sum(cascade_sum(&partial), lane);
    for (var k = first; k < params.n; k += LANES) {
        let i = base + k * params.inner;
        let result = f32(y[params.y_offset + i]);
        let gradient = f32(dy[params.dy_offset + i]);
        if (LOG) {
            out[params.out_offset + i] = X(gradient - exp_f32(result) * sum);
        } else {
            out[params.out_offset + i] = X(result * (gradient - sum));
        }
    }
}
