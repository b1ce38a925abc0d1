// One step of Adam (Kingma and Ba, 2015) or AdamW (Loshchilov and Hutter, 2019) for several tensors, in place, by
// PyTorch's formula at step t:
//
//   p = decay * p                              AdamW: decay = 1 - rate * weight_decay, and no weight_decay below
//   g = scale * grad + weight_decay * p        Adam: decay = 1
//   m = beta1 * m + (1 - beta1) * g
//   v = beta2 * v + (1 - beta2) * g^2
//   p = p - step_size * m / (sqrt(v) / root_correction + epsilon)
//
// with step_size = rate / (1 - beta1^t) and root_correction = sqrt(1 - beta2^t). At the first step m and v are taken as 0
// without being read. Bindings: the parameters and gradients of optim.rs, then m and v for all tensors of the
// optimizer, laid out as in sgd.wgsl. One thread updates four elements; the tail lies in the allocation's padding.
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
    step_size: f32,
    weight_decay: f32,
    decay: f32,
    scale: f32,
    beta1: f32,
    rest1: f32, // 1 - beta1
    beta2: f32,
    rest2: f32, // 1 - beta2
    root_correction: f32,
    epsilon: f32,
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
    p *= params.decay;
    g = fma(vec4<f32>(params.weight_decay), p, g);
    var m = params.rest1 * g;
    var v = params.rest2 * g * g;
    if (params.first_step == 0u) {
        m = fma(vec4<f32>(params.beta1), floats(state0[state]), m);
        v = fma(vec4<f32>(params.beta2), floats(state1[state]), v);
    }
    state0[state] = quad_of(m);
    state1[state] = quad_of(v);
    p -= params.step_size * m / (sqrt(v) / params.root_correction + params.epsilon);
    store_parameter(segment.number, at, p);
}
