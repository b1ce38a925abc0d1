// Convolution for adapters that are a processor, directly: C[image][row][y][x] = sum over channels, r and s of
// A[row][channel][r][s] * image[channel][y * step_y + r * dilation_y - pad_y][x * step_x + s * dilation_x - pad_x], and 0
// outside of the image. A may be a weight that is read from its end: the data gradient of stride 1.
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows; a lane owns four results of a row of pixels, or if WIDE eight
// (BLOCKS is 1 then). TERMS taps of a row of the kernel are one step: the lanes hold the rows' taps between them and hand them
// round, and neighbouring results share what is loaded of the image. Sums run over channels, r and s in ascending order,
// without the rows of taps that lie outside of the image for all lanes.
//
// Generated: fn window(place: Place, s: i32) -> Window, the pixels of TERMS taps for each four results, with part/pixel_row or
//            part/pixel_pairs.
//            fn hold(at: i32, s: u32) -> Held, the TERMS taps of one row, with part/tap_single or part/tap_pairs.
// Bindings: a, image, c, biases, rest and sums (not used); c stands in for those that are not used.
//! needs: subgroups
//! use: index unpack epilogue

alias V = vec4<f32>;

// Results of a lane.
const RESULTS = select(4u, 8u, WIDE);

struct Window {
    first: Step,
    second: Step, // of four more results; the first again where there are none
}

@group(0) @binding(0) var<storage, read_write> a: array<Taps>;
@group(0) @binding(1) var<storage, read_write> image: array<Pixels>;

struct Params {
    m: u32, // rows of a group
    channels: u32, // of the image, in a group
    groups: u32,
    images: u32,
    out_rows: u32,
    out_columns: u32,
    height: u32, // of the image
    width: u32,
    taps_y: u32,
    taps_x: u32,
    step_y: i32,
    step_x: i32,
    dilation_y: i32,
    dilation_x: i32,
    pad_y: i32,
    pad_x: i32,
    a_offset: i32,
    a_group: i32,
    a_row: i32,
    a_channel: i32,
    a_y: i32,
    a_x: i32,
    image_offset: u32,
    c_offset: u32,
    c_row: u32, // from row to row; from image to image it is groups * m rows
    c_y: u32,
    c_x: u32,
    bias: u32, // see part/epilogue
    bias_offset: u32,
    rest: u32,
    rest_offset: u32,
    relu: u32,
}

