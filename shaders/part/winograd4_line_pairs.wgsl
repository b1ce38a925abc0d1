// A line of a tile's window of 6x6 pixels, and of its 4x4 gradients, two pixels at a time. ODD: windows begin at odd pixels.
//! use: winograd_pixel_pairs

fn window_line(place: Place, y: i32) -> Line {
    if (ODD) {
        let a = pair(place, y, -1);
        let b = pair(place, y, 1);
        let c = pair(place, y, 3);
        let d = pair(place, y, 5);
        return Line(a.right, b.left, b.right, c.left, c.right, d.left);
    }
    let a = pair(place, y, 0);
    let b = pair(place, y, 2);
    let c = pair(place, y, 4);
    return Line(a.left, a.right, b.left, b.right, c.left, c.right);
}

fn block_line(place: Place, y: i32) -> OutLine {
    let a = pair(place, y, 0);
    let b = pair(place, y, 2);
    return OutLine(a.left, a.right, b.left, b.right);
}
