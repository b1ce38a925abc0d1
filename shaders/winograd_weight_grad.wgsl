// Winograd's transform back to the gradient of a 3x3 kernel, G^T m G, over the parts of the sum; and the bias' gradient, which
// the sums of the transformed gradients' rows hold.
//
// Bindings: tiles [TILE * TILE][parts][outputs][inputs], sums [TILE * TILE][parts][outputs], weight, bias (weight where
// params.bias is 0).
//! use: index

@group(0) @binding(0) var<storage, read_write> tiles: array<FloatQuad>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> weight: array<vec4<T>>;
@group(0) @binding(3) var<storage, read_write> bias: array<T>;

struct Params {
    count: u32, // threads of the weight: an output channel and four input channels each
    outputs: u32,
    parts: u32,
    bias: u32, // 1 if wanted: a thread more for each output channel
    weight_offset: u32, // a multiple of 4
    bias_offset: u32,
    part: u32, // quads from part to part
    step: u32, // quads from position to position of a tile
}

fn load_position(at: u32) -> vec4<f32> {
    return floats(tiles[at]);
}

fn add_line(x: WeightLine, y: WeightLine) -> WeightLine {
    return WeightLine(x.a + y.a, x.b + y.b, x.c + y.c);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    if (index >= params.count) {
        let output = index - params.count;
        if (params.bias > 0u && output < params.outputs) {
            let first = SUM_POSITION * params.parts * params.outputs + output;
            var sum = sums[first];
            for (var part = 1u; part < params.parts; part++) {
                sum += sums[first + part * params.outputs];
            }
            bias[params.bias_offset + output] = T(sum);
        }
        return;
    }
    var dw: Weights;
    for (var part = 0u; part < params.parts; part++) {
        let more = weight_gradient_tile(load_tile(index + part * params.part, params.step));
        dw = Weights(add_line(dw.a, more.a), add_line(dw.b, more.b), add_line(dw.c, more.c));
    }
    let a = dw.a;
    let b = dw.b;
    let c = dw.c;
    // The nine taps of a channel lie together.
    let at = params.weight_offset / 4u + 9u * index;
    weight[at] = vec4<T>(vec4<f32>(a.a.x, a.b.x, a.c.x, b.a.x));
    weight[at + 1u] = vec4<T>(vec4<f32>(b.b.x, b.c.x, c.a.x, c.b.x));
    weight[at + 2u] = vec4<T>(vec4<f32>(c.c.x, a.a.y, a.b.y, a.c.y));
    weight[at + 3u] = vec4<T>(vec4<f32>(b.a.y, b.b.y, b.c.y, c.a.y));
    weight[at + 4u] = vec4<T>(vec4<f32>(c.b.y, c.c.y, a.a.z, a.b.z));
    weight[at + 5u] = vec4<T>(vec4<f32>(a.c.z, b.a.z, b.b.z, b.c.z));
    weight[at + 6u] = vec4<T>(vec4<f32>(c.a.z, c.b.z, c.c.z, a.a.w));
    weight[at + 7u] = vec4<T>(vec4<f32>(a.b.w, a.c.w, b.a.w, b.b.w));
    weight[at + 8u] = vec4<T>(vec4<f32>(b.c.w, c.a.w, c.b.w, c.c.w));
}
