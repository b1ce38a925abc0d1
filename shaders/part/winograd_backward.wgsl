fn transformed(index: u32) -> Tile {
    return gradient_tile(block(locate(index, 0)));
}
