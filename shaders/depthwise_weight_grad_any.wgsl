// Weight gradient of depthwise convolution by any kernel, stride, dilation and multiplier:
//
//   dw[k, r, s] = sum over n, i, j of dy[n, k, i, j] x[n, k / multiplier, i stride - padding + r dilation, ..]
//
// The rows (n, i) of dy are cut into `bands` of `band` rows. A thread sums the rows of a band for one element of dw. Sums go
// up by rows and images. What the threads found for an element of dw is written side by side; another launch adds that up
// in order. Bindings: x, w (dy) (T: f32 or f16), out (f32).
//! use: index depthwise

@group(0) @binding(0) var<storage, read_write> x: array<T>;
@group(0) @binding(1) var<storage, read_write> w: array<T>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

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
    let size = params.size;
    let windows = params.out_size;
    let kernel = params.kernel;
    let stride = params.stride;
    // i = ((band * channels + channel) * kernel.y + r) * kernel.x + s
    let taps = kernel.x * kernel.y;
    let plane = quotient(i, taps);
    let tap = i - plane * taps;
    let r = quotient(tap, kernel.x);
    let s = tap - r * kernel.x;
    let band = quotient(plane, params.channels);
    let channel = plane - band * params.channels;
    let input = quotient(channel, params.multiplier);
    let inputs = quotient(params.channels, params.multiplier);

    let first = band * params.band;
    var image = quotient(first, windows.y);
    var row = first - image * windows.y;
    // Left of and above the plane these wrap to huge numbers.
    let left = s * params.dilation.x - params.padding.x;
    let above = r * params.dilation.y - params.padding.y;
    var sum = 0.0;
    var whole = 0.0;
    for (var rest = min(params.band, params.rows - first); rest > 0u; rest -= 1u) {
        let y = stride.y * row + above;
        if (y < size.y) {
            let from_row = params.w_offset + ((image * params.channels + channel) * windows.y + row) * windows.x;
            let source = params.x_offset + ((image * inputs + input) * size.y + y) * size.x;
            var line = 0.0;
            var column = left;
            for (var c = 0u; c < windows.x; c += 1u) {
                if (column < size.x) {
                    line = fma(f32(w[from_row + c]), f32(x[source + column]), line);
                }
                column += stride.x;
            }
            sum += line;
        }
        row += 1u;
        if (row == windows.y) {
            row = 0u;
            image += 1u;
            whole += sum;
            sum = 0.0;
        }
    }
    out[params.out_offset + (channel * taps + tap) * params.bands + band] = whole + sum;
}
