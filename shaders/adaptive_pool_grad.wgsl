// The gradient of adaptive pooling to its input: each dy goes to where the maximum was (MAX), or over the size of its window
// to each pixel of it. One thread makes one pixel, from the windows that hold it.
//
// Bindings: dy, out and, with MAX, index. T is f32 or f16. The header declares `index_at(i)`.
//! use: index adaptive

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
    // Pixel p is in the windows floor(p out / in) .. ceil((p + 1) out / in): the same formula, turned around.
    let columns = covered(at.x, params.out_size.x, params.size.x);
    let rows = covered(at.y, params.out_size.y, params.size.y);
    let plane = at.z * params.out_size.x * params.out_size.y;
    let own = at.y * params.size.x + at.x;
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row += 1u) {
        let down = covered(row, params.size.y, params.out_size.y);
        for (var column = columns.x; column < columns.y; column += 1u) {
            let window = plane + row * params.out_size.x + column;
            let given = f32(dy[params.dy_offset + window]);
            if (MAX) {
                sum += select(0.0, given, index_at(params.index_offset + window) == own);
            } else {
                let across = covered(column, params.size.x, params.out_size.x);
                sum += given / f32((down.y - down.x) * (across.y - across.x));
            }
        }
    }
    out[params.out_offset + i] = T(sum);
}
