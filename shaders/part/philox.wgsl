// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (2011): four random words that depend on the key and the counter alone, so a value does not depend on how
// the work was spread over threads.
//! use: math

fn philox(key: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    var k = key;
    var c = counter;
    for (var round = 0u; round < 10u; round += 1u) {
        let high0 = multiply_high(0xd2511f53u, c.x);
        let low0 = 0xd2511f53u * c.x;
        let high1 = multiply_high(0xcd9e8d57u, c.z);
        let low1 = 0xcd9e8d57u * c.z;
        c = vec4<u32>(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Four numbers in [0, 1), multiples of 2^-24.
fn unit_interval(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(words >> vec4<u32>(8u)) * 5.9604644775390625e-8;
}

// Two normal numbers of two words by Box and Muller's transform. The first word is read as (word + 1/2) * 2^-32, which
// is never 0 and reaches 6.7 deviations.
fn normal_pair(words: vec2<u32>) -> vec2<f32> {
    let u = (f32(words.x) + 0.5) * 2.3283064365386963e-10;
    let radius = sqrt(max(-2.0 * log_f32(u), 0.0));
    let angle = f32(words.y >> 8u) * 3.7450702829239e-7;
    return radius * vec2<f32>(cos_f32(angle), sin_f32(angle));
}
