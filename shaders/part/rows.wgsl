// Eight rows by four columns of a result in a lane's registers, and the products that are added to them.
//
// Named, not an array: arrays of accumulators go through memory. Four terms of a row are added in one chain, which divides
// the traffic of spilled registers by four. Broadcasts take a constant lane, which costs a tenth of a load.
//! needs: subgroups

struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

// Four rows of B, four columns each.
struct Step {
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
}

fn chain(sum: vec4<f32>, a: vec4<f32>, b: Step) -> vec4<f32> {
    return (((sum + a.x * b.b0) + a.y * b.b1) + a.z * b.b2) + a.w * b.b3;
}

// Lane l holds four ks of row l.
fn add_rows(sum: ptr<function, Rows>, held: vec4<f32>, b: Step) {
    (*sum).r0 = chain((*sum).r0, subgroupBroadcast(held, 0u), b);
    (*sum).r1 = chain((*sum).r1, subgroupBroadcast(held, 1u), b);
    (*sum).r2 = chain((*sum).r2, subgroupBroadcast(held, 2u), b);
    (*sum).r3 = chain((*sum).r3, subgroupBroadcast(held, 3u), b);
    (*sum).r4 = chain((*sum).r4, subgroupBroadcast(held, 4u), b);
    (*sum).r5 = chain((*sum).r5, subgroupBroadcast(held, 5u), b);
    (*sum).r6 = chain((*sum).r6, subgroupBroadcast(held, 6u), b);
    (*sum).r7 = chain((*sum).r7, subgroupBroadcast(held, 7u), b);
}
