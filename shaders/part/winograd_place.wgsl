// Where a thread of winograd_input reads its image.

struct Place {
    base: u32, // of the first channel's plane
    y: i32, // the window's first pixel
    x: i32,
}

// Which tile and which four channels a thread has: channels innermost, for the products read along them.
fn locate(index: u32, offset: i32) -> Place {
    let tile = quotient(index, params.quads);
    let channel = 4u * (index - tile * params.quads);
    let image = quotient(tile, params.image_tiles);
    let within = tile - image * params.image_tiles;
    let row = quotient(within, params.row_tiles);
    // A tile beyond the last lies outside of every image.
    let y = select(i32(row * OUT) + offset * i32(params.pad_y), -0x10000, tile >= params.tiles);
    return Place(
        params.image_offset + (image * 4u * params.quads + channel) * params.height * params.width,
        y,
        i32((within - row * params.row_tiles) * OUT) + offset * i32(params.pad_x),
    );
}
