// The parameters of the transforms between images and tiles.

struct Params {
    count: u32, // threads: a tile and four channels each
    quads: u32, // channels / 4
    tiles: u32, // of all images; the rows of a position are rounded up to a multiple of four, with zeros
    image_tiles: u32, // tiles of an image
    row_tiles: u32,
    height: u32, // of the image
    width: u32,
    pad_y: u32,
    pad_x: u32,
    image_offset: u32,
    step: u32, // quads from position to position of a tile
    bias: u32, // 1 if there is one
    bias_offset: u32,
    relu: u32,
    rectified_offset: u32, // a multiple of 4
}
