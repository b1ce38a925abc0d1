// multiply_add: twelve chains a = a * x + y in registers, and nothing else: the adapter's multiply-add rate.
//
// Three vec4 accumulators are enough independent chains to hide the latency of a product and a sum, and with x and y few
// enough for a processor with 16 vector registers. Each step needs the one before, so none can be moved out of the loop; 8
// steps of each chain a round: with fewer the loop counts, and with more LLVM, which puts two chains behind the next two,
// leaves a processor too few chains at once. Bindings: out, a vec4 a thread, so that nothing is unused.
//! use: index

struct Params {
    threads: u32,
    rounds: u32,
    x: f32,
    y: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.threads) {
        return;
    }
    let x = vec4<f32>(params.x);
    let y = vec4<f32>(params.y);
    var a = vec4<f32>(f32(lane));
    var b = a + x;
    var c = b + x;
    for (var round = 0u; round < params.rounds; round += 1u) {
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
        a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y);
    }
    out[i] = a + b + c;
}
