// Reductions over any axes: sum, mean, max, min, argmax, argmin.
//
// The operand is seen as `outputs` results of `count` elements each. The kept axes, innermost first, say where the
// elements of a result start; the reduced axes, innermost first, where element k is. Up to four of either after
// collapsing; KEPT (1 or 4) and REDUCED (1, 2 or 4) bound them, and unused ones have extent 1 and stride 0.
//
// A result is made of `parts` partial results, each by one lane, or by a workgroup of 256 where the header names the
// part `tree`. Part p of P takes elements p, p + P, ...: with INSIDE the parts of a result are neighbours (for rows, so
// that neighbouring lanes read neighbouring elements), without it the results are (for columns). Partial results are
// reduced by another launch. Order of sums, fixed by the launch's parameters alone: blocks of 16 elements, pages of 16
// blocks, the sum of pages; then the tree; then the next launch.
//
// The header declares, from reduce.rs: binding 0 `x` with `load(i, k)`, element i of the buffer as an A that knows its
// position k; binding 1 `out` with `store(i, value)`; A, `identity` and `combine`.
//! use: index

struct Params {
    kept_shape: vec4<u32>,
    kept_strides: vec4<u32>,
    reduced_shape: vec4<u32>,
    reduced_strides: vec4<u32>,
    outputs: u32,
    count: u32,
    parts: u32,
    x_offset: u32,
    out_offset: u32,
    // The mean's divisor; 1 otherwise.
    divisor: f32,
}

// Where the elements of result `output` start.
fn kept_offset(output: u32) -> u32 {
    if (KEPT == 1u) {
        return output * params.kept_strides.x;
    }
    let shape = params.kept_shape;
    let strides = params.kept_strides;
    let q1 = quotient(output, shape.x);
    let q2 = quotient(q1, shape.y);
    let q3 = quotient(q2, shape.z);
    return (output - q1 * shape.x) * strides.x + (q1 - q2 * shape.y) * strides.y
        + (q2 - q3 * shape.z) * strides.z + q3 * strides.w;
}

// Where element (inner, outer) of the reduced axes is: coordinate along the innermost, and index in the others.
fn reduced_offset(inner: u32, outer: u32) -> u32 {
    let strides = params.reduced_strides;
    let near = inner * strides.x;
    if (REDUCED == 1u) {
        return near;
    }
    if (REDUCED == 2u) {
        return near + outer * strides.y;
    }
    let shape = params.reduced_shape;
    let q2 = quotient(outer, shape.y);
    let q3 = quotient(q2, shape.z);
    return near + (outer - q2 * shape.y) * strides.y + (q2 - q3 * shape.z) * strides.z + q3 * strides.w;
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var at = group_index(group, groups);
    if (LANES == 1u) {
        at = at * GROUP + lane;
    }
    if (at >= params.outputs * params.parts) {
        return;
    }
    var output: u32;
    var part: u32;
    if (INSIDE) {
        output = quotient(at, params.parts);
        part = at - output * params.parts;
    } else {
        part = quotient(at, params.outputs);
        output = at - part * params.outputs;
    }
    let base = params.x_offset + kept_offset(output);

    let step = params.parts * LANES;
    var k = part * LANES;
    if (LANES > 1u) {
        k += lane;
    }
    // The coordinate along the innermost reduced axis and the index in the others go along with k.
    let extent = params.reduced_shape.x;
    var inner = k;
    var outer = 0u;
    var step_inner = step;
    var step_outer = 0u;
    if (REDUCED > 1u) {
        outer = quotient(k, extent);
        inner = k - outer * extent;
        step_outer = quotient(step, extent);
        step_inner = step - step_outer * extent;
    }

    var total = identity();
    var page = identity();
    var blocks = 0u;
    while (k < params.count) {
        var block = identity();
        for (var term = 0u; term < 16u && k < params.count; term += 1u) {
            block = combine(block, load(base + reduced_offset(inner, outer), k));
            k += step;
            inner += step_inner;
            if (REDUCED > 1u) {
                outer += step_outer;
                if (inner >= extent) {
                    inner -= extent;
                    outer += 1u;
                }
            }
        }
        page = combine(page, block);
        blocks += 1u;
        if ((blocks & 15u) == 0u) {
            total = combine(total, page);
            page = identity();
        }
    }
    let value = across(combine(total, page), lane);
    if (LANES == 1u || lane == 0u) {
        store(params.out_offset + at, value);
    }
}
