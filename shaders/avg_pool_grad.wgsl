// Gradient of average pooling: dx[p] = sum of dy[o] / divisor(o) over the windows o that hold p, in their order.
//
// One thread makes one pixel. Bindings: dy, out (T: f32 or f16).
//! use: index window average

@group(0) @binding(0) var<storage, read_write> dy: array<T>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;

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
    let windows = windows_of(at.xy);
    let plane = params.dy_offset + at.z * params.out_size.x * params.out_size.y;
    var sum = 0.0;
    for (var oy = windows.y; oy < windows.w; oy += 1u) {
        for (var ox = windows.x; ox < windows.z; ox += 1u) {
            sum += f32(dy[plane + oy * params.out_size.x + ox]) / divisor(vec2<u32>(ox, oy));
        }
    }
    out[params.out_offset + i] = T(sum);
}
