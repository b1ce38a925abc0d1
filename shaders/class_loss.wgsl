// Cross-entropy of logits [outer, n, inner] with class weights w, label smoothing s and ignored targets, for each row:
//
//   loss = sum_k c_k (log(sum_j exp(x_j - m)) + m - x_k),   m = max x
//
// with the coefficients c_k = w_k ((1 - s) [k = target] + s / n), the first w_k being that of the target, or for targets that
// are probabilities t: c_k = w_k ((1 - s) t_k + s / n). A row whose target is ignored has no loss; one whose target is no
// class has NaN.
//
// Bindings: x, targets, losses and what a mean divides them by (two planes of rows), stats (three planes of rows: m,
// log(sum_j exp(x_j - m)), sum_k c_k), and with weights w. One lane makes a row. The header declares `target_at`,
// `weight_at`, GROUP.
//! use: index math cascade class

@group(0) @binding(0) var<storage, read_write> x: array<X>;
@group(0) @binding(1) var<storage, read_write> targets: array<XT>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups) * GROUP + lane;
    if (row >= params.rows) {
        return;
    }
    let outer = quotient(row, params.inner);
    let base = outer * params.n * params.inner + (row - outer * params.inner);
    let first = params.x_offset + base;
    var largest = -infinity();
    for (var k = 0u; k < params.n; k += 1u) {
        largest = max(largest, f32(x[first + k * params.inner]));
    }
    var partial = Cascade();
    for (var k = 0u; k < params.n; k += 1u) {
        cascade_add(&partial, exp_f32(f32(x[first + k * params.inner]) - largest));
    }
    let log_sum = log_f32(cascade_sum(&partial));

    var loss = 0.0;
    var taken = 0.0;
    var divisor = 1.0;
    let class_index = target_of(row);
    if (PROBABILITIES || params.smoothing > 0.0) {
        var sum = Cascade();
        var coefficients = Cascade();
        for (var k = 0u; k < params.n; k += 1u) {
            let c = coefficient(class_index, base, k);
            cascade_add(&sum, c * (log_sum + (largest - f32(x[first + k * params.inner]))));
            cascade_add(&coefficients, c);
        }
        loss = cascade_sum(&sum);
        taken = cascade_sum(&coefficients);
    } else if (class_index < params.n) {
        taken = weight_at(class_index);
        loss = taken * (log_sum + (largest - f32(x[first + class_index * params.inner])));
    }
    if (!PROBABILITIES) {
        if (class_index == params.ignored) {
            loss = 0.0;
            taken = 0.0;
            divisor = 0.0;
        } else if (class_index >= params.n) {
            loss = nan();
            taken = nan();
            divisor = nan();
        } else {
            divisor = weight_at(class_index);
        }
    }
    let at = params.first_row + row;
    losses[at] = loss;
    losses[params.all_rows + at] = divisor;
    stats[at] = largest;
    stats[params.all_rows + at] = log_sum;
    stats[2u * params.all_rows + at] = taken;
}
