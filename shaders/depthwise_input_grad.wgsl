// Data gradient of depthwise convolution by square kernels of SIDE, stride 2, no dilation, multiplier 1:
//
//   dx[n, k, y, x] = sum over r, s of dy[n, k, (y + padding - r) / 2, ..] w[k, r, s]   where the division leaves nothing
//
// Pixels whose y + padding is 2 a or 2 a + 1 see the rows a, a - 1, .. of dy through every other tap. A thread makes these
// two rows of four such pairs of columns at a time, down its strip: 16 pixels, without a test for the remainder.
// Bindings: x (dy), w, out (dx) (T: f32 or f16).
//! use: index depthwise taps kernel_rows

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
@group(0) @binding(2) var<storage, read_write> out: array<T>;

// Neighbours in a line of dy, and whether the kernel is turned around.
const STRIDE = 1u;
const FLIP = false;
// Rows and columns of dy that a pixel sees at most, and what it sees first.
const SEEN = (SIDE + 1u) / 2u;
const NEAR = SEEN - 1u;

// What the pixels of even number get from a line of dy through the taps 0, 2, .. of a row.
fn even(taps: Taps, line: Line, sum: vec4<f32>) -> vec4<f32> {
    var total = fma(taps.a.xxxx, under(line, NEAR), sum);
    total = fma(taps.a.zzzz, under(line, NEAR - 1u), total);
    if (SIDE > 3u) {
        total = fma(taps.b.xxxx, under(line, max(NEAR, 2u) - 2u), total);
    }
    if (SIDE > 5u) {
        total = fma(taps.b.zzzz, under(line, max(NEAR, 3u) - 3u), total);
    }
    return total;
}

// Those of odd number, through the taps 1, 3, ..
fn odd(taps: Taps, line: Line, sum: vec4<f32>) -> vec4<f32> {
    var total = fma(taps.a.yyyy, under(line, NEAR), sum);
    if (SIDE > 3u) {
        total = fma(taps.a.wwww, under(line, NEAR - 1u), total);
    }
    if (SIDE > 5u) {
        total = fma(taps.b.yyyy, under(line, max(NEAR, 2u) - 2u), total);
    }
    return total;
}

// Two rows of four pairs of pixels.
struct Square {
    upper_even: vec4<f32>,
    upper_odd: vec4<f32>,
    lower_even: vec4<f32>,
    lower_odd: vec4<f32>,
}

// Adds what line `number` of dy gives through two rows of the kernel.
fn add_line(square: ptr<function, Square>, upper: Taps, lower: Taps, base: u32, number: u32, first: u32) {
    let windows = params.out_size;
    if (number >= windows.y) {
        return;
    }
    let line = load_line(base + number * windows.x, first, windows.x);
    (*square).upper_even = even(upper, line, (*square).upper_even);
    (*square).upper_odd = odd(upper, line, (*square).upper_odd);
    (*square).lower_even = even(lower, line, (*square).lower_even);
    (*square).lower_odd = odd(lower, line, (*square).lower_odd);
}

fn write_pixel(base: u32, y: u32, column: u32, size: vec2<u32>, value: f32) {
    if (y < size.y && column < size.x) {
        out[base + y * size.x + column] = T(value);
    }
}

fn write_line(base: u32, y: u32, column: u32, size: vec2<u32>, evens: vec4<f32>, odds: vec4<f32>) {
    write_pixel(base, y, column, size, evens.x);
    write_pixel(base, y, column + 1u, size, odds.x);
    write_pixel(base, y, column + 2u, size, evens.y);
    write_pixel(base, y, column + 3u, size, odds.y);
    write_pixel(base, y, column + 4u, size, evens.z);
    write_pixel(base, y, column + 5u, size, odds.z);
    write_pixel(base, y, column + 6u, size, evens.w);
    write_pixel(base, y, column + 7u, size, odds.w);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count) {
        return;
    }
    let at = strip(i);
    let size = params.size;
    let channel = at.plane - quotient(at.plane, params.channels) * params.channels;
    let base = params.x_offset + at.plane * params.out_size.x * params.out_size.y;
    let taps0 = load_taps(channel, 0u);
    let taps1 = load_taps(channel, 1u);
    let taps2 = load_taps(channel, 2u);
    let taps3 = load_taps(channel, 3u);
    let taps4 = load_taps(channel, 4u);
    let taps5 = load_taps(channel, 5u);
    let taps6 = load_taps(channel, 6u);
    // Left of and above the planes these wrap to huge numbers.
    let first = 4u * at.column - NEAR;
    let left = 8u * at.column - params.padding.x;
    var top = 2u * at.first - params.padding.y;
    let plane = params.out_offset + at.plane * size.x * size.y;
    for (var row = at.first; row < at.last; row += 1u) {
        var square = Square();
        add_line(&square, taps0, taps1, base, row, first);
        add_line(&square, taps2, taps3, base, row - 1u, first);
        if (SIDE > 3u) {
            add_line(&square, taps4, taps5, base, row - 2u, first);
        }
        if (SIDE > 5u) {
            add_line(&square, taps6, Taps(), base, row - 3u, first);
        }
        write_line(plane, top, left, size, square.upper_even, square.upper_odd);
        write_line(plane, top + 1u, left, size, square.lower_even, square.lower_odd);
        top += 2u;
    }
}
