// The transforms of a kernel and of the kernel turned by half a circle, laid out alike.

@group(0) @binding(2) var<storage, read_write> turned_tiles: array<FloatQuad>;

// Which of the two is being stored.
var<private> turned: bool;

fn put(at: u32, quad: FloatQuad) {
    if (turned) {
        turned_tiles[at] = quad;
    } else {
        tiles[at] = quad;
    }
}

fn turn_line(line: WeightLine) -> WeightLine {
    return WeightLine(line.c, line.b, line.a);
}

fn transform(index: u32, weights: Weights) {
    turned = false;
    store_tile(index, params.step, weight_tile(weights));
    turned = true;
    store_tile(index, params.step, weight_tile(Weights(turn_line(weights.c), turn_line(weights.b), turn_line(weights.a))));
}
