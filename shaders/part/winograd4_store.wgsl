// Writes a tile's 36 positions, `step` apart.

fn store_line(at: u32, step: u32, line: Line) {
    tiles[at] = tile_quad(line.a);
    tiles[at + step] = tile_quad(line.b);
    tiles[at + 2u * step] = tile_quad(line.c);
    tiles[at + 3u * step] = tile_quad(line.d);
    tiles[at + 4u * step] = tile_quad(line.e);
    tiles[at + 5u * step] = tile_quad(line.f);
}

fn store_tile(at: u32, step: u32, tile: Tile) {
    store_line(at, step, tile.a);
    store_line(at + 6u * step, step, tile.b);
    store_line(at + 12u * step, step, tile.c);
    store_line(at + 18u * step, step, tile.d);
    store_line(at + 24u * step, step, tile.e);
    store_line(at + 30u * step, step, tile.f);
}
