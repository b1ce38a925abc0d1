// Where an invocation is, and where an element is.

// The workgroup's number in a flat dispatch. A dimension holds at most 65,535 groups, so a launch of more spreads them
// over two dimensions; the last row may overhang, and kernels return early beyond their own count.
fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}

// n / d for d > 0, exact for every n and d < 2^31. Integer division is a long sequence on GPUs and scalar code on CPUs;
// two multiplications by the reciprocal and a correction by one are neither.
fn quotient(n: u32, d: u32) -> u32 {
    let reciprocal = 1.0 / f32(d);
    // The first estimate is off by at most n / d * 2^-21 + 1, the second by at most 1.
    var q = u32(f32(n) * reciprocal);
    q += u32(i32(f32(i32(n - q * d)) * reciprocal));
    let r = i32(n - q * d);
    if (r < 0) {
        q -= 1u;
    } else if (u32(r) >= d) {
        q += 1u;
    }
    return q;
}
