// softmax and log_softmax along the middle axis of a contiguous [outer, n, inner].
//
//   softmax(x)[k]     = exp(x[k] - m) / sum_j exp(x[j] - m),   m = max_j x[j]
//   log_softmax(x)[k] = (x[k] - m) - log(sum_j exp(x[j] - m))
//
// Bindings: x, out. A row is made by one lane, or with the part `row_tree` by a workgroup. The sum goes up in blocks of
// 16 and pages of 256 terms, then over lanes as a tree. X is f32 or f16, LOG chooses the second formula. A row with a
// NaN or an infinity of the sign that matters is NaN, as in PyTorch.
//! use: index math cascade

struct Params {
    rows: u32, // outer * inner
    n: u32,
    inner: u32,
    x_offset: u32,
    out_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> out: array<X>;

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
    let source = params.x_offset + base;
    var largest = -infinity();
    for (var k = first; k < params.n; k += LANES) {
        largest = max(largest, f32(x[source + k * params.inner]));
    }
    largest = row_max(largest, lane);
    var partial = Cascade();
    for (var k = first; k < params.n; k += LANES) {
        cascade_add(&partial, exp_f32(f32(x[source + k * params.inner]) - largest));
    }
    let sum = row_sum(cascade_sum(&partial), lane);
    let to = params.out_offset + base;
    let shift = select(0.0, log_f32(sum), LOG);
    for (var k = first; k < params.n; k += LANES) {
        let centred = f32(x[source + k * params.inner]) - largest;
        if (LOG) {
            out[to + k * params.inner] = X(centred - shift);
        } else {
            out[to + k * params.inner] = X(exp_f32(centred) / sum);
        }
    }
}
