// The divisor of average pooling. Needs the part `window`.

// The number of pixels that window `at` is divided by: those in the plane, or with include_pad those in the padded plane
// (a window that ceil mode lets hang over that is not counted beyond it).
fn divisor(at: vec2<u32>) -> f32 {
    let start = at * params.stride;
    let end = min(start + params.kernel, params.size + 2u * params.padding);
    if (params.include_pad != 0u) {
        return f32((end.x - start.x) * (end.y - start.y));
    }
    let first = max(start, params.padding);
    let last = max(min(end, params.size + params.padding), first);
    return f32((last.x - first.x) * (last.y - first.y));
}
