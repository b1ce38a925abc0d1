// The results' gradients themselves.

fn transform(index: u32, step: u32) {
    store_tile(index, step, gradient_tile(block(locate(index, 0))));
}
