// Reads the 2x2 gradients of a tile.

fn block(place: Place) -> Out {
    return Out(block_line(place, 0), block_line(place, 1));
}
