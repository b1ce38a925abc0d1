// Reads the 4x4 gradients of a tile.

fn block(place: Place) -> Out {
    return Out(block_line(place, 0), block_line(place, 1), block_line(place, 2), block_line(place, 3));
}
