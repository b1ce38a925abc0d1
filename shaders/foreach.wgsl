// One formula for each element of several pairs of tensors: p = apply(p, g). In place, or into new tensors where apply does
// not look at p. The header declares `apply`, and its buffer where it has one.
//
// Bindings: the pairs of optim.rs, then the buffer. One thread makes four elements; the tail lies in the
// allocation's padding.
//! use: index pairs

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    let segment = segment_of(number);
    // Also ends workgroups beyond the last tensor's.
    let i = (number - segment.row.x) * 256u + lane;
    if (i >= segment.row.y) {
        return;
    }
    let at = segment.row.z + i;
    let g = load_gradient(segment.number, segment.row.w + i);
    store_parameter(segment.number, at, apply(load_parameter(segment.number, at), g));
}
