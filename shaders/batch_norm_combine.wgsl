// The moments of each channel from those of its parts, which batch_norm_stats.wgsl made. One lane makes a channel.
//
// The header declares, from batch_norm.rs: binding 0 `partial`, and `store(share, moments)` with the bindings behind it.
//! use: channels moments

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = group_index(group, groups) * 64u + lane;
    if (channel >= params.channels) {
        return;
    }
    var joined = A(0.0, 0.0, 0.0);
    for (var part = 0u; part < params.all_parts; part += 1u) {
        let found = partial[part * params.channels + channel];
        joined = combine(joined, A(found.x, found.y, found.z));
    }
    store(Share(channel, 0u), joined);
}
