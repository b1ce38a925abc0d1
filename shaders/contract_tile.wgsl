// The contraction for GPUs, and for any adapter at the smallest limits: see part/contract for what it computes.
//
// A workgroup owns TILE_M rows by TILE_N columns of C and walks k in steps of DEPTH through two buffers in workgroup memory:
// while one is multiplied, the next step's loads are under way, and then fill the other. An invocation owns BLOCK_ROWS by
// BLOCK_COLUMNS squares of 4x4, and for every k reads a vec4 of workgroup memory for each of its 4 rows and 4 columns. Each sum
// runs over k in ascending order.
//
// The buffers are [k][quad], a quad being four rows or columns. It is written whole: a write to one component may touch the
// others, which are another invocation's.
//
// Bindings: a, b, c, and bias (the same as c where there is none).
//! use: index contract tile_load

@group(0) @binding(3) var<storage, read_write> bias: array<T>;

const THREADS = THREADS_Y * THREADS_X;
const TILE_M = 4u * BLOCK_ROWS * THREADS_Y;
const TILE_N = 4u * BLOCK_COLUMNS * THREADS_X;
// vec4s of a step.
const A_STEP = TILE_M * DEPTH / 4u;
const B_STEP = TILE_N * DEPTH / 4u;

var<workgroup> a_tile: array<vec4<f32>, 2 * A_STEP>;
var<workgroup> b_tile: array<vec4<f32>, 2 * B_STEP>;

// Four rows by four columns. Named, not an array: arrays of accumulators go through memory on some drivers.
struct Square {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

// What an invocation owns; what BLOCK_ROWS and BLOCK_COLUMNS leave out is never touched.
struct Squares {
    s00: Square,
    s01: Square,
    s10: Square,
    s11: Square,
}

fn add_square(sum: Square, rows: vec4<f32>, columns: vec4<f32>) -> Square {
    return Square(
        sum.r0 + rows.x * columns,
        sum.r1 + rows.y * columns,
        sum.r2 + rows.z * columns,
        sum.r3 + rows.w * columns,
    );
}

// One k. `rows` and `columns` are the invocation's first quads, `a` and `b` where the buffer begins.
fn add_k(sums: ptr<function, Squares>, k: u32, a: u32, b: u32, rows: u32, columns: u32) {
    let a_at = a + place(k, rows, TILE_M);
    let b_at = b + place(k, columns, TILE_N);
    let rows0 = a_tile[a_at];
    let columns0 = b_tile[b_at];
    (*sums).s00 = add_square((*sums).s00, rows0, columns0);
    if (BLOCK_COLUMNS > 1u) {
        let columns1 = b_tile[b_at + THREADS_X];
        (*sums).s01 = add_square((*sums).s01, rows0, columns1);
        if (BLOCK_ROWS > 1u) {
            let rows1 = a_tile[a_at + THREADS_Y];
            (*sums).s10 = add_square((*sums).s10, rows1, columns0);
            (*sums).s11 = add_square((*sums).s11, rows1, columns1);
        }
    }
}

fn put_a(start: u32, k: u32, quad: u32, lines: vec4<f32>) {
    a_tile[start + place(k, quad, TILE_M)] = lines;
}

fn put_b(start: u32, k: u32, quad: u32, lines: vec4<f32>) {
    b_tile[start + place(k, quad, TILE_N)] = lines;
}

// The place of a k's quad, of a tile with `lines` lines. Quads change places with k, so that invocations which write
// neighbouring ks of a quad meet different banks.
fn place(k: u32, quad: u32, lines: u32) -> u32 {
    return k * (lines / 4u) + (quad ^ (k & 7u));
}

fn store_square(row: u32, column: u32, columns: Columns, batch: u32, sum: Square) {
    store_c(row, column, COLUMN_STEP, columns, batch, sum.r0);
    store_c(row + ROW_STEP, column, COLUMN_STEP, columns, batch, sum.r1);
    store_c(row + 2u * ROW_STEP, column, COLUMN_STEP, columns, batch, sum.r2);
    store_c(row + 3u * ROW_STEP, column, COLUMN_STEP, columns, batch, sum.r3);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = locate_tile(group_index(group, groups), TILE_M, TILE_N);
    if (tile.batch >= params.batches) {
        return;
    }
    var loader = start_loader(lane, tile);
    var held_a = load_tile_a(lane, loader, tile.k_end);
    var held_b = load_tile_b(lane, loader, tile.k_end);
    fill(lane, 0u, 0u, held_a, held_b);
    workgroupBarrier();

    let rows = lane / THREADS_X;
    let columns = lane % THREADS_X;
    var sums: Squares;
    var a = 0u;
    var b = 0u;
    for (var k = tile.k_start; k < tile.k_end; k += DEPTH) {
        let more = k + DEPTH < tile.k_end;
        if (more) {
            advance_loader(&loader);
            held_a = load_tile_a(lane, loader, tile.k_end);
            held_b = load_tile_b(lane, loader, tile.k_end);
        }
        for (var step = 0u; step < DEPTH; step += 4u) {
            add_k(&sums, step, a, b, rows, columns);
            add_k(&sums, step + 1u, a, b, rows, columns);
            add_k(&sums, step + 2u, a, b, rows, columns);
            add_k(&sums, step + 3u, a, b, rows, columns);
        }
        a = A_STEP - a;
        b = B_STEP - b;
        if (more) {
            fill(lane, a, b, held_a, held_b);
        }
        workgroupBarrier();
    }

    let row0 = tile.row + a_line(rows);
    let row1 = tile.row + a_line(rows + THREADS_Y);
    let column0 = tile.column + b_line(columns);
    let columns0 = locate_columns(column0, COLUMN_STEP, tile.part);
    store_square(row0, column0, columns0, tile.batch, sums.s00);
    if (BLOCK_COLUMNS > 1u) {
        let column1 = tile.column + b_line(columns + THREADS_X);
        let columns1 = locate_columns(column1, COLUMN_STEP, tile.part);
        store_square(row0, column1, columns1, tile.batch, sums.s01);
        if (BLOCK_ROWS > 1u) {
            store_square(row1, column0, columns0, tile.batch, sums.s10);
            store_square(row1, column1, columns1, tile.batch, sums.s11);
        }
    }
}
