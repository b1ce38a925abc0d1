// Depthwise convolution by any kernel, stride and dilation:
//
//   out[n, k, i, j] = sum over r, s of x[n, k / multiplier, i stride - padding + r dilation, ..] w[k, r, s]
//
// A thread makes a column of a strip. The header declares `finish(sum, channel)` and its binding 3, as for depthwise.wgsl.
// Bindings: x, w, out (T: f32 or f16).
//! use: index depthwise

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
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
    let at = strip(i);
    let size = params.size;
    let kernel = params.kernel;
    let stride = params.stride;
    let dilation = params.dilation;
    let width = params.out_size.x;
    let channel = at.plane - quotient(at.plane, params.channels) * params.channels;
    let base = params.x_offset + quotient(at.plane, params.multiplier) * size.x * size.y;
    let taps = params.w_offset + channel * kernel.x * kernel.y;
    // Left of and above the plane these wrap to huge numbers.
    let left = at.column * stride.x - params.padding.x;
    var top = at.first * stride.y - params.padding.y;
    var to = params.out_offset + (at.plane * params.out_size.y + at.first) * width + at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        var sum = vec4<f32>(0.0);
        var y = top;
        for (var r = 0u; r < kernel.y; r += 1u) {
            if (y < size.y) {
                let line = base + y * size.x;
                var column = left;
                for (var s = 0u; s < kernel.x; s += 1u) {
                    if (column < size.x) {
                        sum.x = fma(f32(x[line + column]), f32(w[taps + r * kernel.x + s]), sum.x);
                    }
                    column += dilation.x;
                }
            }
            y += dilation.y;
        }
        out[to] = T(finish(sum, channel).x);
        to += width;
        top += stride.y;
    }
}
