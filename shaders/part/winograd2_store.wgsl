// Writes a tile's 16 positions, `step` apart.

fn store_line(at: u32, step: u32, line: Line) {
    tiles[at] = line.a;
    tiles[at + step] = line.b;
    tiles[at + 2u * step] = line.c;
    tiles[at + 3u * step] = line.d;
}

fn store_tile(at: u32, step: u32, tile: Tile) {
    store_line(at, step, tile.a);
    store_line(at + 4u * step, step, tile.b);
    store_line(at + 8u * step, step, tile.c);
    store_line(at + 12u * step, step, tile.d);
}
