// The distribution of standard normal numbers, in f32.
//! use: math

// The share of numbers above x >= 0, within 1e-6 of itself: e^(-x^2 / 2) times a polynomial in 1 / (1 + 0.44 x), which a
// weighted least squares fit gives.
fn normal_tail(x: f32) -> f32 {
    let t = 1.0 / fma(0.44f, x, 1.0);
    var p = fma(0.02690589f, t, -0.11393712f);
    p = fma(p, t, 0.14517709f);
    p = fma(p, t, 0.03786015f);
    p = fma(p, t, -0.21536529f);
    p = fma(p, t, 0.07415984f);
    p = fma(p, t, 0.04866009f);
    p = fma(p, t, 0.14585313f);
    p = fma(p, t, 0.17513638f);
    p = fma(p, t, 0.17554987f);
    return p * t * exp_f32(-0.5 * x * x);
}

// The share of numbers below x.
fn normal_share(x: f32) -> f32 {
    let tail = normal_tail(abs(x));
    return select(1.0 - tail, tail, x < 0.0);
}

// How densely numbers lie at x.
fn normal_density(x: f32) -> f32 {
    return 0.3989422804f * exp_f32(-0.5 * x * x);
}
