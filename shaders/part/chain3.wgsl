// The products of 3 terms that are added to eight rows: lane l holds the terms of row l and hands them round. Broadcasts take a
// constant lane, which costs a tenth of a load; one chain of terms divides the traffic of spilled registers by their number.
//! needs: subgroups
//! use: rows

const TERMS = 3u;

alias Held = vec3<f32>;

struct Step {
    b0: V,
    b1: V,
    b2: V,
}

fn chain(sum: V, a: Held, b: Step) -> V {
    return ((sum + a.x * b.b0) + a.y * b.b1) + a.z * b.b2;
}

fn add_rows(sum: ptr<function, Rows>, held: Held, b: Step) {
    (*sum).r0 = chain((*sum).r0, subgroupBroadcast(held, 0u), b);
    (*sum).r1 = chain((*sum).r1, subgroupBroadcast(held, 1u), b);
    (*sum).r2 = chain((*sum).r2, subgroupBroadcast(held, 2u), b);
    (*sum).r3 = chain((*sum).r3, subgroupBroadcast(held, 3u), b);
    (*sum).r4 = chain((*sum).r4, subgroupBroadcast(held, 4u), b);
    (*sum).r5 = chain((*sum).r5, subgroupBroadcast(held, 5u), b);
    (*sum).r6 = chain((*sum).r6, subgroupBroadcast(held, 6u), b);
    (*sum).r7 = chain((*sum).r7, subgroupBroadcast(held, 7u), b);
}
