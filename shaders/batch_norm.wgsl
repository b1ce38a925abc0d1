// Batch norm: out = (x - mean) / sqrt(variance + epsilon) * weight + bias by channel of a contiguous
// [batch, channels, plane]; with RELU, the larger of that and 0.
//
// Bindings: x, out, mean, spread and, where the header names the part `affine`, weight and bias. One thread makes a part
// of a channel.
//! use: channels float normalised

@group(0) @binding(0) var<storage, read_write> x: array<XV>;
@group(0) @binding(1) var<storage, read_write> out: array<XV>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> spread: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups) * 64u + lane;
    if (number >= params.channels * params.parts) {
        return;
    }
    let share = share_of(number);
    let channel = channel_of(share.channel);
    let items = params.batch * params.plane;
    var place = place_of(share.part);
    let step = place_of(params.parts);
    for (var k = share.part; k < items; k += params.parts) {
        let item = item_of(place, share.channel);
        var y = affine(V(x[params.x_offset + item]) - V(channel.mean), channel);
        if (RELU) {
            y = select(V(0.0), y, reached(y));
        }
        out[params.out_offset + item] = XV(y);
        place = advanced(place, step);
    }
}
