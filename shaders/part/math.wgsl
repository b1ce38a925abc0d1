// Elementary functions of f32 that are accurate everywhere.
//
// WGSL bounds its own exp, log, tanh, sin and pow only loosely (sin not at all beyond pi), so these are built from
// addition, multiplication and division, which it bounds tightly. Within 4 units in the last place on these domains,
// where results below 2^-126 may be flushed to zero:
//   exp_f32, log_f32, tanh_f32, sigmoid_f32   every x
//   sin_f32, cos_f32                          every finite x
//   pow_f32                                   every x and y whose result is finite and normal
// NaN gives NaN; the special cases are those of IEEE 754.
//! use: float

// ln 2 = LN2_HIGH + LN2_LOW; the first has 9 bits, so its product with an exponent is exact.
const LN2_HIGH = 0.693359375f;
const LN2_LOW = -2.12194440e-4f;

// 2^n for -126 <= n <= 127.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

// exp(x + low), where low is below an ulp or so of x.
fn exp_sum(x: f32, low: f32) -> f32 {
    let bounded = clamp(x, -104.0, 89.0);
    let n = round(bounded * 1.442695041f);
    let r = fma(-n, LN2_LOW, fma(-n, LN2_HIGH, bounded)) + low;
    let tail = fma(fma(fma(fma(0.0013950524f, r, 0.008368908f), r, 0.041666206f), r, 0.16666518f), r, 0.5f);
    let p = 1.0 + fma(r * r, tail, r);
    // In two steps, since 2^128 and 2^-150 are no normal numbers.
    let exponent = i32(n);
    let half = exponent >> 1u;
    return p * power_of_two(half) * power_of_two(exponent - half);
}

fn exp_f32(x: f32) -> f32 {
    return select(exp_sum(x, 0.0), x, is_nan(x));
}

// A positive finite number as m * 2^e with m in [sqrt(1/2), sqrt(2)): (m - 1, e).
fn split_float(x: f32) -> vec2<f32> {
    var scaled = x;
    var e = 0;
    if (x < 1.17549435e-38f) {
        scaled = x * 8388608.0;
        e = -23;
    }
    // Subtracting the bits of sqrt(1/2) makes the exponent field count from there.
    let shifted = bitcast<u32>(scaled) - 0x3f3504f3u;
    e += bitcast<i32>(shifted) >> 23u;
    let m = bitcast<f32>((shifted & 0x7fffffu) + 0x3f3504f3u);
    return vec2<f32>(m - 1.0, f32(e));
}

// (ln(1 + f) - f + f^2 / 2) / f^3
fn log_tail(f: f32) -> f32 {
    let high = fma(fma(fma(fma(0.06915425f, f, -0.11789835f), f, 0.11872966f), f, -0.12384343f), f, 0.14218658f);
    return fma(fma(fma(fma(high, f, -0.16669251f), f, 0.20002227f), f, -0.24999987f), f, 0.3333331f);
}

fn log_f32(x: f32) -> f32 {
    if (is_nan(x) || x < 0.0) {
        return nan();
    }
    if (x == 0.0) {
        return -infinity();
    }
    if (bitcast<u32>(x) == 0x7f800000u) {
        return x;
    }
    let parts = split_float(x);
    let f = parts.x;
    let e = parts.y;
    let square = f * f;
    let low = fma(e, LN2_LOW, fma(square * f, log_tail(f), -0.5 * square));
    return fma(e, LN2_HIGH, f + low);
}

fn tanh_f32(x: f32) -> f32 {
    let a = abs(x);
    if (a < 0.625) {
        let z = x * x;
        let p = fma(fma(fma(fma(-0.0057147807f, z, 0.020648655f), z, -0.053742938f), z, 0.13331485f), z, -0.33333284f);
        return fma(p * z, x, x);
    }
    let y = 1.0 - 2.0 / (exp_sum(2.0 * min(a, 10.0), 0.0) + 1.0);
    return select(select(y, -y, x < 0.0), x, is_nan(x));
}

