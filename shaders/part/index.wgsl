// Where an invocation is, and where an element is.

// The workgroup's number in a flat dispatch. A dimension holds at most 65,535 groups, so a launch of more spreads them
// over two dimensions; the last row may overhang, and kernels return early beyond their own count.
fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}

// n / d for d > 0, exact for every n and d < 2^31. Integer division is a long sequence on GPUs and scalar code on CPUs;
// two float divisions and a correction by one are neither. All conversions are signed: those are single instructions.
fn quotient(n: u32, d: u32) -> u32 {
    let whole = i32(n);
    let by = i32(d);
    let divisor = f32(by);
    // The first estimate is off by at most n / d * 2^-22 + 1, the second by at most 1.
    var q = i32(f32(whole) / divisor);
    q += i32(f32(whole - q * by) / divisor);
    let r = whole - q * by;
    q += select(0, 1, r >= by) - select(0, 1, r < 0);
    return u32(q);
}
