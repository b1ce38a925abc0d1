// The windows of the results.

fn transform(index: u32, step: u32) {
    store_tile(index, step, input_tile(window(locate(index, -1))));
}
