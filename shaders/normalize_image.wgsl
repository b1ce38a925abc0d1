// From bytes to what a network takes: out = x / 255 * 1/std - mean/std, channel by channel, for images [n, c, h, w].
//
// One lane makes four neighbours, whose bytes are one word of x; a word may span two planes. The tail lies in the
// allocation's padding. Bindings: x, factors (1/(255 std) of each channel, then -mean/std), out.
//! use: index bytes

struct Params {
    quads: u32, // ceil(count / 4)
    plane: u32, // h * w
    channels: u32,
    x_offset: u32, // in quads
    factors_offset: u32, // in elements
    out_offset: u32, // in quads
}

@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> factors: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

// The factors of the channel that an element is in.
fn factors_at(element: u32) -> vec2<f32> {
    let plane = quotient(element, params.plane);
    let at = params.factors_offset + plane - quotient(plane, params.channels) * params.channels;
    return vec2<f32>(factors[at], factors[at + params.channels]);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 256u + lane;
    if (i >= params.quads) {
        return;
    }
    let bytes = vec4<f32>(unpack_bytes(x[params.x_offset + i]));
    let first = factors_at(4u * i);
    var result = bytes * first.x + first.y;
    // Rare: only where a plane ends within the word, which for most sizes is never.
    if (quotient(4u * i, params.plane) != quotient(4u * i + 3u, params.plane)) {
        for (var k = 1u; k < 4u; k += 1u) {
            let own = factors_at(4u * i + k);
            result[k] = bytes[k] * own.x + own.y;
        }
    }
    out[params.out_offset + i] = result;
}
