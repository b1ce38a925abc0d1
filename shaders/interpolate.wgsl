// Interpolation of contiguous planes to another size, by the nearest pixel or bilinear.
//
// Bindings: x, out. One thread makes one result. T is f32 or f16.
//! use: interpolate

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
    let column = taps(at.x, params.scale.x, params.size.x);
    let row = taps(at.y, params.scale.y, params.size.y);
    let plane = params.x_offset + at.z * params.size.x * params.size.y;
    let upper = plane + row.first * params.size.x;
    if (!BILINEAR) {
        out[params.out_offset + i] = x[upper + column.first];
        return;
    }
    let lower = plane + row.second * params.size.x;
    let keep = 1.0 - column.share;
    let above = keep * f32(x[upper + column.first]) + column.share * f32(x[upper + column.second]);
    let below = keep * f32(x[lower + column.first]) + column.share * f32(x[lower + column.second]);
    out[params.out_offset + i] = T((1.0 - row.share) * above + row.share * below);
}
