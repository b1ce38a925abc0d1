// The steps of matmul_lanes where B's neighbours lie along k: four ks, since two would be as many loads of half the size.
//! use: chain4

// Lane l's ks of a row of A that lies along k.
fn hold(index: u32) -> Held {
    return unpacked(a[index / 4u]);
}

// Lane l's ks of two neighbouring rows of A that lie along rows.
fn hold_pair(index: u32) -> Pair {
    let k0 = pair_a(index);
    let k1 = pair_a(index + params.a_k);
    let k2 = pair_a(index + 2u * params.a_k);
    let k3 = pair_a(index + 3u * params.a_k);
    return Pair(Held(k0.x, k1.x, k2.x, k3.x), Held(k0.y, k1.y, k2.y, k3.y));
}

// Four columns of B, each at a place of its own.
fn load_step(i0: u32, i1: u32, i2: u32, i3: u32) -> Step {
    let c0 = unpacked(b[i0 / 4u]);
    let c1 = unpacked(b[i1 / 4u]);
    let c2 = unpacked(b[i2 / 4u]);
    let c3 = unpacked(b[i3 / 4u]);
    return Step(
        V(c0.x, c1.x, c2.x, c3.x),
        V(c0.y, c1.y, c2.y, c3.y),
        V(c0.z, c1.z, c2.z, c3.z),
        V(c0.w, c1.w, c2.w, c3.w),
    );
}

fn total(held: Held) -> f32 {
    return (held.x + held.y) + (held.z + held.w);
}
