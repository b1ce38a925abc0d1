// The windows, and behind them, as of an image of its own, the blocks in their middle: where the padding is 1, these are the
// results' gradients.

fn transform(index: u32, step: u32) {
    let pixels = window(locate(index, -1));
    store_tile(index, step, input_tile(pixels));
    store_tile(index + TILE * TILE * step, step, gradient_tile(middle(pixels)));
}
