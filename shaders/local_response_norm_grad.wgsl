// The gradient of local response normalisation to its input, from its result and its scale:
//
//   dx = dy scale^-beta - 2 alpha beta x sum dy y / scale
//
// where the sum is over the channels in whose windows this one lies. Bindings: x, y, scale, dy, out. One thread makes one
// item.
//! use: response

@group(0) @binding(0) var<storage, read_write> x: array<XV>;
@group(0) @binding(1) var<storage, read_write> y: array<XV>;
@group(0) @binding(2) var<storage, read_write> scale: array<V>;
@group(0) @binding(3) var<storage, read_write> dy: array<XV>;
@group(0) @binding(4) var<storage, read_write> out: array<XV>;

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
    let at = channel_below(i);
    let first = max(at.y, params.after) - params.after;
    let end = min(at.y + params.before + 1u, params.channels);
    var sum = V(0.0);
    for (var channel = first; channel < end; channel += 1u) {
        let other = at.x + channel * params.plane;
        let given = V(dy[params.dy_offset + other]) * V(y[params.y_offset + other]);
        sum += given / scale[params.scale_offset + other];
    }
    let direct = V(dy[params.dy_offset + i]) * power(scale[params.scale_offset + i], -params.beta);
    let around = (2.0 * params.alpha * params.beta) * V(x[params.x_offset + i]) * sum;
    out[params.out_offset + i] = XV(direct - around);
}
