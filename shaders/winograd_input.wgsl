// Winograd's transform of an image, channels in fours: TILE * TILE matrices, a row for each tile, a column for each channel.
//
// Of what: the windows of the results, B^T x B (part winograd_forward), the results' gradients themselves, A dy A^T
// (winograd_backward), or both.
// Bindings: image, tiles.
//! use: index winograd_params

@group(0) @binding(0) var<storage, read_write> image: array<Pixels>;
@group(0) @binding(1) var<storage, read_write> tiles: array<FloatQuad>;

fn put(at: u32, quad: FloatQuad) {
    tiles[at] = quad;
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
    transform(index, params.step);
}
