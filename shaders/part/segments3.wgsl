// 3 pairs of parameter and gradient for one launch of an optimizer: bindings 0 to 5, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup. Needs a part `float_quads`
// or `float_quads_u64`.
//! use: segments

const SEGMENTS = 3u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<FloatQuad>;
@group(0) @binding(1) var<storage, read_write> parameter1: array<FloatQuad>;
@group(0) @binding(2) var<storage, read_write> parameter2: array<FloatQuad>;
@group(0) @binding(3) var<storage, read_write> gradient0: array<FloatQuad>;
@group(0) @binding(4) var<storage, read_write> gradient1: array<FloatQuad>;
@group(0) @binding(5) var<storage, read_write> gradient2: array<FloatQuad>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return floats(parameter0[i]); }
        case 1u: { return floats(parameter1[i]); }
        default: { return floats(parameter2[i]); }
    }
}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return floats(gradient0[i]); }
        case 1u: { return floats(gradient1[i]); }
        default: { return floats(gradient2[i]); }
    }
}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {
    let quad = quad_of(value);
    switch segment {
        case 0u: { parameter0[i] = quad; }
        case 1u: { parameter1[i] = quad; }
        default: { parameter2[i] = quad; }
    }
}