// The line of pixels that a lane's results lie in, counted over all images.
fn line_of(place: u32, places: u32, row_places: u32) -> u32 {
    return quotient(min(place, places - 1u), row_places);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row_places = (params.out_columns + RESULTS - 1u) / RESULTS;
    let places = params.images * params.out_rows * row_places;
    let down = (params.m + 8u * BLOCKS - 1u) / (8u * BLOCKS);
    let across = (places + 7u) / 8u;
    let index = group_index(group, groups);
    let strip = quotient(index, across);
    let batch = quotient(strip, down);
    if (batch >= params.groups) {
        return;
    }
    let tile_row = (strip - batch * down) * 8u * BLOCKS;

    // Lanes beyond the last repeat it and store nothing.
    let lane_place = (index - strip * across) * 8u + lane;
    let line = line_of(lane_place, places, row_places);
    let x = RESULTS * (min(lane_place, places - 1u) - line * row_places);
    let number = quotient(line, params.out_rows);
    let y = line - number * params.out_rows;
    let plane = params.height * params.width;
    let first = i32(params.image_offset + (number * params.groups + batch) * params.channels * plane);
    let first_y = i32(y) * params.step_y - params.pad_y;
    let first_x = i32(x) * params.step_x - params.pad_x;

    // Of the workgroup's first and last line of results, the rows of taps that meet the image: r_start up to r_end.
    let start_line = line_of(lane_place - lane, places, row_places);
    let end_line = line_of(lane_place - lane + 7u, places, row_places);
    let start_number = quotient(start_line, params.out_rows);
    var r_start = 0u;
    var r_end = params.taps_y;
    if (start_number == quotient(end_line, params.out_rows)) {
        let start_y = i32(start_line - start_number * params.out_rows) * params.step_y - params.pad_y;
        let end_y = i32(end_line - start_number * params.out_rows) * params.step_y - params.pad_y;
        r_start = u32(max(0, (params.dilation_y - 1 - end_y) / params.dilation_y));
        let below = max(0, (i32(params.height) - start_y + params.dilation_y - 1) / params.dilation_y);
        r_end = max(r_start, min(params.taps_y, u32(below)));
    }

    let last_row = params.m - 1u;
    let a_base = params.a_offset + i32(batch) * params.a_group;
    let a0 = a_base + i32(min(tile_row + lane, last_row)) * params.a_row;
    let a1 = a_base + i32(min(tile_row + 8u + lane, last_row)) * params.a_row;
    let a2 = a_base + i32(min(tile_row + 16u + lane, last_row)) * params.a_row;
    let a3 = a_base + i32(min(tile_row + 24u + lane, last_row)) * params.a_row;

    var sum0: Rows;
    var sum1: Rows;
    var sum2: Rows;
    var sum3: Rows;
    var channel = 0u;
    var r = r_start;
    var s = 0u;
    let steps = params.channels * (r_end - r_start) * ((params.taps_x + TERMS - 1u) / TERMS);
    for (var i = 0u; i < steps; i++) {
        let row = first_y + i32(r) * params.dilation_y;
        let place = Place(
            first + i32(channel * plane) + row * i32(params.width),
            first_x,
            u32(row) < params.height,
        );
        let pixels = window(place, i32(s));
        let at = i32(channel) * params.a_channel + i32(r) * params.a_y;
        // All loads before the first sum, as in matmul_lanes.
        let held0 = hold(a0 + at, s);
        var held1: Held;
        var held2: Held;
        var held3: Held;
        if (BLOCKS > 1u) {
            held1 = hold(a1 + at, s);
        }
        if (BLOCKS > 2u) {
            held2 = hold(a2 + at, s);
            held3 = hold(a3 + at, s);
        }
        add_rows(&sum0, held0, pixels.first);
        if (WIDE) {
            add_rows(&sum1, held0, pixels.second);
        }
        if (BLOCKS > 1u) {
            add_rows(&sum1, held1, pixels.first);
        }
        if (BLOCKS > 2u) {
            add_rows(&sum2, held2, pixels.first);
            add_rows(&sum3, held3, pixels.first);
        }
        s += TERMS;
        if (s >= params.taps_x) {
            s = 0u;
            r += 1u;
        }
        if (r >= r_end) {
            r = r_start;
            channel += 1u;
        }
    }

    let out_rows = (number * params.groups + batch) * params.m;
    let at = y * params.c_y + x * params.c_x;
    let count = min(params.m - tile_row, 8u * BLOCKS);
    var rows: array<V, 8 * BLOCKS>;
    unpack(&rows, 0u, sum0);
    if (BLOCKS > 1u) {
        unpack(&rows, 8u, sum1);
    }
    if (BLOCKS > 2u) {
        unpack(&rows, 16u, sum2);
        unpack(&rows, 24u, sum3);
    }
    // A wide lane's second four results take the place of the first.
    for (var first = 0u; first < RESULTS; first += 4u) {
        if (first > 0u) {
            unpack(&rows, 0u, sum1);
        }
        for (var i = 0u; i < count; i++) {
            if (lane_place < places && x + first < params.out_columns) {
                let row = tile_row + i;
                let place = at + first * params.c_x + (out_rows + row) * params.c_row;
                store_quad(place, params.c_x, params.out_columns - x - first, batch * params.m + row, 0u, rows[i]);
            }
        }
    }
}
