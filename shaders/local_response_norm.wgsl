// Local response normalisation (Krizhevsky, Sutskever and Hinton, 2012), over windows of channels:
//
//   scale = k + alpha sum_window x^2,   y = x scale^-beta
//
// Bindings: x, y, scale (f32, for the gradient). One thread makes one item.
//! use: response

@group(0) @binding(0) var<storage, read_write> x: array<XV>;
@group(0) @binding(1) var<storage, read_write> y: array<XV>;
@group(0) @binding(2) var<storage, read_write> scale: array<V>;

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
    let first = max(at.y, params.before) - params.before;
    let end = min(at.y + params.after + 1u, params.channels);
    var sum = V(0.0);
    for (var channel = first; channel < end; channel += 1u) {
        let value = V(x[params.x_offset + at.x + channel * params.plane]);
        sum += value * value;
    }
    let found = V(params.k) + params.alpha * sum;
    scale[params.scale_offset + i] = found;
    y[params.y_offset + i] = XV(V(x[params.x_offset + i]) * power(found, -params.beta));
}
