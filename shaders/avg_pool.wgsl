// Average pooling: out[o] = sum of the window's pixels / divisor, in the order of the pixels; padding is 0.
//
// The divisor counts padding or not by `include_pad`. A window that holds no pixel at all is 0. One thread makes the
// windows of a column, top down. Bindings: x, out (T: f32 or f16).
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
    let at = strip(i);
    let size = params.size;
    let kernel = params.kernel;
    let stride = params.stride;
    let padding = params.padding;
    let width = params.out_size.x;
    let include = params.include_pad != 0u;
    let base = params.x_offset + at.plane * size.x * size.y;
    let start = at.column * stride.x;
    let left = max(start, padding.x) - padding.x;
    let right = min(max(start + kernel.x, padding.x) - padding.x, size.x);
    let across = divisor(at.column, kernel.x, stride.x, padding.x, size.x, include);
    var o = params.out_offset + (at.plane * params.out_size.y + at.first) * width + at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        let above = row * stride.y;
        let top = max(above, padding.y) - padding.y;
        let bottom = min(max(above + kernel.y, padding.y) - padding.y, size.y);
        var sum = 0.0;
        for (var y = top; y < bottom; y += 1u) {
            let line = base + y * size.x;
            var part = 0.0;
            for (var p = line + left; p < line + right; p += 1u) {
                part += f32(x[p]);
            }
            sum += part;
        }
        let down = divisor(row, kernel.y, stride.y, padding.y, size.y, include);
        out[o] = T(sum / max(across * down, 1.0));
        o += width;
    }
}
