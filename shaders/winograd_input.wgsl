// Winograd's transform of an image, channels in fours: TILE * TILE matrices, a row for each tile, a column for each channel.
//
// GRADIENT false: the windows of the results, B^T x B. true: the results' gradients themselves, A dy A^T.
// Bindings: image, tiles.
//! use: index winograd_params winograd_pixel

@group(0) @binding(0) var<storage, read_write> image: array<T>;
@group(0) @binding(1) var<storage, read_write> tiles: array<TileQuad>;

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
    store_tile(index, params.step, transformed(index));
}
