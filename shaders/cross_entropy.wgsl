// Cross-entropy of logits [outer, n, inner] against class indices [outer, inner], the classes on the middle axis.
//
//   loss[row] = log(sum_j exp(x[row, j])) - x[row, target[row]]
//
// computed as s + (m - x_target) with m = max x and s = log(sum_j exp(x_j - m)). Both are kept for the gradient, apart: their
// sum would lose what is small beside a large m. With MEAN, loss is one number, the mean over rows,
// made by one workgroup: each lane sums rows lane, lane + 256, ..., then a tree. Otherwise a lane makes a row.
// A target outside 0..n makes its loss NaN (and its gradient), so that the mistake shows at the next look at the loss.
//
// Bindings: x, targets, loss, stats (m and s of each row). X is f32 or f16, loss and stats are f32. The header declares `load_target(i)` for the
// targets' type, and R, the part's lanes, is `row_single` without MEAN and `row_tree` with it.
//! use: index math cascade

struct Params {
    rows: u32, // outer * inner
    n: u32,
    inner: u32,
    x_offset: u32,
    target_offset: u32,
    loss_offset: u32,
    stats_offset: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;

fn row_loss(row: u32) -> f32 {
    let outer = quotient(row, params.inner);
    let base = params.x_offset + outer * params.n * params.inner + (row - outer * params.inner);
    var largest = -infinity();
    for (var k = 0u; k < params.n; k += 1u) {
        largest = max(largest, f32(x[base + k * params.inner]));
    }
    var partial = Cascade();
    for (var k = 0u; k < params.n; k += 1u) {
        cascade_add(&partial, exp_f32(f32(x[base + k * params.inner]) - largest));
    }
    let log_sum = log_f32(cascade_sum(&partial));
    stats[params.stats_offset + 2u * row] = largest;
    stats[params.stats_offset + 2u * row + 1u] = log_sum;
    let class_index = load_target(params.target_offset + row);
    if (class_index >= params.n) {
        return nan();
    }
    return log_sum + (largest - f32(x[base + class_index * params.inner]));
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (MEAN) {
        var partial = Cascade();
        for (var row = lane; row < params.rows; row += GROUP) {
            cascade_add(&partial, row_loss(row));
        }
        let sum = row_sum(cascade_sum(&partial), lane);
        if (lane == 0u) {
            loss[params.loss_offset] = sum / f32(params.rows);
        }
    } else {
        let row = group_index(group, groups) * GROUP + lane;
        if (row < params.rows) {
            loss[params.loss_offset + row] = row_loss(row);
        }
    }
}
