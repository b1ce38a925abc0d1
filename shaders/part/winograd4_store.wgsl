// Writes a tile's 36 positions, `step` apart.

fn store_line(at: u32, step: u32, line: Line) {
    put(at, quad_of(line.a));
    put(at + step, quad_of(line.b));
    put(at + 2u * step, quad_of(line.c));
    put(at + 3u * step, quad_of(line.d));
    put(at + 4u * step, quad_of(line.e));
    put(at + 5u * step, quad_of(line.f));
}

fn store_tile(at: u32, step: u32, tile: Tile) {
    store_line(at, step, tile.a);
    store_line(at + 6u * step, step, tile.b);
    store_line(at + 12u * step, step, tile.c);
    store_line(at + 18u * step, step, tile.d);
    store_line(at + 24u * step, step, tile.e);
    store_line(at + 30u * step, step, tile.f);
}
