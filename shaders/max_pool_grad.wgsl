// Gradient of max pooling: dx[p] = sum of dy[o] over the windows o whose maximum was at p, in the order of the windows.
//
// How a thread goes about it, top down along a column, without atomics, is MODE. 0: windows do not overlap, and it writes the
// pixels around each window, dy where the maximum was and 0 elsewhere. 1: the stride is 2 and two windows at most share a
// pixel along an axis, and it makes squares of 2x2 pixels from the four windows that touch them, of which two were loaded
// for the square above. 2: any windows, and it makes pixels, each a gather over the windows that can hold it.
//
// Bindings: dy (T: f32 or f16), index (i32, from the forward kernel), out (T), and where the forward kernel had RELU, its
// result y (T). The header declares `gradient_of(o)`: dy, or 0 where y is 0.
//! use: index float window

@group(0) @binding(0) var<storage, read_write> dy: array<T>;
@group(0) @binding(1) var<storage, read_write> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<T>;

fn write_cells(at: Strip) {
    let size = params.size;
    let windows = params.out_size;
    let step = params.stride.y;
    let padding = params.padding.y;
    let index_base = params.index_offset;
    let base = params.out_offset + at.plane * size.x * size.y;
    let columns = cell(at.column, windows.x, params.stride.x, params.padding.x, size.x);
    var o = (at.plane * windows.y + at.first) * windows.x + at.column;
    for (var row = at.first; row < at.last; row += 1u) {
        let gradient = gradient_of(o);
        let own = bitcast<u32>(index[index_base + o]);
        let lines = cell(row, windows.y, step, padding, size.y);
        for (var y = lines.x; y < lines.y; y += 1u) {
            let line = y * size.x;
            for (var p = line + columns.x; p < line + columns.y; p += 1u) {
                out[base + p] = T(select(0.0, gradient, p == own));
            }
        }
        o += windows.x;
    }
}

// The neighbours (column - 1, row) and (column, row) of the windows: where their maxima were and what goes there. A window
// that there is not has its maximum nowhere.
struct Neighbours {
    own: vec2<u32>,
    gradient: vec2<f32>,
}

fn neighbours(column: u32, row: u32, plane: u32) -> Neighbours {
    var found = Neighbours(vec2<u32>(0xffffffffu), vec2<f32>(0.0));
    let windows = params.out_size;
    if (row < windows.y) {
        let o = plane + row * windows.x + column;
        if (column > 0u) {
            found.own.x = bitcast<u32>(index[params.index_offset + o - 1u]);
            found.gradient.x = gradient_of(o - 1u);
        }
        if (column < windows.x) {
            found.own.y = bitcast<u32>(index[params.index_offset + o]);
            found.gradient.y = gradient_of(o);
        }
    }
    return found;
}

fn at_pixel(own: u32, above: Neighbours, below: Neighbours) -> f32 {
    let upper = select(vec2<f32>(0.0), above.gradient, above.own == vec2<u32>(own));
    let lower = select(vec2<f32>(0.0), below.gradient, below.own == vec2<u32>(own));
    return upper.x + upper.y + lower.x + lower.y;
}

fn write_squares(at: Strip) {
    let size = params.size;
    let plane = at.plane * params.out_size.x * params.out_size.y;
    let base = params.out_offset + at.plane * size.x * size.y;
    // Left of and above the plane these wrap to huge numbers.
    let left = 2u * at.column - params.padding.x;
    var top = 2u * at.first - params.padding.y;
    var above = neighbours(at.column, at.first - 1u, plane);
    for (var row = at.first; row < at.last; row += 1u) {
        let below = neighbours(at.column, row, plane);
        let p = top * size.x + left;
        let inside = vec2<bool>(left < size.x, left + 1u < size.x);
        if (top < size.y) {
            if (inside.x) {
                out[base + p] = T(at_pixel(p, above, below));
            }
            if (inside.y) {
                out[base + p + 1u] = T(at_pixel(p + 1u, above, below));
            }
        }
        if (top + 1u < size.y) {
            if (inside.x) {
                out[base + p + size.x] = T(at_pixel(p + size.x, above, below));
            }
            if (inside.y) {
                out[base + p + size.x + 1u] = T(at_pixel(p + size.x + 1u, above, below));
            }
        }
        above = below;
        top += 2u;
    }
}

fn gather(at: Strip) {
    let size = params.size;
    let windows = params.out_size;
    let step = params.stride.y;
    let index_base = params.index_offset;
    let reach = (params.kernel - vec2<u32>(1u)) * params.dilation;
    let position = vec2<u32>(at.column, at.first) + params.padding;
    // The first and the last window that can hold the pixel: ceil((position - reach) / stride), not below 0, and
    // floor(position / stride).
    let above = max(position, reach) - reach + params.stride - vec2<u32>(1u);
    let left = quotient(above.x, params.stride.x);
    let right = min(quotient(position.x, params.stride.x) + 1u, windows.x);
    var top = quotient(above.y, step);
    var bottom = quotient(position.y, step);
    let plane = at.plane * windows.x * windows.y;
    var own = at.first * size.x + at.column;
    let base = params.out_offset + at.plane * size.x * size.y;
    var line = position.y;
    for (var row = at.first; row < at.last; row += 1u) {
        var sum = 0.0;
        for (var oy = top; oy < min(bottom + 1u, windows.y); oy += 1u) {
            for (var o = plane + oy * windows.x + left; o < plane + oy * windows.x + right; o += 1u) {
                if (bitcast<u32>(index[index_base + o]) == own) {
                    sum += gradient_of(o);
                }
            }
        }
        out[base + own] = T(sum);
        own += size.x;
        line += 1u;
        top += select(0u, 1u, top * step + reach.y < line);
        bottom += select(0u, 1u, (bottom + 1u) * step <= line);
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
    if (MODE == 0u) {
        write_cells(strip(i));
    } else if (MODE == 1u) {
        write_squares(strip(i));
    } else {
        gather(strip(i));
    }
}
