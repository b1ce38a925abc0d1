// 1 pair of parameter and gradient for one launch of an optimizer: bindings 0 to 1, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup. Needs a part `float_quads`
// or `float_quads_u64`.
//! use: segments

const SEGMENTS = 1u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<FloatQuad>;
@group(0) @binding(1) var<storage, read_write> gradient0: array<FloatQuad>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    return floats(parameter0[i]);
}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {
    return floats(gradient0[i]);
}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {
    parameter0[i] = quad_of(value);
}
