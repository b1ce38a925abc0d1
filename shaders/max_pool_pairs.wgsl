// Max pooling by windows of 2x2 side by side, of planes whose width is a multiple of 4: what max_pool.wgsl makes, by
// vector loads. One thread makes the pairs of neighbouring windows of a column, top down.
//
// Bindings: x, out (T: f32 or f16), index (i32). Offsets count quads of x and pairs of out and index.
//! use: index float window

@group(0) @binding(0) var<storage, read_write> x: array<vec4<T>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec2<T>>;
@group(0) @binding(2) var<storage, read_write> index: array<vec2<i32>>;

struct Best {
    value: vec2<f32>,
    at: vec2<u32>,
}

fn consider(best: ptr<function, Best>, value: vec2<f32>, at: vec2<u32>) {
    let old = (*best).value;
    // As in max_pool.wgsl, for both windows.
    let magnitude = bitcast<vec2<u32>>(value) & vec2<u32>(0x7fffffffu);
    let old_magnitude = bitcast<vec2<u32>>(old) & vec2<u32>(0x7fffffffu);
    let number = vec2<u32>(0x7f800000u);
    let better = (magnitude > number) | ((value > old) & (old_magnitude <= number));
    (*best).value = select(old, value, better);
    (*best).at = select((*best).at, at, better);
}

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
    var source = params.x_offset + (at.plane * params.size.y + 2u * at.first) * quads + at.column;
    let o = (at.plane * params.rows + at.first) * quads + at.column;
    var to = params.out_offset + o;
    var index_to = params.index_offset + o;
    var position = 2u * at.first * width + 4u * at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        let upper = vec4<f32>(x[source]);
        let lower = vec4<f32>(x[source + quads]);
        let first = vec2<u32>(position, position + 2u);
        var best = Best(upper.xz, first);
        consider(&best, upper.yw, first + 1u);
        consider(&best, lower.xz, first + width);
        consider(&best, lower.yw, first + width + 1u);
        var value = best.value;
        if (RELU) {
            value = select(max(value, vec2<f32>(0.0)), value, vec2<bool>(is_nan(value.x), is_nan(value.y)));
        }
        out[to] = vec2<T>(value);
        index[index_to] = bitcast<vec2<i32>>(best.at);
        source += 2u * quads;
        to += quads;
        index_to += quads;
        position += 2u * width;
    }
}
