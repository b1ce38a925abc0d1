// The parameters of kernels that work on pairs of tensors. Needs the bindings of optim.rs.

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
    groups: u32, // workgroups of this launch
    s0: f32, // the formula's numbers
    s1: f32,
}
