// What is left of augmentation once crops are made, for bytes [n, c, h, w]: colour, light, normalising, erasing and mixing.
//
//   seen   = (clamp(color * [x / 255, 1], 0, 1) + light - mean) / std    of three channels; of others (x / 255 - mean) / std
//   erased = 0 within the image's rectangle, else seen
//   out    = own * erased + (1 - own) * erased of the image before; within the region, the image before alone
//
// One lane makes four neighbours of a row-major plane, of all channels where COLOR joins them, else of one.
// Bindings: x, adjust (five vec4 an image: three rows of color, light, the rectangle's top, left, bottom and right), factors
// (1/std of each channel, then -mean/std), out.
//! use: index

struct Params {
    region: vec4<u32>, // top, left, bottom, right
    lanes: u32, // images made * planes joined * quads
    quads: u32, // ceil(plane / 4)
    plane: u32, // h * w
    width: u32,
    images: u32, // of x
    channels: u32,
    first: u32, // the first image that is made
    x_offset: u32, // in bytes
    adjust_offset: u32, // in vec4
    factors_offset: u32,
    out_offset: u32,
    own: f32,
}

@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> adjust: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> factors: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// The channels that a lane makes: all three, or one.
const JOINED = select(1u, 3u, COLOR);

fn pixel(image: u32, channel: u32, at: u32) -> f32 {
    let byte = params.x_offset + (image * params.channels + channel) * params.plane + at;
    return f32((x[byte / 4u] >> (8u * (byte % 4u))) & 255u) / 255.0;
}

fn within(row: u32, column: u32, edges: vec4<u32>) -> bool {
    return row >= edges.x && column >= edges.y && row < edges.z && column < edges.w;
}

// The pixel of an image, for JOINED channels from `channel` on.
fn seen(image: u32, channel: u32, at: u32, row: u32, column: u32) -> vec3<f32> {
    let record = params.adjust_offset + 5u * image;
    if (within(row, column, vec4<u32>(adjust[record + 4u]))) {
        return vec3<f32>(0.0);
    }
    var color = vec3<f32>(pixel(image, channel, at), 0.0, 0.0);
    if (COLOR) {
        let rgb = vec4<f32>(color.x, pixel(image, 1u, at), pixel(image, 2u, at), 1.0);
        color = vec3<f32>(dot(adjust[record], rgb), dot(adjust[record + 1u], rgb), dot(adjust[record + 2u], rgb));
        color = clamp(color, vec3<f32>(0.0), vec3<f32>(1.0)) + adjust[record + 3u].xyz;
    }
    let from_channel = params.factors_offset + channel;
    for (var k = 0u; k < JOINED; k += 1u) {
        color[k] = color[k] * factors[from_channel + k] + factors[from_channel + params.channels + k];
    }
    return color;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.lanes) {
        return;
    }
    let plane = quotient(i, params.quads);
    let parts = params.channels / JOINED;
    let made = quotient(plane, parts);
    let channel = plane - made * parts;
    let image = params.first + made;
    let before = select(image, params.images, image == 0u) - 1u;
    let first = 4u * (i - plane * params.quads);
    for (var at = first; at < min(first + 4u, params.plane); at += 1u) {
        let row = quotient(at, params.width);
        let column = at - row * params.width;
        let own = select(params.own, 0.0, within(row, column, params.region));
        var result = vec3<f32>(0.0);
        // A share of nothing is not computed: it would double the work of batches that are not mixed.
        if (own > 0.0) {
            result = own * seen(image, channel, at, row, column);
        }
        if (own < 1.0) {
            result += (1.0 - own) * seen(before, channel, at, row, column);
        }
        for (var k = 0u; k < JOINED; k += 1u) {
            out[params.out_offset + (made * params.channels + channel + k) * params.plane + at] = result[k];
        }
    }
}
