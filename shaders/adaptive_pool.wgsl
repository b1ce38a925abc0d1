// Adaptive pooling of contiguous planes: each result has its own window, and together they cover the plane. Window o of
// `out` along an axis of `in` pixels is floor(o in / out) .. ceil((o + 1) in / out).
//
// Bindings: x, out and, with MAX, index: the position of the maximum in its plane, the first of equals or the first NaN.
// One thread makes one result. T is f32 or f16. The header declares `store_index(i, position)`.
//! use: index adaptive float

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
    let columns = covered(at.x, params.size.x, params.out_size.x);
    let rows = covered(at.y, params.size.y, params.out_size.y);
    let plane = params.x_offset + at.z * params.size.x * params.size.y;
    var best = -infinity();
    var position = rows.x * params.size.x + columns.x;
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row += 1u) {
        var line = 0.0;
        for (var column = columns.x; column < columns.y; column += 1u) {
            let near = row * params.size.x + column;
            let value = f32(x[plane + near]);
            if (MAX) {
                if (value > best || (is_nan(value) && !is_nan(best))) {
                    best = value;
                    position = near;
                }
            } else {
                line += value;
            }
        }
        sum += line;
    }
    if (MAX) {
        out[params.out_offset + i] = T(best);
        store_index(params.index_offset + i, position);
    } else {
        out[params.out_offset + i] = T(sum / f32((rows.y - rows.x) * (columns.y - columns.x)));
    }
}
