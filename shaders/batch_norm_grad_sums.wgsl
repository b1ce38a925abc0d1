// The sums over a channel that the gradient of batch norm needs, and that are the gradients of bias and weight:
//
//   sums[0][part][channel] = sum dy,   sums[1][part][channel] = sum dy (x - mean) / deviation
//
// One lane, or with the part `tree` one workgroup, makes a part of a channel; blocks and pages as in batch_norm_stats.wgsl.
// Bindings: x, dy, sums, mean, spread and, with the part `affine`, weight and bias. The header declares A as vec2<f32> and
// `combine`.
//! use: channels float normalised

@group(0) @binding(0) var<storage, read_write> x: array<XV>;
@group(0) @binding(1) var<storage, read_write> dy: array<XV>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> spread: array<f32>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var number = group_index(group, groups);
    var first = lane;
    if (LANES == 1u) {
        number = number * GROUP + lane;
        first = 0u;
    }
    if (number >= params.channels * params.parts) {
        return;
    }
    let share = share_of(number);
    let channel = channel_of(share.channel);
    let items = params.batch * params.plane;
    let stride = params.parts * LANES;
    var k = share.part * LANES + first;
    var place = place_of(k);
    let step = place_of(stride);
    var page = V(0.0);
    var page_products = V(0.0);
    var sum = V(0.0);
    var products = V(0.0);
    var blocks = 0u;
    while (k < items) {
        var block = V(0.0);
        var block_products = V(0.0);
        for (var term = 0u; term < 16u && k < items; term += 1u) {
            let item = item_of(place, share.channel);
            let away = V(x[params.x_offset + item]) - V(channel.mean);
            let given = passed(V(dy[params.dy_offset + item]), away, channel);
            block += given;
            block_products += given * away;
            k += stride;
            place = advanced(place, step);
        }
        page += block;
        page_products += block_products;
        blocks += 1u;
        if ((blocks & 15u) == 0u) {
            sum += page;
            products += page_products;
            page = V(0.0);
            page_products = V(0.0);
        }
    }
    let joined = across(A(total(sum + page), total(products + page_products)), lane);
    if (LANES == 1u || lane == 0u) {
        let at = (params.first_part + share.part) * params.channels + share.channel;
        sums[at] = joined.x;
        sums[params.all_parts * params.channels + at] = joined.y * channel.inverse;
    }
}
