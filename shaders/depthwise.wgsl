// Depthwise convolution by square kernels of SIDE without dilation, STRIDE 1 or 2:
//
//   out[n, k, i, j] = sum over r, s of x[n, k / multiplier, i STRIDE - padding + r, ..] w[k, r, s]
//
// FLIP turns the kernel around: with it the data gradient of a stride of 1 is the same sum. A thread makes four neighbours
// of each row of its strip. For a stride of 1 it reads every line of x once: a line is tap r of the r-th of the rows that
// are still open. The header declares `finish(sum, channel)`, which adds the bias and applies the activation, with its
// binding 3. Bindings: x, w, out (T: f32 or f16).
//! use: index depthwise taps kernel_rows

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
@group(0) @binding(2) var<storage, read_write> out: array<T>;

fn write_row(values: vec4<f32>, to: u32, column: u32, width: u32) {
    if (column + 3u < width) {
        out[to + 3u] = T(values.w);
    }
    if (column + 2u < width) {
        out[to + 2u] = T(values.z);
    }
    if (column + 1u < width) {
        out[to + 1u] = T(values.y);
    }
    out[to] = T(values.x);
}

// Adds a row of the kernel over line y; a line outside of the plane is 0.
fn over(taps: Taps, base: u32, y: u32, left: u32, size: vec2<u32>, sum: vec4<f32>) -> vec4<f32> {
    if (y >= size.y) {
        return sum;
    }
    return across(taps, load_line(base + y * size.x, left, size.x), sum);
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
    let width = params.out_size.x;
    let channel = at.plane - quotient(at.plane, params.channels) * params.channels;
    let base = params.x_offset + quotient(at.plane, params.multiplier) * size.x * size.y;
    let taps0 = load_taps(channel, 0u);
    let taps1 = load_taps(channel, 1u);
    let taps2 = load_taps(channel, 2u);
    let taps3 = load_taps(channel, 3u);
    let taps4 = load_taps(channel, 4u);
    let taps5 = load_taps(channel, 5u);
    let taps6 = load_taps(channel, 6u);
    // Left of and above the plane these wrap to huge numbers.
    let left = 4u * STRIDE * at.column - params.padding.x;
    var y = at.first * STRIDE - params.padding.y;
    let column = 4u * at.column;
    var to = params.out_offset + (at.plane * params.out_size.y + at.first) * width + column;
    var sum0 = vec4<f32>(0.0);
    if (STRIDE == 1u) {
        var sum1 = vec4<f32>(0.0);
        var sum2 = vec4<f32>(0.0);
        var sum3 = vec4<f32>(0.0);
        var sum4 = vec4<f32>(0.0);
        var sum5 = vec4<f32>(0.0);
        var sum6 = vec4<f32>(0.0);
        // The first rows to be closed are those above the strip.
        for (var row = at.first; row < at.last + SIDE - 1u; row += 1u) {
            if (y < size.y) {
                let line = load_line(base + y * size.x, left, size.x);
                sum0 = across(taps0, line, sum0);
                sum1 = across(taps1, line, sum1);
                sum2 = across(taps2, line, sum2);
                if (SIDE > 3u) {
                    sum3 = across(taps3, line, sum3);
                    sum4 = across(taps4, line, sum4);
                }
                if (SIDE > 5u) {
                    sum5 = across(taps5, line, sum5);
                    sum6 = across(taps6, line, sum6);
                }
            }
            if (row >= at.first + SIDE - 1u) {
                let closed = select(select(sum6, sum4, SIDE == 5u), sum2, SIDE == 3u);
                write_row(finish(closed, channel), to, column, width);
                to += width;
            }
            sum6 = sum5;
            sum5 = sum4;
            sum4 = sum3;
            sum3 = sum2;
            sum2 = sum1;
            sum1 = sum0;
            sum0 = vec4<f32>(0.0);
            y += 1u;
        }
        return;
    }
    for (var row = at.first; row < at.last; row += 1u) {
        sum0 = over(taps0, base, y, left, size, vec4<f32>(0.0));
        sum0 = over(taps1, base, y + 1u, left, size, sum0);
        sum0 = over(taps2, base, y + 2u, left, size, sum0);
        if (SIDE > 3u) {
            sum0 = over(taps3, base, y + 3u, left, size, sum0);
            sum0 = over(taps4, base, y + 4u, left, size, sum0);
        }
        if (SIDE > 5u) {
            sum0 = over(taps5, base, y + 5u, left, size, sum0);
            sum0 = over(taps6, base, y + 6u, left, size, sum0);
        }
        write_row(finish(sum0, channel), to, column, width);
        to += width;
        y += 2u;
    }
}
