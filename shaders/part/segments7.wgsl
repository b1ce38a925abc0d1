// 7 pairs of parameter and gradient for one launch of an optimizer: bindings 0 to 13, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup.
//! use: segments

const SEGMENTS = 7u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parameter1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parameter2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parameter3: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> parameter4: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> parameter5: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> parameter6: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> gradient0: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> gradient1: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> gradient2: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> gradient3: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read_write> gradient4: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> gradient5: array<vec4<f32>>;
@group(0) @binding(13) var<storage, read_write> gradient6: array<vec4<f32>>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return parameter0[i]; }
        case 1u: { return parameter1[i]; }
        case 2u: { return parameter2[i]; }
        case 3u: { return parameter3[i]; }
        case 4u: { return parameter4[i]; }
        case 5u: { return parameter5[i]; }
        default: { return parameter6[i]; }
    }
}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return gradient0[i]; }
        case 1u: { return gradient1[i]; }
        case 2u: { return gradient2[i]; }
        case 3u: { return gradient3[i]; }
        case 4u: { return gradient4[i]; }
        case 5u: { return gradient5[i]; }
        default: { return gradient6[i]; }
    }
}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {
    switch segment {
        case 0u: { parameter0[i] = value; }
        case 1u: { parameter1[i] = value; }
        case 2u: { parameter2[i] = value; }
        case 3u: { parameter3[i] = value; }
        case 4u: { parameter4[i] = value; }
        case 5u: { parameter5[i] = value; }
        default: { parameter6[i] = value; }
    }
}
