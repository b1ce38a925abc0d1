// A line of a tile's window of 4x4 pixels, and of its 2x2 gradients, two pixels at a time. ODD: windows begin at odd pixels.
//! use: winograd_pixel_pairs

fn window_line(place: Place, y: i32) -> Line {
    if (ODD) {
        let a = pair(place, y, -1);
        let b = pair(place, y, 1);
        let c = pair(place, y, 3);
        return Line(a.right, b.left, b.right, c.left);
    }
    let a = pair(place, y, 0);
    let b = pair(place, y, 2);
    return Line(a.left, a.right, b.left, b.right);
}

fn block_line(place: Place, y: i32) -> OutLine {
    let a = pair(place, y, 0);
    return OutLine(a.left, a.right);
}
