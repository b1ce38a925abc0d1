// The sums of squares of several tensors, in parts: 32 quads of sums for each 1,024 elements, of which lane l makes one from
// the quads l, l + 32, .. of its workgroup. What lies in an allocation's padding behind a tensor does not count.
//
// Bindings: the pairs of optim.rs, of which the gradients are read, then state0, the sums.
//! use: index pairs

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    if (number >= params.groups) {
        return;
    }
    let segment = segment_of(number);
    let first = (number - segment.row.x) * 256u + lane;
    // The row has the elements in its quads' place.
    let elements = segment.row.y;
    var sum = vec4<f32>(0.0);
    for (var step = 0u; step < 8u; step += 1u) {
        let quad = first + 32u * step;
        let left = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(elements);
        if (left.x) {
            let g = select(vec4<f32>(0.0), load_gradient(segment.number, segment.row.w + quad), left);
            sum += g * g;
        }
    }
    state0[(params.first_state + number) * 32u + lane] = quad_of(sum);
}
