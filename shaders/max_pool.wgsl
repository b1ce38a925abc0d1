// Max pooling: out[o] = max of the window's pixels, index[o] = where it was, as y * width + x in its plane.
//
// Padding never wins, the first of equals wins, and NaN wins, as in PyTorch. One thread makes one window.
// Bindings: x, out (T: f32 or f16), index (i32).
//! use: index float window

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> index: array<i32>;

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
    let at = place(i, params.out_size);
    let base = params.x_offset + at.z * params.size.x * params.size.y;
    let corner = at.xy * params.stride;
    var best = -infinity();
    var best_at = 0xffffffffu;
    for (var ky = 0u; ky < params.kernel.y; ky += 1u) {
        // Above the plane this wraps to a huge number, so one comparison tests both ends.
        let y = corner.y + ky * params.dilation.y - params.padding.y;
        if (y >= params.size.y) {
            continue;
        }
        for (var kx = 0u; kx < params.kernel.x; kx += 1u) {
            let column = corner.x + kx * params.dilation.x - params.padding.x;
            if (column >= params.size.x) {
                continue;
            }
            let position = y * params.size.x + column;
            let value = f32(x[base + position]);
            if (best_at == 0xffffffffu || is_nan(value) || (value > best && !is_nan(best))) {
                best = value;
                best_at = position;
            }
        }
    }
    out[params.out_offset + i] = T(best);
    index[params.index_offset + i] = bitcast<i32>(best_at);
}
