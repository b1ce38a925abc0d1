// Writes a tile's 16 positions, `step` apart.

fn store_line(at: u32, step: u32, line: Line) {
    put(at, quad_of(line.a));
    put(at + step, quad_of(line.b));
    put(at + 2u * step, quad_of(line.c));
    put(at + 3u * step, quad_of(line.d));
}

fn store_tile(at: u32, step: u32, tile: Tile) {
    store_line(at, step, tile.a);
    store_line(at + 4u * step, step, tile.b);
    store_line(at + 8u * step, step, tile.c);
    store_line(at + 12u * step, step, tile.d);
}
