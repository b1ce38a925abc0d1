// The steps of matmul_lanes where B's neighbours lie along columns: two ks.
//! use: chain2

// Lane l's ks of a row of A that lies along k.
fn hold(index: u32) -> Held {
    return pair_a(index);
}

// Lane l's ks of two neighbouring rows of A that lie along rows.
fn hold_pair(index: u32) -> Pair {
    let k0 = pair_a(index);
    let k1 = pair_a(index + params.a_k);
    return Pair(Held(k0.x, k1.x), Held(k0.y, k1.y));
}

// Four columns of B, of which the first is at `i0`.
fn load_step(i0: u32, i1: u32, i2: u32, i3: u32) -> Step {
    return Step(unpacked(b[i0 / 4u]), unpacked(b[(i0 + params.b_k) / 4u]));
}

fn total(held: Held) -> f32 {
    return held.x + held.y;
}
