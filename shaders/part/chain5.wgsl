// The products of 5 terms that are added to eight rows, as part/chain4; the fifth is held apart.
//! needs: subgroups
//! use: rows

const TERMS = 5u;

struct Held {
    four: vec4<f32>,
    last: f32,
}

struct Step {
    b0: V,
    b1: V,
    b2: V,
    b3: V,
    b4: V,
}

fn chain(sum: V, a: vec4<f32>, last: f32, b: Step) -> V {
    return ((((sum + a.x * b.b0) + a.y * b.b1) + a.z * b.b2) + a.w * b.b3) + last * b.b4;
}

fn add_rows(sum: ptr<function, Rows>, held: Held, b: Step) {
    (*sum).r0 = chain((*sum).r0, subgroupBroadcast(held.four, 0u), subgroupBroadcast(held.last, 0u), b);
    (*sum).r1 = chain((*sum).r1, subgroupBroadcast(held.four, 1u), subgroupBroadcast(held.last, 1u), b);
    (*sum).r2 = chain((*sum).r2, subgroupBroadcast(held.four, 2u), subgroupBroadcast(held.last, 2u), b);
    (*sum).r3 = chain((*sum).r3, subgroupBroadcast(held.four, 3u), subgroupBroadcast(held.last, 3u), b);
    (*sum).r4 = chain((*sum).r4, subgroupBroadcast(held.four, 4u), subgroupBroadcast(held.last, 4u), b);
    (*sum).r5 = chain((*sum).r5, subgroupBroadcast(held.four, 5u), subgroupBroadcast(held.last, 5u), b);
    (*sum).r6 = chain((*sum).r6, subgroupBroadcast(held.four, 6u), subgroupBroadcast(held.last, 6u), b);
    (*sum).r7 = chain((*sum).r7, subgroupBroadcast(held.four, 7u), subgroupBroadcast(held.last, 7u), b);
}
