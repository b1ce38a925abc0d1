// The moments of each channel of a contiguous [batch, channels, plane], for batch norm (Ioffe and Szegedy, 2015).
//
// One lane, or with the part `tree` one workgroup, makes a part of a channel. A lane subtracts the mean of the first item
// that it reads from all others, so that squares do not cancel where the mean is large against the deviation, and adds up
// in blocks of 16 items and pages of 16 blocks.
//
// The header declares, from batch_norm.rs: binding 0 `x`, and `store(share, moments)` with the bindings behind it.
//! use: channels moments float

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
    let items = params.batch * params.plane;
    let stride = params.parts * LANES;
    var k = share.part * LANES + first;
    var place = place_of(k);
    let step = place_of(stride);
    var moments = A(0.0, 0.0, 0.0);
    if (k < items) {
        let shift = total(V(x[params.x_offset + item_of(place, share.channel)])) / f32(WIDTH);
        var page = V(0.0);
        var page_squares = V(0.0);
        var sum = V(0.0);
        var squares = V(0.0);
        var blocks = 0u;
        let taken = quotient(items - k - 1u, stride) + 1u;
        while (k < items) {
            var block = V(0.0);
            var block_squares = V(0.0);
            for (var term = 0u; term < 16u && k < items; term += 1u) {
                let away = V(x[params.x_offset + item_of(place, share.channel)]) - V(shift);
                block += away;
                block_squares += away * away;
                k += stride;
                place = advanced(place, step);
            }
            page += block;
            page_squares += block_squares;
            blocks += 1u;
            if ((blocks & 15u) == 0u) {
                sum += page;
                squares += page_squares;
                page = V(0.0);
                page_squares = V(0.0);
            }
        }
        let count = f32(taken * WIDTH);
        let away = total(sum + page);
        moments = A(count, shift + away / count, maximum_f32(total(squares + page_squares) - away * (away / count), 0.0));
    }
    let joined = across(moments, lane);
    if (LANES == 1u || lane == 0u) {
        store(share, joined);
    }
}
