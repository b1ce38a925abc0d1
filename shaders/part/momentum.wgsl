// The momentum of sgd.wgsl. Needs the binding `state0`.

fn momentum(g: vec4<f32>, i: u32) -> vec4<f32> {
    var b = g;
    if (params.first_step == 0u) {
        b = fma(vec4<f32>(params.momentum), floats(state0[i]), params.kept * g);
    }
    state0[i] = quad_of(b);
    return select(b, fma(vec4<f32>(params.momentum), b, g), params.nesterov == 1u);
}
