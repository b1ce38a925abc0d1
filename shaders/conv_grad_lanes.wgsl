// The weight gradient of a convolution for adapters that are a processor, directly: C[row][channel][r][s] = sum over images, y
// and x of dy[image][row][y][x] * image[channel][y * step_y + r * dilation_y - pad_y][x * step_x + s * dilation_x - pad_x].
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows; a lane owns one row of the kernel of one channel, or TAPS
// taps of it. Four results of a row of pixels are one step: the lanes hold the rows' dy between them and hand them round, and
// neighbouring taps share what is loaded of the image. Sums run over images, y and x in ascending order.
//
// ROW_SUMS: the sums of dy are written too, the bias' gradient.
// Generated: fn window(place: Place) -> Step, the pixels of TAPS taps for each of the four results, with part/pixel_row or
//            part/pixel_pairs; part/dy_* reads four of a row of dy.
// Bindings: dy, image, c, sums (c where ROW_SUMS is false).
//! needs: subgroups
//! use: index chain4 unpack

@group(0) @binding(1) var<storage, read_write> image: array<Pixels>;
@group(0) @binding(2) var<storage, read_write> c: array<C>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

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
    splits: u32, // parts of the sum, each with a C of its own
    split_lines: u32, // rows of pixels of a part
    dy_offset: u32,
    image_offset: u32,
    c_offset: u32,
    sums_offset: u32,
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunks = (params.taps_x + TAPS - 1u) / TAPS;
    let columns = params.channels * params.taps_y * chunks;
    let across = (columns + 7u) / 8u;
    let down = (params.m + 8u * BLOCKS - 1u) / (8u * BLOCKS);
    let index = group_index(group, groups);
    let strip = quotient(index, across);
    let part = quotient(strip, down);
    let batch = quotient(part, params.splits);
    if (batch >= params.groups) {
        return;
    }
    let tile_row = (strip - part * down) * 8u * BLOCKS;
    let tile_column = (index - strip * across) * 8u;
    let first_line = (part - batch * params.splits) * params.split_lines;
    let end_line = min(first_line + params.split_lines, params.images * params.out_rows);

    // Lanes beyond the last repeat it and store nothing.
    let column = min(tile_column + lane, columns - 1u);
    let kernel_row = quotient(column, chunks);
    let s = TAPS * (column - kernel_row * chunks);
    let channel = quotient(kernel_row, params.taps_y);
    let r = kernel_row - channel * params.taps_y;
    let plane = params.height * params.width;
    let out_plane = params.out_rows * params.out_columns;
    let base = params.image_offset + (batch * params.channels + channel) * plane;
    let first_y = i32(r) * params.dilation_y - params.pad_y;
    let first_x = i32(s) * params.dilation_x - params.pad_x;
    let last_row = params.m - 1u;
    let row0 = min(tile_row + lane, last_row) * out_plane;
    let row1 = min(tile_row + 8u + lane, last_row) * out_plane;
    let row2 = min(tile_row + 16u + lane, last_row) * out_plane;
    let row3 = min(tile_row + 24u + lane, last_row) * out_plane;

    var sum0: Rows;
    var sum1: Rows;
    var sum2: Rows;
    var sum3: Rows;
    var sums0: vec4<f32>;
    var sums1: vec4<f32>;
    var sums2: vec4<f32>;
    var sums3: vec4<f32>;
    var number = quotient(first_line, params.out_rows);
    var y = first_line - number * params.out_rows;
    var x = 0u;
    let steps = (max(end_line, first_line) - first_line) * ((params.out_columns + 3u) / 4u);
    for (var i = 0u; i < steps; i++) {
        let row = first_y + i32(y) * params.step_y;
        let place = Place(
            i32(base + number * params.groups * params.channels * plane) + row * i32(params.width),
            first_x + i32(x) * params.step_x,
            u32(row) < params.height,
        );
        let step = window(place);
        let at = params.dy_offset + (number * params.groups + batch) * params.m * out_plane + y * params.out_columns;
        // All loads before the first sum, as in matmul_lanes.
        let held0 = hold(at + row0, x);
        var held1: Held;
        var held2: Held;
        var held3: Held;
        if (BLOCKS > 1u) {
            held1 = hold(at + row1, x);
        }
        if (BLOCKS > 2u) {
            held2 = hold(at + row2, x);
            held3 = hold(at + row3, x);
        }
        add_rows(&sum0, held0, step);
        if (BLOCKS > 1u) {
            add_rows(&sum1, held1, step);
        }
        if (BLOCKS > 2u) {
            add_rows(&sum2, held2, step);
            add_rows(&sum3, held3, step);
        }
        if (ROW_SUMS) {
            sums0 += held0;
            sums1 += held1;
            sums2 += held2;
            sums3 += held3;
        }
        x += 4u;
        if (x >= params.out_columns) {
            x = 0u;
            y += 1u;
        }
        if (y >= params.out_rows) {
            y = 0u;
            number += 1u;
        }
    }

    var rows: array<V, 8 * BLOCKS>;
    unpack(&rows, 0u, sum0);
    if (BLOCKS > 1u) {
        unpack(&rows, 8u, sum1);
    }
    if (BLOCKS > 2u) {
        unpack(&rows, 16u, sum2);
        unpack(&rows, 24u, sum3);
    }
    let taps = params.channels * params.taps_y * params.taps_x;
    let count = min(params.m - tile_row, 8u * BLOCKS);
    for (var i = 0u; i < count; i++) {
        let first = params.c_offset + (part * params.m + tile_row + i) * taps + kernel_row * params.taps_x + s;
        for (var t = 0u; t < TAPS; t++) {
            if (tile_column + lane < columns && s + t < params.taps_x) {
                c[first + t] = C(rows[i][t]);
            }
        }
    }
    if (ROW_SUMS && tile_column == 0u) {
        let first = params.sums_offset + part * params.m + tile_row + lane;
        store_sum(first, tile_row + lane, sums0);
        if (BLOCKS > 1u) {
            store_sum(first + 8u, tile_row + 8u + lane, sums1);
        }
        if (BLOCKS > 2u) {
            store_sum(first + 16u, tile_row + 16u + lane, sums2);
            store_sum(first + 24u, tile_row + 24u + lane, sums3);
        }
    }
}

fn store_sum(at: u32, row: u32, sum: vec4<f32>) {
    if (row < params.m) {
        sums[at] = (sum.x + sum.y) + (sum.z + sum.w);
    }
}
