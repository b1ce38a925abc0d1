// One step of RMSprop (Hinton, 2012) for several tensors, in place, by PyTorch's formula:
//
//   g = grad + weight_decay * p
//   s = alpha * s + (1 - alpha) * g^2
//   d = g / (sqrt(s) + epsilon), centred: g / (sqrt(s - a^2) + epsilon) with a = alpha * a + (1 - alpha) * g
//   b = momentum * b + d with momentum, else d
//   p = p - rate * b
//
// At the first step s, a and b are taken as 0 without being read. Bindings: the parameters and gradients of optim.rs, then
// s, a and b as far as there are, for all tensors of the optimizer, laid out as in sgd.wgsl. The header declares them,
// `centred(s, g, i)` and `carried(d, i)`. One thread updates four elements; the tail lies in the allocation's padding.
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
    rate: f32,
    weight_decay: f32,
    alpha: f32,
    rest: f32, // 1 - alpha
    epsilon: f32,
    momentum: f32,
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
    let p = load_parameter(segment.number, at);
    let g = fma(vec4<f32>(params.weight_decay), p, load_gradient(segment.number, segment.row.w + i));
    var s = params.rest * g * g;
    if (params.first_step == 0u) {
        s = fma(vec4<f32>(params.alpha), floats(state0[state]), s);
    }
    state0[state] = quad_of(s);
    let d = g / (sqrt(centred(s, g, state)) + params.epsilon);
    store_parameter(segment.number, at, fma(vec4<f32>(-params.rate), carried(d, state), p));
}
