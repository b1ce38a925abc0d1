// Pointwise ops, flat: out[i] = apply(a[i], b[i], c[i]).
//
// For operands that are contiguous and have out's shape, or are one value for all elements. One thread makes `repeat` quads
// of elements, 256 quads apart: to start a thread costs a CPU more than a quad does. The tail of the last quad lies beyond
// the tensor, in the allocation's padding, so out must end its allocation or have a multiple of four elements.
//
// The header declares, from pointwise.rs: bindings a, b, c (as many as the op has) and out, in this order; `evaluate(i)`,
// which loads quad i of each operand and calls `apply` on each of the four; `store(i, values)`; R, the type of a result.
//! use: index

struct Params {
    // The first quad of a, b, c and out; of an operand that is one value for all elements, the element.
    offsets: vec4<u32>,
    quads: u32,
    // The op's scalars, by their bits.
    s0: u32,
    s1: u32,
    repeat: u32,
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quads = params.quads;
    let repeat = params.repeat;
    var i = group_index(group, groups) * 256u * repeat + lane;
    for (var k = 0u; k < repeat && i < quads; k += 1u) {
        store(params.offsets.w + i, evaluate(i));
        i += 256u;
    }
}
