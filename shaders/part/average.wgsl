// The divisor of average pooling. Needs the part `window`.

// The pixels that a window along one axis is divided by: those in the plane, or with include_pad those in the padded plane
// (a window that ceil mode lets hang over that is not counted beyond it).
fn divisor(o: u32, kernel: u32, stride: u32, padding: u32, size: u32, include_pad: bool) -> f32 {
    let start = o * stride;
    let end = min(start + kernel, size + 2u * padding);
    let first = max(start, padding);
    let inside = max(min(end, size + padding), first) - first;
    return f32(select(inside, end - start, include_pad));
}
