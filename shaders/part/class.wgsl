// The targets of class_loss.wgsl. The header declares PROBABILITIES, `target_of(row)`, the class of a row where targets are
// classes, `share_of(class_index, base, k)`, the target's share of class k without smoothing, and `weight_at(k)`.

struct Params {
    rows: u32, // of this launch
    n: u32,
    inner: u32,
    first_row: u32, // of this launch among all
    all_rows: u32,
    ignored: u32, // the class index that does not count, by its bits
    mean: u32, // 1 where dloss is over the divisor
    smoothing: f32,
    x_offset: u32,
    target_offset: u32,
    weight_offset: u32,
    dloss_offset: u32,
    out_offset: u32,
    sums_offset: u32,
}

// What class k counts in the loss of a row whose target is this class, or whose probabilities lie from `base` on.
fn coefficient(class_index: u32, base: u32, k: u32) -> f32 {
    let uniform_share = params.smoothing / f32(params.n) * weight_at(k);
    return (1.0 - params.smoothing) * share_of(class_index, base, k) * weight_at(k) + uniform_share;
}
