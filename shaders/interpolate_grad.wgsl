// The gradient of interpolation to its input: each dy goes to the pixels that the result was made of, by their parts. One
// thread makes one pixel, from the results that have a part of it, in order.
//
// Bindings: dy, out. T is f32 or f16.
//! use: interpolate

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
    let columns = readers(at.x, params.scale.x, params.size.x, params.out_size.x);
    let rows = readers(at.y, params.scale.y, params.size.y, params.out_size.y);
    let plane = params.dy_offset + at.z * params.out_size.x * params.out_size.y;
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row += 1u) {
        let down = part_of(taps(row, params.scale.y, params.size.y), at.y);
        if (down == 0.0) {
            continue;
        }
        let line = plane + row * params.out_size.x;
        var along = 0.0;
        for (var column = columns.x; column < columns.y; column += 1u) {
            let across = part_of(taps(column, params.scale.x, params.size.x), at.x);
            along += across * f32(dy[line + column]);
        }
        sum += down * along;
    }
    out[params.out_offset + i] = T(sum);
}
