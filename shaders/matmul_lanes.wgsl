// The dense product C[z][m][n] = sum over k of A[z][m][k] * B[z][k][n] for adapters that are a processor, where both
// operands can be read four elements at a time.
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows by 32 columns of C, 4 columns a lane. In steps of 4 along
// k the lanes hold the rows' ks between them and hand them round by broadcasts; there is no workgroup memory and no
// barrier. Rows and columns beyond the last repeat it and are not stored. Each sum runs over k in ascending order.
//
// A_ALONG_K: neighbours in A are neighbours along k, else along rows (BLOCKS is 2 or 4 then). B_ALONG_K: likewise, else along
// columns. C_QUADS: four columns of C are stored at once.
// Strides, offsets and k are multiples of 4, apart from those that are 1.
//
// ROW_SUMS: the sums of A's rows are written too: a layer's bias gradient where A is dy^T.
//
// Bindings: a, b, c, biases, rest, sums; c stands in for those that are not used.
//! needs: subgroups
//! use: index chain4 unpack epilogue

alias V = vec4<f32>;

// Tiles in a column of tiles that follow one another.
const BAND = 8u;

@group(0) @binding(0) var<storage, read_write> a: array<Quad>;
@group(0) @binding(1) var<storage, read_write> b: array<Quad>;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    batches: u32,
    splits: u32, // parts of k, each with a C of its own
    split_k: u32, // ks of a part, a multiple of 4
    a_offset: u32,
    a_batch: u32,
    a_row: u32,
    a_k: u32,
    b_offset: u32,
    b_batch: u32,
    b_column: u32,
    b_k: u32,
    c_offset: u32,
    c_batch: u32,
    c_row: u32,
    sums_offset: u32,
    bias: u32, // see part/epilogue
    bias_offset: u32,
    rest: u32,
    rest_offset: u32,
    relu: u32,
}

fn load_a(index: u32) -> vec4<f32> {
    return unpacked(a[index / 4u]);
}

fn load_b(index: u32) -> vec4<f32> {
    return unpacked(b[index / 4u]);
}

// Lane l holds rows 4l to 4l + 3 of four ks.
fn add_columns(sum0: ptr<function, Rows>, sum1: ptr<function, Rows>, sum2: ptr<function, Rows>, sum3: ptr<function, Rows>,
    h0: vec4<f32>, h1: vec4<f32>, h2: vec4<f32>, h3: vec4<f32>, b: Step) {
    add_upper(sum0, subgroupBroadcast(h0, 0u), subgroupBroadcast(h1, 0u), subgroupBroadcast(h2, 0u), subgroupBroadcast(h3, 0u), b);
    add_lower(sum0, subgroupBroadcast(h0, 1u), subgroupBroadcast(h1, 1u), subgroupBroadcast(h2, 1u), subgroupBroadcast(h3, 1u), b);
    add_upper(sum1, subgroupBroadcast(h0, 2u), subgroupBroadcast(h1, 2u), subgroupBroadcast(h2, 2u), subgroupBroadcast(h3, 2u), b);
    add_lower(sum1, subgroupBroadcast(h0, 3u), subgroupBroadcast(h1, 3u), subgroupBroadcast(h2, 3u), subgroupBroadcast(h3, 3u), b);
    add_upper(sum2, subgroupBroadcast(h0, 4u), subgroupBroadcast(h1, 4u), subgroupBroadcast(h2, 4u), subgroupBroadcast(h3, 4u), b);
    add_lower(sum2, subgroupBroadcast(h0, 5u), subgroupBroadcast(h1, 5u), subgroupBroadcast(h2, 5u), subgroupBroadcast(h3, 5u), b);
    add_upper(sum3, subgroupBroadcast(h0, 6u), subgroupBroadcast(h1, 6u), subgroupBroadcast(h2, 6u), subgroupBroadcast(h3, 6u), b);
    add_lower(sum3, subgroupBroadcast(h0, 7u), subgroupBroadcast(h1, 7u), subgroupBroadcast(h2, 7u), subgroupBroadcast(h3, 7u), b);
}

