// Floats by their bits. A compiler may assume that no NaN exists and WGSL cannot write an infinity, so NaN is tested as
// an integer, and special values are made of an argument, which no compiler front end evaluates.

fn from_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn nan() -> f32 {
    return from_bits(0x7fc00000u);
}

fn infinity() -> f32 {
    return from_bits(0x7f800000u);
}

// The larger of two, NaN if either is NaN.
fn maximum_f32(a: f32, b: f32) -> f32 {
    return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}

// The smaller of two, NaN if either is NaN.
fn minimum_f32(a: f32, b: f32) -> f32 {
    return select(select(min(a, b), b, is_nan(b)), a, is_nan(a));
}