fn sigmoid_f32(x: f32) -> f32 {
    let e = exp_f32(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// ln(1 + x) for x in 0..1, also where 1 + x rounds to 1: 2 artanh(x / (2 + x)) by its series.
fn log_1p_unit(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let z = s * s;
    var p = fma(z, 0.07692308f, 0.09090909f);
    p = fma(p, z, 0.11111111f);
    p = fma(p, z, 0.14285715f);
    p = fma(p, z, 0.2f);
    p = fma(p, z, 0.33333334f);
    return 2.0 * fma(p * z, s, s);
}

// ln(1 + e^x), which never overflows.
fn softplus_f32(x: f32) -> f32 {
    return select(max(x, 0.0) + log_1p_unit(exp_f32(-abs(x))), x, is_nan(x));
}

// The high half of a 64-bit product.
fn multiply_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (carry >> 16u);
}

// Word i of the binary expansion of 1 / (2 pi).
fn turn_word(i: u32) -> u32 {
    switch i {
        case 0u: { return 0x28be60dbu; }
        case 1u: { return 0x9391054au; }
        case 2u: { return 0x7f09d5f4u; }
        case 3u: { return 0x7d4d3770u; }
        case 4u: { return 0x36d8a566u; }
        case 5u: { return 0x4f10e410u; }
        default: { return 0u; }
    }
}

// x less the nearest multiple of pi/2, and that multiple modulo 4, for a finite x.
fn reduce_angle(x: f32) -> vec2<f32> {
    let a = abs(x);
    var r: f32;
    var quadrant: u32;
    if (a < 2048.0) {
        // pi/2 in four pieces; the first three have 11 bits, so that their products with n are exact.
        let n = round(a * 0.636619772f);
        r = fma(-n, 1.5703125f, a);
        r = fma(-n, 4.837512969970703e-4f, r);
        r = fma(-n, 7.549533620476723e-8f, r);
        r = fma(-n, 2.5633440682570896e-12f, r);
        quadrant = u32(n);
    } else {
        // a = m * 2^(e - 32) with a 32-bit m. The product of m with the 96 bits of 1 / (2 pi) that matter is a fraction
        // of a turn, of which 64 bits are kept: Payne and Hanek, "Radian reduction for trigonometric functions" (1983).
        let bits = bitcast<u32>(a);
        let m = (bits << 8u) | 0x80000000u;
        let e = (bits >> 23u) - 126u;
        let word = e >> 5u;
        let shift = e & 31u;
        let w1 = turn_word(word);
        let w2 = turn_word(word + 1u);
        let w3 = turn_word(word + 2u);
        var w0 = 0u;
        if (word > 0u) {
            w0 = turn_word(word - 1u);
        }
        var high = w0;
        var middle = w1;
        var low = w2;
        if (shift > 0u) {
            high = (w0 << shift) | (w1 >> (32u - shift));
            middle = (w1 << shift) | (w2 >> (32u - shift));
            low = (w2 << shift) | (w3 >> (32u - shift));
        }
        var fraction_low = m * middle;
        var fraction_high = m * high + multiply_high(m, middle);
        let add = multiply_high(m, low);
        fraction_low += add;
        fraction_high += select(0u, 1u, fraction_low < add);
        // The nearest quarter turn, and what is left of it as a sign and 64 bits.
        quadrant = (fraction_high + 0x20000000u) >> 30u;
        fraction_high -= quadrant << 30u;
        let negative = (fraction_high & 0x80000000u) != 0u;
        if (negative) {
            fraction_low = ~fraction_low + 1u;
            fraction_high = ~fraction_high + select(0u, 1u, fraction_low == 0u);
        }
        // 2 pi * 2^-32 and 2 pi * 2^-64; the high word is split, since 30 bits do not fit a float.
        let top = f32(fraction_high & 0xffffff00u);
        let rest = f32(fraction_high & 0xffu) + f32(fraction_low) * 2.3283064365386963e-10f;
        r = (top + rest) * 1.4629180792671596e-9f;
        r = select(r, -r, negative);
    }
    return vec2<f32>(select(r, -r, x < 0.0), f32(select(quadrant, 4u - (quadrant & 3u), x < 0.0) & 3u));
}

// sin(x + quarters * pi/2)
fn sine_shifted(x: f32, quarters: u32) -> f32 {
    if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) {
        return nan();
    }
    let reduced = reduce_angle(x);
    let r = reduced.x;
    let quadrant = u32(reduced.y) + quarters;
    let z = r * r;
    let sine = fma(z * r, fma(fma(-0.00019517273f, z, 0.008332178f), z, -0.16666655f), r);
    let cosine = fma(z * z, fma(fma(2.4438423e-5f, z, -0.0013887368f), z, 0.041666646f), fma(z, -0.5, 1.0));
    let value = select(sine, cosine, (quadrant & 1u) == 1u);
    return select(value, -value, (quadrant & 2u) == 2u);
}

