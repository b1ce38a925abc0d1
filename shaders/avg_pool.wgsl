// Average pooling: out[o] = sum of the window's pixels / divisor, in the order of the pixels; padding is 0.
//
// The divisor counts padding or not by `include_pad`. A window that holds no pixel at all is 0. One thread makes one
// window. Bindings: x, out (T: f32 or f16).
//! use: index window average

@group(0) @binding(0) var<storage, read_write> x: array<T>;
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
    let at = place(i, params.out_size);
    let base = params.x_offset + at.z * params.size.x * params.size.y;
    let start = at.xy * params.stride;
    let first = max(start, params.padding) - params.padding;
    let last = min(max(start + params.kernel, params.padding) - params.padding, params.size);
    var sum = 0.0;
    for (var y = first.y; y < last.y; y += 1u) {
        var line = 0.0;
        for (var column = first.x; column < last.x; column += 1u) {
            line += f32(x[base + y * params.size.x + column]);
        }
        sum += line;
    }
    out[params.out_offset + i] = T(sum / max(divisor(at.xy), 1.0));
}
