// Gradient of max pooling: dx[p] = sum of dy[o] over the windows o whose maximum was at p, in the order of the windows.
//
// A gather over the few windows that can hold a pixel, so it needs no atomics. One thread makes one pixel.
// Bindings: dy (T: f32 or f16), index (i32, from the forward kernel), out (T).
//! use: index window

@group(0) @binding(0) var<storage, read_write> dy: array<T>;
@group(0) @binding(1) var<storage, read_write> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<T>;

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
    let at = place(i, params.size);
    let own = bitcast<i32>(at.y * params.size.x + at.x);
    let plane = at.z * params.out_size.x * params.out_size.y;
    var sum = 0.0;
    if (DISJOINT) {
        // Windows that do not overlap: a pixel is in one at most, and if it is in none, the index differs.
        let position = at.xy + params.padding;
        let window = vec2<u32>(quotient(position.x, params.stride.x), quotient(position.y, params.stride.y));
        let o = plane + window.y * params.out_size.x + window.x;
        if (window.x < params.out_size.x && window.y < params.out_size.y) {
            sum = select(0.0, f32(dy[params.dy_offset + o]), index[params.index_offset + o] == own);
        }
    } else {
        let windows = windows_of(at.xy);
        for (var oy = windows.y; oy < windows.w; oy += 1u) {
            for (var ox = windows.x; ox < windows.z; ox += 1u) {
                let o = plane + oy * params.out_size.x + ox;
                if (index[params.index_offset + o] == own) {
                    sum += f32(dy[params.dy_offset + o]);
                }
            }
        }
    }
    out[params.out_offset + i] = T(sum);
}
