// Reads the 6x6 pixels that a tile of 4x4 results needs.

fn window(place: Place) -> Tile {
    return Tile(
        window_line(place, 0),
        window_line(place, 1),
        window_line(place, 2),
        window_line(place, 3),
        window_line(place, 4),
        window_line(place, 5),
    );
}

fn middle_line(line: Line) -> OutLine {
    return OutLine(line.b, line.c, line.d, line.e);
}

fn middle(tile: Tile) -> Out {
    return Out(middle_line(tile.b), middle_line(tile.c), middle_line(tile.d), middle_line(tile.e));
}
