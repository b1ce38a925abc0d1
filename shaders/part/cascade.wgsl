// A long sum in f32 without a long chain of roundings: 16 terms make a block, 16 blocks a page, and pages are summed. The
// error of n terms is at most (30 + n / 256) / 2 * eps * sum|x|.

struct Cascade {
    block: f32,
    page: f32,
    total: f32,
    terms: u32,
}

fn cascade_add(sum: ptr<function, Cascade>, x: f32) {
    (*sum).block += x;
    (*sum).terms += 1u;
    if (((*sum).terms & 15u) == 0u) {
        (*sum).page += (*sum).block;
        (*sum).block = 0.0;
        if (((*sum).terms & 255u) == 0u) {
            (*sum).total += (*sum).page;
            (*sum).page = 0.0;
        }
    }
}

fn cascade_sum(sum: ptr<function, Cascade>) -> f32 {
    return (*sum).total + ((*sum).page + (*sum).block);
}
