// Winograd's transform back to an image, A^T m A, with bias and activation.
//
// OUT_QUADS: four pixels of a row can be stored at once. The part winograd_rectified, for quads only, is the gradient of a ReLU.
// Bindings: tiles, image, biases (the same as image where params.bias is 0), with winograd_rectified the ReLU's result.
//! use: index winograd_params

@group(0) @binding(0) var<storage, read_write> tiles: array<FloatQuad>;
@group(0) @binding(1) var<storage, read_write> image: array<vec4<T>>;
@group(0) @binding(2) var<storage, read_write> biases: array<T>;

struct Place {
    base: u32,
    y: u32,
    x: u32,
    bias: vec4<f32>,
}

fn load_position(at: u32) -> vec4<f32> {
    return floats(tiles[at]);
}

fn store_row(at: u32, count: u32, row: vec4<f32>) {
    let stored = vec4<T>(passed(at, row));
    if (OUT_QUADS) {
        image[at / 4u] = stored;
        return;
    }
    image[at / 4u][at % 4u] = stored.x;
    if (count > 1u) {
        image[(at + 1u) / 4u][(at + 1u) % 4u] = stored.y;
    }
    if (OUT > 2u && count > 2u) {
        image[(at + 2u) / 4u][(at + 2u) % 4u] = stored.z;
    }
    if (OUT > 2u && count > 3u) {
        image[(at + 3u) / 4u][(at + 3u) % 4u] = stored.w;
    }
}

fn finish(sum: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    let result = sum + bias;
    // Not max: NaN stays NaN.
    return select(result, vec4<f32>(0.0), (result < vec4<f32>(0.0)) & vec4<bool>(params.relu > 0u));
}

// A row of pixels of four channels.
fn store_pixels(place: Place, y: u32, p0: vec4<f32>, p1: vec4<f32>, p2: vec4<f32>, p3: vec4<f32>) {
    let row = place.y + y;
    if (row >= params.height) {
        return;
    }
    let a = finish(p0, place.bias);
    let b = finish(p1, place.bias);
    let c = finish(p2, place.bias);
    let d = finish(p3, place.bias);
    let at = place.base + row * params.width + place.x;
    let plane = params.height * params.width;
    let count = params.width - place.x;
    store_row(at, count, vec4<f32>(a.x, b.x, c.x, d.x));
    store_row(at + plane, count, vec4<f32>(a.y, b.y, c.y, d.y));
    store_row(at + 2u * plane, count, vec4<f32>(a.z, b.z, c.z, d.z));
    store_row(at + 3u * plane, count, vec4<f32>(a.w, b.w, c.w, d.w));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    if (index >= params.count) {
        return;
    }
    let tile = quotient(index, params.quads);
    let channel = 4u * (index - tile * params.quads);
    let number = quotient(tile, params.image_tiles);
    let within = tile - number * params.image_tiles;
    let row = quotient(within, params.row_tiles);
    var bias = vec4<f32>(0.0);
    if (params.bias > 0u) {
        let i = params.bias_offset + channel;
        bias = vec4<f32>(vec4<T>(biases[i], biases[i + 1u], biases[i + 2u], biases[i + 3u]));
    }
    let place = Place(
        params.image_offset + (number * 4u * params.quads + channel) * params.height * params.width,
        row * OUT,
        (within - row * params.row_tiles) * OUT,
        bias,
    );
    store_out(place, output_tile(load_tile(index, params.step)));
}
