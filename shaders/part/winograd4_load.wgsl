// Reads a tile's 36 positions, `step` apart.

fn load_line(at: u32, step: u32) -> Line {
    return Line(
        load_position(at),
        load_position(at + step),
        load_position(at + 2u * step),
        load_position(at + 3u * step),
        load_position(at + 4u * step),
        load_position(at + 5u * step),
    );
}

fn load_tile(at: u32, step: u32) -> Tile {
    return Tile(
        load_line(at, step),
        load_line(at + 6u * step, step),
        load_line(at + 12u * step, step),
        load_line(at + 18u * step, step),
        load_line(at + 24u * step, step),
        load_line(at + 30u * step, step),
    );
}
