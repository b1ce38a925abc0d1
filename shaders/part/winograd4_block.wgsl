// Reads the 4x4 gradients of a tile.

fn block_line(place: Place, y: i32) -> OutLine {
    return OutLine(pixel(place, y, 0), pixel(place, y, 1), pixel(place, y, 2), pixel(place, y, 3));
}

fn block(place: Place) -> Out {
    return Out(block_line(place, 0), block_line(place, 1), block_line(place, 2), block_line(place, 3));
}
