// Winograd's transform of a 3x3 kernel, G g G^T: TILE * TILE matrices of the product's inner channels by its columns.
//
// Forward, the inner channels are the input's and the columns the output's; for the data gradient it is the other way round,
// and the kernel is turned by half a circle. The part winograd_pair stores both transforms, for both passes.
// Bindings: weight, tiles, with winograd_pair the turned kernel's tiles.
//! use: index

@group(0) @binding(0) var<storage, read_write> weight: array<T>;
@group(0) @binding(1) var<storage, read_write> tiles: array<FloatQuad>;

struct Params {
    inner: u32, // inner channels; a thread has one and four columns
    quads: u32, // columns / 4
    band: u32, // inner channels that follow one another before the next four columns
    inner_step: u32, // elements of the weight from inner channel to inner channel
    column_step: u32,
    turned: u32,
    weight_offset: u32,
    step: u32, // quads from position to position of a tile
}

fn weights_at(base: u32, r: u32, s: u32) -> vec4<f32> {
    let tap = select(3u * r + s, 8u - 3u * r - s, params.turned > 0u);
    let at = base + tap;
    let step = params.column_step;
    return vec4<f32>(vec4<T>(weight[at], weight[at + step], weight[at + 2u * step], weight[at + 3u * step]));
}

fn weights_line(base: u32, r: u32) -> WeightLine {
    return WeightLine(weights_at(base, r, 0u), weights_at(base, r, 1u), weights_at(base, r, 2u));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    if (index >= params.inner * params.quads) {
        return;
    }
    let band = quotient(index, params.band * params.quads);
    let high = min(params.band, params.inner - band * params.band);
    let in_band = index - band * params.band * params.quads;
    let quad = quotient(in_band, high);
    let inner = band * params.band + in_band - quad * high;
    let base = params.weight_offset + inner * params.inner_step + 4u * quad * params.column_step;
    let weights = Weights(weights_line(base, 0u), weights_line(base, 1u), weights_line(base, 2u));
    transform(inner * params.quads + quad, weights);
}
