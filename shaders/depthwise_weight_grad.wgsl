// Weight gradient of depthwise convolution by square kernels of SIDE without dilation, STRIDE 1 or 2:
//
//   dw[k, r, s] = sum over n, i, j of dy[n, k, i, j] x[n, k / multiplier, i STRIDE - padding + r, ..]
//
// The rows (n, i) of dy are cut into `bands` of `band` rows. A thread sums the rows of a band over four columns, for the
// taps of one row r of the kernel. Sums go up by four columns, rows and images. What the threads found for an element of dw
// is written side by side, bands, then columns; another launch adds that up in order.
// Bindings: x, w (dy) (T: f32 or f16), out (f32).
//! use: index depthwise taps

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// Four neighbours of a line of dy from `source` on; what lies outside is 0.
fn load_gradients(source: u32, column: u32, width: u32) -> vec4<f32> {
    let inside = column + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(width);
    let at = source + min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(width - 1u));
    return select(vec4<f32>(0.0), vec4<f32>(f32(w[at.x]), f32(w[at.y]), f32(w[at.z]), f32(w[at.w])), inside);
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
    let columns = params.columns;
    let size = params.size;
    let windows = params.out_size;
    // i = ((band * channels + channel) * SIDE + r) * columns + column
    let line_number = quotient(i, columns);
    let column = 4u * (i - line_number * columns);
    let plane = quotient(line_number, SIDE);
    let r = line_number - plane * SIDE;
    let band = quotient(plane, params.channels);
    let channel = plane - band * params.channels;
    let input = quotient(channel, params.multiplier);
    let inputs = quotient(params.channels, params.multiplier);

    let first = band * params.band;
    var image = quotient(first, windows.y);
    var row = first - image * windows.y;
    let left = STRIDE * column - params.padding.x;
    var sums = Taps();
    var whole = Taps();
    for (var rest = min(params.band, params.rows - first); rest > 0u; rest -= 1u) {
        // Above the plane this wraps to a huge number.
        let y = STRIDE * row - params.padding.y + r;
        if (y < size.y) {
            let from_row = params.w_offset + ((image * params.channels + channel) * windows.y + row) * windows.x;
            let gradients = load_gradients(from_row, column, windows.x);
            let line = load_line(params.x_offset + ((image * inputs + input) * size.y + y) * size.x, left, size.x);
            sums.a.x += dot(gradients, under(line, 0u));
            sums.a.y += dot(gradients, under(line, 1u));
            sums.a.z += dot(gradients, under(line, 2u));
            if (SIDE > 3u) {
                sums.a.w += dot(gradients, under(line, 3u));
                sums.b.x += dot(gradients, under(line, 4u));
            }
            if (SIDE > 5u) {
                sums.b.y += dot(gradients, under(line, 5u));
                sums.b.z += dot(gradients, under(line, 6u));
            }
        }
        row += 1u;
        if (row == windows.y) {
            row = 0u;
            image += 1u;
            whole = Taps(whole.a + sums.a, whole.b + sums.b);
            sums = Taps();
        }
    }
    whole = Taps(whole.a + sums.a, whole.b + sums.b);
    let parts = params.bands * columns;
    let to = params.out_offset + (channel * SIDE + r) * SIDE * parts + band * columns + (column >> 2u);
    out[to] = whole.a.x;
    out[to + parts] = whole.a.y;
    out[to + 2u * parts] = whole.a.z;
    if (SIDE > 3u) {
        out[to + 3u * parts] = whole.a.w;
        out[to + 4u * parts] = whole.b.x;
    }
    if (SIDE > 5u) {
        out[to + 5u * parts] = whole.b.y;
        out[to + 6u * parts] = whole.b.z;
    }
}