// Lane l holds four ks of rows 2l and 2l + 1.
fn add_pairs(sum0: ptr<function, Rows>, sum1: ptr<function, Rows>, even: vec4<f32>, odd: vec4<f32>, b: Step) {
    (*sum0).r0 = chain((*sum0).r0, subgroupBroadcast(even, 0u), b);
    (*sum0).r1 = chain((*sum0).r1, subgroupBroadcast(odd, 0u), b);
    (*sum0).r2 = chain((*sum0).r2, subgroupBroadcast(even, 1u), b);
    (*sum0).r3 = chain((*sum0).r3, subgroupBroadcast(odd, 1u), b);
    (*sum0).r4 = chain((*sum0).r4, subgroupBroadcast(even, 2u), b);
    (*sum0).r5 = chain((*sum0).r5, subgroupBroadcast(odd, 2u), b);
    (*sum0).r6 = chain((*sum0).r6, subgroupBroadcast(even, 3u), b);
    (*sum0).r7 = chain((*sum0).r7, subgroupBroadcast(odd, 3u), b);
    (*sum1).r0 = chain((*sum1).r0, subgroupBroadcast(even, 4u), b);
    (*sum1).r1 = chain((*sum1).r1, subgroupBroadcast(odd, 4u), b);
    (*sum1).r2 = chain((*sum1).r2, subgroupBroadcast(even, 5u), b);
    (*sum1).r3 = chain((*sum1).r3, subgroupBroadcast(odd, 5u), b);
    (*sum1).r4 = chain((*sum1).r4, subgroupBroadcast(even, 6u), b);
    (*sum1).r5 = chain((*sum1).r5, subgroupBroadcast(odd, 6u), b);
    (*sum1).r6 = chain((*sum1).r6, subgroupBroadcast(even, 7u), b);
    (*sum1).r7 = chain((*sum1).r7, subgroupBroadcast(odd, 7u), b);
}

fn add_upper(sum: ptr<function, Rows>, x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>, b: Step) {
    (*sum).r0 = chain((*sum).r0, vec4<f32>(x0.x, x1.x, x2.x, x3.x), b);
    (*sum).r1 = chain((*sum).r1, vec4<f32>(x0.y, x1.y, x2.y, x3.y), b);
    (*sum).r2 = chain((*sum).r2, vec4<f32>(x0.z, x1.z, x2.z, x3.z), b);
    (*sum).r3 = chain((*sum).r3, vec4<f32>(x0.w, x1.w, x2.w, x3.w), b);
}

