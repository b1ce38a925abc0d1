// Reads a tile's 16 positions, `step` apart.

fn load_line(at: u32, step: u32) -> Line {
    return Line(
        load_position(at),
        load_position(at + step),
        load_position(at + 2u * step),
        load_position(at + 3u * step),
    );
}

fn load_tile(at: u32, step: u32) -> Tile {
    return Tile(
        load_line(at, step),
        load_line(at + 4u * step, step),
        load_line(at + 8u * step, step),
        load_line(at + 12u * step, step),
    );
}
