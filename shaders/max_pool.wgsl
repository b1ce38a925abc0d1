// Max pooling: out[o] = max of the window's pixels, index[o] = where it was, as y * width + x in its plane.
//
// Padding never wins, the first of equals wins, and NaN wins, as in PyTorch. With RELU, out[o] is the larger of that and
// 0. One thread makes the windows of a column, top down. Bindings: x, out (T: f32 or f16), index (i32).
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
    let at = strip(i);
    // A parameter is a load like any other, so what the loops need is read once.
    let size = params.size;
    let kernel = params.kernel;
    let dilation = params.dilation;
    let step = params.stride.y;
    let width = params.out_size.x;
    let base = params.x_offset + at.plane * size.x * size.y;
    let out_base = params.out_offset;
    let index_base = params.index_offset;
    var o = (at.plane * params.out_size.y + at.first) * width + at.column;
    // Left of and above the plane these wrap to huge numbers, so one comparison tests both ends.
    let left = at.column * params.stride.x - params.padding.x;
    var top = at.first * step - params.padding.y;
    for (var row = at.first; row < at.last; row += 1u) {
        var best = -infinity();
        var best_at = 0xffffffffu;
        var y = top;
        for (var ky = 0u; ky < kernel.y; ky += 1u) {
            if (y < size.y) {
                let line = y * size.x;
                var column = left;
                for (var kx = 0u; kx < kernel.x; kx += 1u) {
                    if (column < size.x) {
                        let value = f32(x[base + line + column]);
                        if (best_at == 0xffffffffu || is_nan(value) || (value > best && !is_nan(best))) {
                            best = value;
                            best_at = line + column;
                        }
                    }
                    column += dilation.x;
                }
            }
            y += dilation.y;
        }
        if (RELU) {
            best = select(max(best, 0.0), best, is_nan(best));
        }
        out[out_base + o] = T(best);
        index[index_base + o] = bitcast<i32>(best_at);
        o += width;
        top += step;
    }
}