fn sin_f32(x: f32) -> f32 {
    return sine_shifted(x, 0u);
}

fn cos_f32(x: f32) -> f32 {
    return sine_shifted(x, 1u);
}

// x with its last 12 bits cleared, so that the product of two such numbers is exact.
fn upper_half(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// x^y for a positive finite x: exp(y ln x), with the logarithm and the product as sums of two floats, since an error in
// them is multiplied by up to 88.
fn pow_positive(x: f32, y: f32) -> f32 {
    let parts = split_float(x);
    let f = parts.x;
    let e = parts.y;
    // ln(1 + f) = 2 s + s^3 r(s^2) with s = f / (2 + f); the first 12 bits of s, and the rest of the quotient by the exact
    // remainder.
    let sum_high = upper_half(2.0 + f);
    let sum_low = f - (sum_high - 2.0);
    let quotient_high = upper_half(f / (2.0 + f));
    let remainder = (f - quotient_high * sum_high) - quotient_high * sum_low;
    let s = quotient_high + remainder / (2.0 + f);
    let z = s * s;
    let tail = fma(fma(fma(0.23332766f, z, 0.28550723f), z, 0.40000123f), z, 0.6666667f);
    let leading = 2.0 * quotient_high;
    var low = fma(z * s, tail, 2.0 * remainder / (2.0 + f));
    // + e ln 2
    let scaled = e * LN2_HIGH;
    let sum = upper_half(scaled + leading);
    low += ((scaled - sum) + leading) + e * LN2_LOW;
    let high = upper_half(sum + low);
    low += sum - high;
    // Far beyond the range of exp only the sign matters, and the products must not become infinity - infinity.
    let bounded = clamp(y, -1e12, 1e12);
    let y_high = upper_half(bounded);
    return exp_sum_of(y_high * high, (bounded - y_high) * high + bounded * low);
}

// exp(x + low) where low may be large.
fn exp_sum_of(x: f32, low: f32) -> f32 {
    let sum = x + low;
    if (abs(sum) > 104.0) {
        return exp_sum(sum, 0.0);
    }
    return exp_sum(x, low);
}

fn pow_f32(x: f32, y: f32) -> f32 {
    if (y == 0.0 || x == 1.0) {
        return 1.0;
    }
    if (is_nan(x) || is_nan(y)) {
        return nan();
    }
    let a = abs(x);
    let y_bits = bitcast<u32>(abs(y));
    // From 2^24 on every float is an even integer.
    let whole = y_bits >= 0x4b800000u || floor(y) == y;
    let odd = y_bits < 0x4b800000u && whole && (i32(y) & 1) == 1;
    var value: f32;
    if (a == 0.0 || bitcast<u32>(a) == 0x7f800000u) {
        value = select(infinity(), 0.0, (a == 0.0) == (y > 0.0));
    } else if (y_bits == 0x7f800000u) {
        value = select(select(infinity(), 0.0, (a < 1.0) == (y > 0.0)), 1.0, a == 1.0);
    } else {
        if (x < 0.0 && !whole) {
            return nan();
        }
        value = pow_positive(a, y);
    }
    let negative = (bitcast<u32>(x) & 0x80000000u) != 0u;
    return select(value, -value, negative && odd);
}

// x^y of integers by squaring; a negative power is the inverse rounded toward zero, and 0 for x = 0.
fn pow_i32(x: i32, y: i32) -> i32 {
    if (y < 0) {
        let sign = select(1, x, (y & 1) == 1);
        return select(0, sign, x == 1 || x == -1);
    }
    return bitcast<i32>(pow_u32(bitcast<u32>(x), u32(y)));
}

fn pow_u32(x: u32, y: u32) -> u32 {
    var result = 1u;
    var base = x;
    var left = y;
    while (left > 0u) {
        if ((left & 1u) == 1u) {
            result *= base;
        }
        base *= base;
        left >>= 1u;
    }
    return result;
}
