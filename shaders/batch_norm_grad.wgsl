// The gradient of batch norm to its input. With n elements in a channel, h = (x - mean) / deviation, and dy 0 where the
// ReLU behind it (RELU) gave 0:
//
//   dx = weight / deviation * (dy - (sum dy + h sum(dy h)) / n)      where mean and deviation are those of x
//   dx = weight / deviation * dy                                     where they are given (RUNNING)
//
// Bindings: x, dy, sums (see batch_norm_grad_sums.wgsl, of one part), mean, spread, out and, with the part `affine`,
// weight and bias. One thread makes a part of a channel.
//! use: channels float normalised

@group(0) @binding(0) var<storage, read_write> x: array<XV>;
@group(0) @binding(1) var<storage, read_write> dy: array<XV>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> spread: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<XV>;

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
    let factor = channel.weight * channel.inverse;
    var average = 0.0;
    var slope = 0.0;
    if (!RUNNING) {
        average = sums[share.channel] / params.count;
        slope = sums[params.channels + share.channel] / params.count * channel.inverse;
    }
    let items = params.batch * params.plane;
    var place = place_of(share.part);
    let step = place_of(params.parts);
    for (var k = share.part; k < items; k += params.parts) {
        let item = item_of(place, share.channel);
        let away = V(x[params.x_offset + item]) - V(channel.mean);
        let given = passed(V(dy[params.dy_offset + item]), away, channel);
        out[params.out_offset + item] = XV(factor * (given - V(average) - away * slope));
        place = advanced(place, step);
    }
}
