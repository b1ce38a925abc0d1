// 3 pairs of parameter and gradient for one launch of an optimizer: bindings 0 to 5, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup.
//! use: segments

const SEGMENTS = 3u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parameter1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parameter2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradient0: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient1: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> gradient2: array<vec4<f32>>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return parameter0[i]; }
        case 1u: { return parameter1[i]; }
        default: { return parameter2[i]; }
    }
}

fn load_gradient(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return gradient0[i]; }
        case 1u: { return gradient1[i]; }
        default: { return gradient2[i]; }
    }
}

fn store_parameter(segment: u32, i: u32, value: vec4<f32>) {
    switch segment {
        case 0u: { parameter0[i] = value; }
        case 1u: { parameter1[i] = value; }
        default: { parameter2[i] = value; }
    }
}
