// Gradient of max_pool_pairs.wgsl for planes of an even height: what max_pool_grad.wgsl makes, by vector stores. One thread
// makes the quads of pixels under the pairs of windows of a column, top down.
//
// Bindings: dy (T: f32 or f16), index (i32), out (T), and where the forward kernel had RELU, its result y (T). Offsets
// count pairs of dy, index and y, and quads of out. The header declares `gradient_of(o)`: a pair of dy, or 0 where y is
// 0.
//! use: index float window

@group(0) @binding(0) var<storage, read_write> dy: array<vec2<T>>;
@group(0) @binding(1) var<storage, read_write> index: array<vec2<i32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<T>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count) {
        return;
    }
    let at = strip(i);
    let quads = params.columns;
    let width = 4u * quads;
    var to = params.out_offset + (at.plane * params.size.y + 2u * at.first) * quads + at.column;
    var o = (at.plane * params.rows + at.first) * quads + at.column;
    var index_at = params.index_offset + o;
    var position = vec4<u32>(2u * at.first * width + 4u * at.column) + vec4<u32>(0u, 1u, 2u, 3u);
    for (var row = at.first; row < at.last; row += 1u) {
        let gradient = gradient_of(o).xxyy;
        let own = bitcast<vec2<u32>>(index[index_at]).xxyy;
        out[to] = vec4<T>(select(vec4<f32>(0.0), gradient, own == position));
        out[to + quads] = vec4<T>(select(vec4<f32>(0.0), gradient, own == position + width));
        to += 2u * quads;
        o += quads;
        index_at += quads;
        position += 2u * width;
    }
}
