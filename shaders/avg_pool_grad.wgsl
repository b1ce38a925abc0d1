// Gradient of average pooling: dx[p] = sum of dy[o] / divisor(o) over the windows o that hold p, in their order.
//
// DISJOINT: windows do not overlap, and a thread writes the pixels around each window of a column, top down. Otherwise a
// thread makes the pixels of a column. Bindings: dy, out (T: f32 or f16).
//! use: index window average

@group(0) @binding(0) var<storage, read_write> dy: array<T>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;

fn write_cells(at: Strip) {
    let size = params.size;
    let windows = params.out_size;
    let kernel = params.kernel;
    let stride = params.stride;
    let padding = params.padding;
    let include = params.include_pad != 0u;
    let base = params.out_offset + at.plane * size.x * size.y;
    let columns = cell(at.column, windows.x, stride.x, padding.x, size.x);
    // Above and left of the plane this wraps, and so does the difference from it.
    let left = at.column * stride.x - padding.x;
    let across = divisor(at.column, kernel.x, stride.x, padding.x, size.x, include);
    var o = params.dy_offset + (at.plane * windows.y + at.first) * windows.x + at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        let down = divisor(row, kernel.y, stride.y, padding.y, size.y, include);
        let share = f32(dy[o]) / max(across * down, 1.0);
        let lines = cell(row, windows.y, stride.y, padding.y, size.y);
        for (var y = lines.x; y < lines.y; y += 1u) {
            let value = select(0.0, share, y - (row * stride.y - padding.y) < kernel.y);
            let line = base + y * size.x;
            for (var p = columns.x; p < columns.y; p += 1u) {
                out[line + p] = T(select(0.0, value, p - left < kernel.x));
            }
        }
        o += windows.x;
    }
}

fn gather(at: Strip) {
    let size = params.size;
    let windows = params.out_size;
    let kernel = params.kernel;
    let stride = params.stride;
    let padding = params.padding;
    let include = params.include_pad != 0u;
    let position = vec2<u32>(at.column, at.first) + padding;
    // The first and the last window that hold the pixel: ceil((position - (kernel - 1)) / stride), not below 0, and
    // floor(position / stride).
    let above = max(position + vec2<u32>(1u), kernel) - kernel + stride - vec2<u32>(1u);
    let left = quotient(above.x, stride.x);
    let right = min(quotient(position.x, stride.x) + 1u, windows.x);
    var top = quotient(above.y, stride.y);
    var bottom = quotient(position.y, stride.y);
    let plane = params.dy_offset + at.plane * windows.x * windows.y;
    var to = params.out_offset + (at.plane * size.y + at.first) * size.x + at.column;
    var line = position.y;
    for (var row = at.first; row < at.last; row += 1u) {
        var sum = 0.0;
        for (var oy = top; oy < min(bottom + 1u, windows.y); oy += 1u) {
            let down = divisor(oy, kernel.y, stride.y, padding.y, size.y, include);
            for (var ox = left; ox < right; ox += 1u) {
                let across = divisor(ox, kernel.x, stride.x, padding.x, size.x, include);
                sum += f32(dy[plane + oy * windows.x + ox]) / (across * down);
            }
        }
        out[to] = T(sum);
        to += size.x;
        line += 1u;
        top += select(0u, 1u, top * stride.y + kernel.y <= line);
        bottom += select(0u, 1u, (bottom + 1u) * stride.y <= line);
    }
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
    if (DISJOINT) {
        write_cells(strip(i));
    } else {
        gather(strip(i));
    }
}
