// One transform of a kernel.

fn put(at: u32, quad: FloatQuad) {
    tiles[at] = quad;
}

fn transform(index: u32, weights: Weights) {
    store_tile(index, params.step, weight_tile(weights));
}
