// A row of the image, as seen from the first of a lane's four results.
struct Place {
    base: i32,
    x: i32,
    inside: bool,
}
