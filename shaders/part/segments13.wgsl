// 13 pairs of parameter and gradient for one launch of an optimizer: bindings 0 to 25, parameters first.
// WGSL cannot index bindings, so a switch picks one; the choice is the same for a whole workgroup.
//! use: segments

const SEGMENTS = 13u;

@group(0) @binding(0) var<storage, read_write> parameter0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parameter1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parameter2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parameter3: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> parameter4: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> parameter5: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> parameter6: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> parameter7: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> parameter8: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> parameter9: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> parameter10: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read_write> parameter11: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> parameter12: array<vec4<f32>>;
@group(0) @binding(13) var<storage, read_write> gradient0: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read_write> gradient1: array<vec4<f32>>;
@group(0) @binding(15) var<storage, read_write> gradient2: array<vec4<f32>>;
@group(0) @binding(16) var<storage, read_write> gradient3: array<vec4<f32>>;
@group(0) @binding(17) var<storage, read_write> gradient4: array<vec4<f32>>;
@group(0) @binding(18) var<storage, read_write> gradient5: array<vec4<f32>>;
@group(0) @binding(19) var<storage, read_write> gradient6: array<vec4<f32>>;
@group(0) @binding(20) var<storage, read_write> gradient7: array<vec4<f32>>;
@group(0) @binding(21) var<storage, read_write> gradient8: array<vec4<f32>>;
@group(0) @binding(22) var<storage, read_write> gradient9: array<vec4<f32>>;
@group(0) @binding(23) var<storage, read_write> gradient10: array<vec4<f32>>;
@group(0) @binding(24) var<storage, read_write> gradient11: array<vec4<f32>>;
@group(0) @binding(25) var<storage, read_write> gradient12: array<vec4<f32>>;

fn load_parameter(segment: u32, i: u32) -> vec4<f32> {
    switch segment {
        case 0u: { return parameter0[i]; }
        case 1u: { return parameter1[i]; }
        case 2u: { return parameter2[i]; }
        case 3u: { return parameter3[i]; }
        case 4u: { return parameter4[i]; }
        case 5u: { return parameter5[i]; }
        case 6u: { return parameter6[i]; }
        case 7u: { return parameter7[i]; }
        case 8u: { return parameter8[i]; }
        case 9u: { return parameter9[i]; }
        case 10u: { return parameter10[i]; }
        case 11u: { return parameter11[i]; }
        default: { return parameter12[i]; }
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
        case 6u: { return gradient6[i]; }
        case 7u: { return gradient7[i]; }
        case 8u: { return gradient8[i]; }
        case 9u: { return gradient9[i]; }
        case 10u: { return gradient10[i]; }
        case 11u: { return gradient11[i]; }
        default: { return gradient12[i]; }
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
        case 6u: { parameter6[i] = value; }
        case 7u: { parameter7[i] = value; }
        case 8u: { parameter8[i] = value; }
        case 9u: { parameter9[i] = value; }
        case 10u: { parameter10[i] = value; }
        case 11u: { parameter11[i] = value; }
        default: { parameter12[i] = value; }
    }
}
