fn transformed(index: u32) -> Tile {
    return input_tile(window(locate(index, -1)));
}
