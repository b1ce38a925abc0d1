// Reads the 2x2 gradients of a tile.

fn block_line(place: Place, y: i32) -> OutLine {
    return OutLine(pixel(place, y, 0), pixel(place, y, 1));
}

fn block(place: Place) -> Out {
    return Out(block_line(place, 0), block_line(place, 1));
}
