// The dense product C[z][m][n] = sum over k of A[z][m][k] * B[z][k][n] for adapters that are a processor, where both
// operands can be read four elements at a time.
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows by 32 columns of C, 4 columns a lane. In steps of TERMS along
// k the lanes hold the rows' ks between them and hand them round by broadcasts; there is no workgroup memory and no
// barrier. Rows and columns beyond the last repeat it and are not stored. Each sum runs over k in ascending order.
//
// A_ALONG_K: neighbours in A are neighbours along k, else along rows (BLOCKS is 2 or 4 then). B_ALONG_K: likewise, else along
// columns; the part step_k or step_columns loads what it says. C_QUADS: four columns of C are stored at once.
// Strides, offsets and k are multiples of 4, apart from those that are 1.
//
// ROW_SUMS: the sums of A's rows, which do not lie along k then, are written too: a layer's bias gradient where A is dy^T.
//
// Bindings: a, b, c, biases, rest, sums; c stands in for those that are not used.
//! needs: subgroups
//! use: index unpack epilogue

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

// The ks that a lane holds of an even row and of the odd one after it.
struct Pair {
    even: Held,
    odd: Held,
}

// Sixteen rows, of which lane l holds 2l and 2l + 1.
fn add_pairs(sum0: ptr<function, Rows>, sum1: ptr<function, Rows>, held: Pair, b: Step) {
    (*sum0).r0 = chain((*sum0).r0, subgroupBroadcast(held.even, 0u), b);
    (*sum0).r1 = chain((*sum0).r1, subgroupBroadcast(held.odd, 0u), b);
    (*sum0).r2 = chain((*sum0).r2, subgroupBroadcast(held.even, 1u), b);
    (*sum0).r3 = chain((*sum0).r3, subgroupBroadcast(held.odd, 1u), b);
    (*sum0).r4 = chain((*sum0).r4, subgroupBroadcast(held.even, 2u), b);
    (*sum0).r5 = chain((*sum0).r5, subgroupBroadcast(held.odd, 2u), b);
    (*sum0).r6 = chain((*sum0).r6, subgroupBroadcast(held.even, 3u), b);
    (*sum0).r7 = chain((*sum0).r7, subgroupBroadcast(held.odd, 3u), b);
    (*sum1).r0 = chain((*sum1).r0, subgroupBroadcast(held.even, 4u), b);
    (*sum1).r1 = chain((*sum1).r1, subgroupBroadcast(held.odd, 4u), b);
    (*sum1).r2 = chain((*sum1).r2, subgroupBroadcast(held.even, 5u), b);
    (*sum1).r3 = chain((*sum1).r3, subgroupBroadcast(held.odd, 5u), b);
    (*sum1).r4 = chain((*sum1).r4, subgroupBroadcast(held.even, 6u), b);
    (*sum1).r5 = chain((*sum1).r5, subgroupBroadcast(held.odd, 6u), b);
    (*sum1).r6 = chain((*sum1).r6, subgroupBroadcast(held.even, 7u), b);
    (*sum1).r7 = chain((*sum1).r7, subgroupBroadcast(held.odd, 7u), b);
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
    var a2 = a_base + min(tile_row + 16u + lane, last_row) * params.a_row;
    let a3 = a_base + min(tile_row + 24u + lane, last_row) * params.a_row;
    if (!A_ALONG_K) {
        a0 = a_base + min(tile_row + 2u * lane, last_row & ~1u);
        a2 = a_base + min(tile_row + 16u + 2u * lane, last_row & ~1u);
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
    var upper_sums: Pair;
    var lower_sums: Pair;
    for (var k = k_start; k < k_end; k += TERMS) {
        let ka = k * params.a_k;
        let kb = k * params.b_k;
        // All loads before the first sum: with sums between them, LLVM spills products and sums around each load.
        let step = load_step(b0 + kb, b1 + kb, b2 + kb, b3 + kb);
        if (A_ALONG_K) {
            let held0 = hold(a0 + ka);
            var held1: Held;
            var held2: Held;
            var held3: Held;
            if (BLOCKS > 1u) {
                held1 = hold(a1 + ka);
            }
            if (BLOCKS > 2u) {
                held2 = hold(a2 + ka);
            }
            if (BLOCKS > 3u) {
                held3 = hold(a3 + ka);
            }
            add_rows(&sum0, held0, step);
            if (BLOCKS > 1u) {
                add_rows(&sum1, held1, step);
            }
            if (BLOCKS > 2u) {
                add_rows(&sum2, held2, step);
            }
            if (BLOCKS > 3u) {
                add_rows(&sum3, held3, step);
            }
        } else {
            let upper = hold_pair(a0 + ka);
            var lower: Pair;
            if (BLOCKS > 2u) {
                lower = hold_pair(a2 + ka);
            }
            add_pairs(&sum0, &sum1, upper, step);
            if (BLOCKS > 2u) {
                add_pairs(&sum2, &sum3, lower, step);
            }
            if (ROW_SUMS) {
                upper_sums = Pair(upper_sums.even + upper.even, upper_sums.odd + upper.odd);
                lower_sums = Pair(lower_sums.even + lower.even, lower_sums.odd + lower.odd);
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
    }
    if (BLOCKS > 3u) {
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
        let row = tile_row + 2u * lane;
        store_sum(row, first, total(upper_sums.even));
        store_sum(row + 1u, first, total(upper_sums.odd));
        if (BLOCKS > 2u) {
            store_sum(row + 16u, first, total(lower_sums.even));
            store_sum(row + 17u, first, total(lower_sums.odd));
        }
    }
}

fn store_sum(row: u32, first: u32, sum: f32) {
    if (row < params.m) {
        sums[first + row] = sum;
    }
}
