// The taps of a convolution's weight, one at a time.

alias Taps = T;

// 0 beyond the end of the kernel's row.
fn tap(at: i32, s: u32) -> f32 {
    let inside = s < params.taps_x;
    return select(0.0, f32(a[select(0, at + i32(s) * params.a_x, inside)]), inside);
}
