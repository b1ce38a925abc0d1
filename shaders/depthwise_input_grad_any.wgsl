// Data gradient of depthwise convolution by any kernel, stride, dilation and multiplier:
//
//   dx[n, c, y, x] = sum over the kernels k of c and over r, s of dy[n, k, i, j] w[k, r, s]
//   where i stride - padding + r dilation = y, and the same for j and x
//
// A thread makes a column of a strip, each pixel a gather over the windows that can hold it.
// Bindings: x (dy), w, out (dx) (T: f32 or f16).
//! use: index depthwise

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
@group(0) @binding(2) var<storage, read_write> out: array<T>;

// Which tap of a window a point `distance` behind the window's first is; `none` where it lies between taps.
const none = 0xffffffffu;

fn tap(distance: u32, dilation: u32) -> u32 {
    if (!DILATED) {
        return distance;
    }
    let t = quotient(distance, dilation);
    return select(none, t, t * dilation == distance);
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
    let size = params.size;
    let windows = params.out_size;
    let kernel = params.kernel;
    let stride = params.stride;
    let dilation = params.dilation;
    let multiplier = params.multiplier;
    let inputs = quotient(params.channels, multiplier);
    let channel = (at.plane - quotient(at.plane, inputs) * inputs) * multiplier;
    let taps = params.w_offset + channel * kernel.x * kernel.y;
    let base = params.x_offset + at.plane * multiplier * windows.x * windows.y;
    let reach = (kernel - vec2<u32>(1u)) * dilation;
    let position = vec2<u32>(at.column, at.first) + params.padding;
    // The first and the last window that can hold the pixel: ceil((position - reach) / stride), not below 0, and
    // floor(position / stride).
    let above = max(position, reach) - reach + stride - vec2<u32>(1u);
    let left = quotient(above.x, stride.x);
    let right = min(quotient(position.x, stride.x) + 1u, windows.x);
    var top = quotient(above.y, stride.y);
    var bottom = quotient(position.y, stride.y);
    var line = position.y;
    var to = params.out_offset + (at.plane * size.y + at.first) * size.x + at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        var sum = 0.0;
        for (var k = 0u; k < multiplier; k += 1u) {
            let plane = base + k * windows.x * windows.y;
            let weights = taps + k * kernel.x * kernel.y;
            for (var oy = top; oy < min(bottom + 1u, windows.y); oy += 1u) {
                let r = tap(line - oy * stride.y, dilation.y);
                if (r == none) {
                    continue;
                }
                for (var ox = left; ox < right; ox += 1u) {
                    let s = tap(position.x - ox * stride.x, dilation.x);
                    if (s != none) {
                        sum = fma(f32(x[plane + oy * windows.x + ox]), f32(w[weights + r * kernel.x + s]), sum);
                    }
                }
            }
        }
        out[to] = T(sum);
        to += size.x;
        line += 1u;
        top += select(0u, 1u, top * stride.y + reach.y < line);
        bottom += select(0u, 1u, (bottom + 1u) * stride.y <= line);
    }
}
