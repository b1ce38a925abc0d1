// Reads the 4x4 pixels that a tile of 2x2 results needs.

fn window(place: Place) -> Tile {
    return Tile(
        window_line(place, 0),
        window_line(place, 1),
        window_line(place, 2),
        window_line(place, 3),
    );
}

fn middle(tile: Tile) -> Out {
    return Out(OutLine(tile.b.b, tile.b.c), OutLine(tile.c.b, tile.c.c));
}
