// A line of a tile's window of 6x6 pixels, and of its 4x4 gradients, pixel by pixel.
//! use: winograd_pixel

fn window_line(place: Place, y: i32) -> Line {
    return Line(
        pixel(place, y, 0),
        pixel(place, y, 1),
        pixel(place, y, 2),
        pixel(place, y, 3),
        pixel(place, y, 4),
        pixel(place, y, 5),
    );
}

fn block_line(place: Place, y: i32) -> OutLine {
    return OutLine(pixel(place, y, 0), pixel(place, y, 1), pixel(place, y, 2), pixel(place, y, 3));
}
