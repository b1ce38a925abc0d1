// One step of stochastic gradient descent for several tensors, in place, by PyTorch's formula:
//
//   g = scale * grad + weight_decay * p
//   b = g at the first step, else momentum * b + (1 - dampening) * g
//   p = p - rate * (g + momentum * b with Nesterov's momentum, else b)
//
// and p - rate * g without momentum. Bindings: the parameters and gradients of optim.rs, then with momentum
// the buffer of b for all tensors of the optimizer: a tensor has whole workgroups of 256 vec4s there, so its place
// follows from the workgroup's number. The header declares `momentum(g, i)`, from optim.rs.
// One thread updates four elements; the tail lies in the allocation's padding.
//! use: index

struct Params {
    segment0: vec4<u32>,
    segment1: vec4<u32>,
    segment2: vec4<u32>,
    segment3: vec4<u32>,
    segment4: vec4<u32>,
    segment5: vec4<u32>,
    segment6: vec4<u32>,
    segment7: vec4<u32>,
    segment8: vec4<u32>,
    segment9: vec4<u32>,
    segment10: vec4<u32>,
    segment11: vec4<u32>,
    segment12: vec4<u32>,
    first_state: u32, // of this launch, in workgroups
    first_step: u32, // 1 at the first step
    nesterov: u32, // 1 or 0
    rate: f32,
    weight_decay: f32,
    scale: f32,
    momentum: f32,
    kept: f32, // 1 - dampening
}

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
    let state = (params.first_state + number) * 256u + lane;
    let at = segment.row.z + i;
    var p = load_parameter(segment.number, at);
    var g = load_gradient(segment.number, segment.row.w + i) * params.scale;
    g = fma(vec4<f32>(params.weight_decay), p, g);
    p = fma(vec4<f32>(-params.rate), momentum(g, state), p);
    store_parameter(segment.number, at, p);
}
