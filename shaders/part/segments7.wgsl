// 7 pairs of parameter and gradient for one launch of an optimizer: bindings 0 to 13, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup. Needs a part `float_quads`
// or `float_quads_u64`.
//! use: segments

const SEGMENTS = 7u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<FloatQuad>;
@group(0) @binding(1) var<storage, read_write> parameter1: array<FloatQuad>;
@group(0) @binding(2) var<storage, read_write> parameter2: array<FloatQuad>;
@group(0) @binding(3) var<storage, read_write> parameter3: array<FloatQuad>;
@group(0) @binding(4) var<storage, read_write> parameter4: array<FloatQuad>;
@group(0) @binding(5) var<storage, read_write> parameter5: array<FloatQuad>;
@group(0) @binding(6) var<storage, read_write> parameter6: array<FloatQuad>;
@group(0) @binding(7) var<storage, read_write> gradient0: array<FloatQuad>;
@group(0) @binding(8) var<storage, read_write> gradient1: array<FloatQuad>;
@group(0) @binding(9) var<storage, read_write> gradient2: array<FloatQuad>;
@group(0) @binding(10) var<storage, read_write> gradient3: array<FloatQuad>;
@group(0) @binding(11) var<storage, read_write> gradient4: array<FloatQuad>;
@group(0) @binding(12) var<storage, read_write> gradient5: array<FloatQuad>;
@group(0) @binding(13) var<storage, read_write> gradient6: array<FloatQuad>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return floats(parameter0[i]); }
        case 1u: { return floats(parameter1[i]); }
        case 2u: { return floats(parameter2[i]); }
        case 3u: { return floats(parameter3[i]); }
        case 4u: { return floats(parameter4[i]); }
        case 5u: { return floats(parameter5[i]); }
        default: { return floats(parameter6[i]); }
    }
}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return floats(gradient0[i]); }
        case 1u: { return floats(gradient1[i]); }
        case 2u: { return floats(gradient2[i]); }
        case 3u: { return floats(gradient3[i]); }
        case 4u: { return floats(gradient4[i]); }
        case 5u: { return floats(gradient5[i]); }
        default: { return floats(gradient6[i]); }
    }
}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {
    let quad = quad_of(value);
    switch segment {
        case 0u: { parameter0[i] = quad; }
        case 1u: { parameter1[i] = quad; }
        case 2u: { parameter2[i] = quad; }
        case 3u: { parameter3[i] = quad; }
        case 4u: { parameter4[i] = quad; }
        case 5u: { parameter5[i] = quad; }
        default: { parameter6[i] = quad; }
    }
}