fn add_lower(sum: ptr<function, Rows>, x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>, b: Step) {
    (*sum).r4 = chain((*sum).r4, vec4<f32>(x0.x, x1.x, x2.x, x3.x), b);
    (*sum).r5 = chain((*sum).r5, vec4<f32>(x0.y, x1.y, x2.y, x3.y), b);
    (*sum).r6 = chain((*sum).r6, vec4<f32>(x0.z, x1.z, x2.z, x3.z), b);
    (*sum).r7 = chain((*sum).r7, vec4<f32>(x0.w, x1.w, x2.w, x3.w), b);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let across = (params.n + 31u) / 32u;
    let down = (params.m + 8u * BLOCKS - 1u) / (8u * BLOCKS);
    let index = group_index(group, groups);
    let part = quotient(index, across * down);
    let batch = quotient(part, params.splits);
    if (batch >= params.batches) {
        return;
    }
    // Down a few tiles before the next column of tiles: these columns of B are then read from a near cache by all but one.
    let within = index - part * across * down;
    let band = quotient(within, BAND * across);
    let high = min(BAND, down - band * BAND);
    let in_band = within - band * BAND * across;
    let tile = quotient(in_band, high);
    let tile_row = (band * BAND + in_band - tile * high) * 8u * BLOCKS;
    let tile_column = tile * 32u;
    let k_start = (part - batch * params.splits) * params.split_k;
    let k_end = min(k_start + params.split_k, params.k);

    let a_base = params.a_offset + batch * params.a_batch;
    let last_row = params.m - 1u;
    var a0 = a_base + min(tile_row + lane, last_row) * params.a_row;
    let a1 = a_base + min(tile_row + 8u + lane, last_row) * params.a_row;
    let a2 = a_base + min(tile_row + 16u + lane, last_row) * params.a_row;
    let a3 = a_base + min(tile_row + 24u + lane, last_row) * params.a_row;
    if (!A_ALONG_K) {
        a0 = a_base + min(tile_row + BLOCKS * lane, last_row & ~(BLOCKS - 1u));
    }
    let column = tile_column + 4u * lane;
    let last_column = params.n - 1u;
    let b_base = params.b_offset + batch * params.b_batch;
    var b0 = b_base + min(column, last_column & ~3u);
    let b1 = b_base + min(column + 1u, last_column) * params.b_column;
    let b2 = b_base + min(column + 2u, last_column) * params.b_column;
    let b3 = b_base + min(column + 3u, last_column) * params.b_column;
    if (B_ALONG_K) {
        b0 = b_base + min(column, last_column) * params.b_column;
    }

    var sum0: Rows;
    var sum1: Rows;
    var sum2: Rows;
    var sum3: Rows;
    var sums0: vec4<f32>;
    var sums1: vec4<f32>;
    var sums2: vec4<f32>;
    var sums3: vec4<f32>;
    for (var k = k_start; k < k_end; k += 4u) {
        let ka = k * params.a_k;
        let kb = k * params.b_k;
        var step: Step;
        if (B_ALONG_K) {
            let c0 = load_b(b0 + kb);
            let c1 = load_b(b1 + kb);
            let c2 = load_b(b2 + kb);
            let c3 = load_b(b3 + kb);
            step = Step(
                vec4<f32>(c0.x, c1.x, c2.x, c3.x),
                vec4<f32>(c0.y, c1.y, c2.y, c3.y),
                vec4<f32>(c0.z, c1.z, c2.z, c3.z),
                vec4<f32>(c0.w, c1.w, c2.w, c3.w),
            );
        } else {
            step = Step(
                load_b(b0 + kb),
                load_b(b0 + kb + params.b_k),
                load_b(b0 + kb + 2u * params.b_k),
                load_b(b0 + kb + 3u * params.b_k),
            );
        }
        if (A_ALONG_K) {
            // All loads before the first sum: with sums between them, LLVM spills products and sums around each load.
            let held0 = load_a(a0 + ka);
            var held1: Held;
            var held2: Held;
            var held3: Held;
            if (BLOCKS > 1u) {
                held1 = load_a(a1 + ka);
            }
            if (BLOCKS > 2u) {
                held2 = load_a(a2 + ka);
                held3 = load_a(a3 + ka);
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
        } else if (BLOCKS == 2u) {
            let h0 = load_pair(a0 + ka);
            let h1 = load_pair(a0 + ka + params.a_k);
            let h2 = load_pair(a0 + ka + 2u * params.a_k);
            let h3 = load_pair(a0 + ka + 3u * params.a_k);
            add_pairs(&sum0, &sum1, vec4<f32>(h0.x, h1.x, h2.x, h3.x), vec4<f32>(h0.y, h1.y, h2.y, h3.y), step);
            if (ROW_SUMS) {
                sums0 += vec4<f32>((h0 + h1) + (h2 + h3), 0.0, 0.0);
            }
        } else {
            let h0 = load_a(a0 + ka);
            let h1 = load_a(a0 + ka + params.a_k);
            let h2 = load_a(a0 + ka + 2u * params.a_k);
            let h3 = load_a(a0 + ka + 3u * params.a_k);
            add_columns(&sum0, &sum1, &sum2, &sum3, h0, h1, h2, h3, step);
            if (ROW_SUMS) {
                sums0 += (h0 + h1) + (h2 + h3);
            }
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
    let at = part * params.c_batch + column;
    let count = min(params.m - tile_row, 8u * BLOCKS);
    for (var i = 0u; i < count; i++) {
        if (column < params.n) {
            let row = tile_row + i;
            store_quad(at + row * params.c_row, 1u, params.n - column, row, column, rows[i]);
        }
    }
    if (ROW_SUMS && tile_column == 0u) {
        let first = params.sums_offset + part * params.m;
        if (A_ALONG_K) {
            store_sum(tile_row + lane, first, sums0.x + sums0.y + sums0.z + sums0.w);
            if (BLOCKS > 1u) {
                store_sum(tile_row + 8u + lane, first, sums1.x + sums1.y + sums1.z + sums1.w);
            }
            if (BLOCKS > 2u) {
                store_sum(tile_row + 16u + lane, first, sums2.x + sums2.y + sums2.z + sums2.w);
                store_sum(tile_row + 24u + lane, first, sums3.x + sums3.y + sums3.z + sums3.w);
            }
        } else {
            let row = tile_row + BLOCKS * lane;
            store_sum(row, first, sums0.x);
            store_sum(row + 1u, first, sums0.y);
            if (BLOCKS > 2u) {
                store_sum(row + 2u, first, sums0.z);
                store_sum(row + 3u, first, sums0.w);
            }
        }
    }
}

fn store_sum(row: u32, first: u32, sum: f32) {
    if (row < params.m) {
        sums[first + row] = sum;
    }
}
