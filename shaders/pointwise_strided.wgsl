// Pointwise ops over strided operands of rank up to 6, out included: broadcasting (stride 0), transposed and sliced
// operands, and results written into a part of a tensor.
//
// Dimensions are innermost first, and as few as they collapse to. RANK bounds them; the rest have extent 1 and stride 0.
// One thread makes `run` neighbours along dimension 0, as to take an index apart costs a CPU more than an element does: single
// elements, or with QUAD four elements each, where dimension 0 is a multiple of 4.
// A u8 result with QUAD has unit stride along dimension 0 and its other strides and offset are multiples of 4, so that a
// thread writes whole words; without QUAD, bytes are put into their words by atomics, each byte by one thread.
//
// The header declares, from pointwise.rs: bindings a, b, c (as many as the op has) and out, in this order; `evaluate(at)`,
// which loads the operands' elements `at.xyz` and calls `apply`; `store(i, value)` and `store_quad(i, stride, values)`;
// R, the type of a result; RANK and QUAD.
//! use: index

struct Params {
    // By dimension, innermost first: the strides of a, b, c and out in elements.
    strides0: vec4<u32>,
    strides1: vec4<u32>,
    strides2: vec4<u32>,
    strides3: vec4<u32>,
    strides4: vec4<u32>,
    strides5: vec4<u32>,
    // The first element of a, b, c and out.
    offsets: vec4<u32>,
    // Extents of dimensions 0 to 3; dimension 0 counts runs.
    shape: vec4<u32>,
    // The extent of dimension 4. Dimension 5 takes what is left.
    shape4: u32,
    // Threads that have work: runs.
    count: u32,
    // The op's scalars, by their bits.
    s0: u32,
    s1: u32,
    // Elements of a run, or quads.
    run: u32,
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 256u + lane;
    if (i >= params.count) {
        return;
    }
    var at = params.offsets;
    var rest = quotient(i, params.shape.x);
    let run = params.run;
    let step = params.strides0;
    at += (i - rest * params.shape.x) * run * select(1u, 4u, QUAD) * step;
    if (RANK <= 2u) {
        at += rest * params.strides1;
    } else {
        var outer = quotient(rest, params.shape.y);
        at += (rest - outer * params.shape.y) * params.strides1;
        rest = quotient(outer, params.shape.z);
        at += (outer - rest * params.shape.z) * params.strides2;
        if (RANK <= 4u) {
            at += rest * params.strides3;
        } else {
            outer = quotient(rest, params.shape.w);
            at += (rest - outer * params.shape.w) * params.strides3;
            rest = quotient(outer, params.shape4);
            at += (outer - rest * params.shape4) * params.strides4;
            at += rest * params.strides5;
        }
    }
    for (var k = 0u; k < run; k += 1u) {
        if (QUAD) {
            let values = vec4<R>(evaluate(at), evaluate(at + step), evaluate(at + 2u * step), evaluate(at + 3u * step));
            store_quad(at.w, step.w, values);
            at += 4u * step;
        } else {
            store(at.w, evaluate(at));
            at += step;
        }
    }
}
