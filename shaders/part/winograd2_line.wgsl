// A line of a tile's window of 4x4 pixels, and of its 2x2 gradients, pixel by pixel.
//! use: winograd_pixel

fn window_line(place: Place, y: i32) -> Line {
    return Line(
        pixel(place, y, 0),
        pixel(place, y, 1),
        pixel(place, y, 2),
        pixel(place, y, 3),
    );
}

fn block_line(place: Place, y: i32) -> OutLine {
    return OutLine(pixel(place, y, 0), pixel(place, y, 1));
}
