// The contraction for GPUs with matrix units: see part/contract for what it computes.
//
// A workgroup owns TILE by TILE results, TILE being 8 sides of a unit's matrix, and walks k in steps of DEPTH through workgroup
// memory, where operands become E: f16 is what most units take, so that each operand is rounded once. Sums are f32. The next
// step's loads are under way while one is multiplied. Eight parts of the tile, four down and two across, have 2 by 4 matrices
// each; a subgroup takes a part, or where there are fewer subgroups than parts, several in turn.
//
// MatrixA, MatrixB and MatrixC are matrices of SIDE by SIDE. In workgroup memory A is [k][row] and B is [k][column], in the order
// of the tile's quads.
//
// Bindings: a, b, c, and bias (the same as c where there is none).
//! needs: subgroups cooperative_matrices
//! use: index contract tile_load

@group(0) @binding(3) var<storage, read_write> bias: array<T>;

const THREADS = 256u;
const PARTS = 8u;
const DEPTH = 16u;
const TILE_M = 8u * SIDE;
const TILE_N = 8u * SIDE;

var<workgroup> a_tile: array<E, TILE_M * DEPTH>;
var<workgroup> b_tile: array<E, TILE_N * DEPTH>;
// A finished matrix of every part, row by row.
var<workgroup> finished_tile: array<f32, PARTS * SIDE * SIDE>;

// What all invocations agree on. The compiler takes matrix operations only where it sees that.
struct Job {
    tile: Tile,
    subgroups: u32,
}

var<workgroup> agreed: Job;

// The buffers are single ones, so `start` is 0.
fn put_a(start: u32, k: u32, quad: u32, lines: vec4<f32>) {
    let at = start + k * TILE_M + 4u * quad;
    a_tile[at] = E(lines.x);
    a_tile[at + 1u] = E(lines.y);
    a_tile[at + 2u] = E(lines.z);
    a_tile[at + 3u] = E(lines.w);
}

fn put_b(start: u32, k: u32, quad: u32, lines: vec4<f32>) {
    let at = start + k * TILE_N + 4u * quad;
    b_tile[at] = E(lines.x);
    b_tile[at + 1u] = E(lines.y);
    b_tile[at + 2u] = E(lines.z);
    b_tile[at + 3u] = E(lines.w);
}

// Stores the matrix in row `i` and column `j` of each part from `first` on.
fn store_matrices(lane: u32, tile: Tile, first: u32, present: u32, i: u32, j: u32) {
    let quads = SIDE / 4u;
    for (var e = lane; e < PARTS * SIDE * quads; e += THREADS) {
        let part = e / (SIDE * quads);
        if (part >= first && part < first + present) {
            let in_row = (e / quads) % SIDE;
            let line = ((part / 2u) * 2u + i) * SIDE + in_row;
            let row = tile.row + a_line(line / 4u) + (line % 4u) * ROW_STEP;
            let column = tile.column + b_line(((part % 2u) * 4u + j) * quads + e % quads);
            let sums = vec4<f32>(
                finished_tile[4u * e],
                finished_tile[4u * e + 1u],
                finished_tile[4u * e + 2u],
                finished_tile[4u * e + 3u],
            );
            store_c(row, column, COLUMN_STEP, locate_columns(column, COLUMN_STEP, tile.part), tile.batch, sums);
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroup_count: u32,
) {
    if (lane == 0u) {
        agreed = Job(locate_tile(group_index(group, groups), TILE_M, TILE_N), subgroup_count);
    }
    let job = workgroupUniformLoad(&agreed);
    let tile = job.tile;
    let present = job.subgroups;
    if (tile.batch >= params.batches) {
        return;
    }
    for (var first = 0u; first < PARTS; first += present) {
        // Subgroups beyond the parts repeat the last one.
        let part = min(first + subgroup, PARTS - 1u);
        let row = (part / 2u) * 2u * SIDE;
        let column = (part % 2u) * 4u * SIDE;
        var c00 = MatrixC();
        var c01 = MatrixC();
        var c02 = MatrixC();
        var c03 = MatrixC();
        var c10 = MatrixC();
        var c11 = MatrixC();
        var c12 = MatrixC();
        var c13 = MatrixC();

        // The second loader has the other half of the tiles' quads, where an invocation has two.
        var loader0 = start_loader(lane, tile);
        var loader1 = start_loader(lane + THREADS, tile);
        var a0 = load_tile_a(lane, loader0, tile.k_end);
        var b0 = load_tile_b(lane, loader0, tile.k_end);
        var a1 = load_tile_a(lane + THREADS, loader1, tile.k_end);
        var b1 = load_tile_b(lane + THREADS, loader1, tile.k_end);
        for (var k = tile.k_start; k < tile.k_end; k += DEPTH) {
            workgroupBarrier();
            fill(lane, 0u, 0u, a0, b0);
            fill(lane + THREADS, 0u, 0u, a1, b1);
            workgroupBarrier();
            if (k + DEPTH < tile.k_end) {
                advance_loader(&loader0);
                advance_loader(&loader1);
                a0 = load_tile_a(lane, loader0, tile.k_end);
                b0 = load_tile_b(lane, loader0, tile.k_end);
                a1 = load_tile_a(lane + THREADS, loader1, tile.k_end);
                b1 = load_tile_b(lane + THREADS, loader1, tile.k_end);
            }
            for (var step = 0u; step < DEPTH; step += SIDE) {
                // Places and strides are declared: the compiler takes a matrix' operands from declarations alone.
                let a_pitch = TILE_M;
                let b_pitch = TILE_N;
                let at_a0 = step * TILE_M + row;
                let at_a1 = at_a0 + SIDE;
                let at_b0 = step * TILE_N + column;
                let at_b1 = at_b0 + SIDE;
                let at_b2 = at_b1 + SIDE;
                let at_b3 = at_b2 + SIDE;
                let rows0 = coopLoad<MatrixA>(&a_tile[at_a0], a_pitch);
                let rows1 = coopLoad<MatrixA>(&a_tile[at_a1], a_pitch);
                let columns0 = coopLoadT<MatrixB>(&b_tile[at_b0], b_pitch);
                c00 = coopMultiplyAdd(rows0, columns0, c00);
                c10 = coopMultiplyAdd(rows1, columns0, c10);
                let columns1 = coopLoadT<MatrixB>(&b_tile[at_b1], b_pitch);
                c01 = coopMultiplyAdd(rows0, columns1, c01);
                c11 = coopMultiplyAdd(rows1, columns1, c11);
                let columns2 = coopLoadT<MatrixB>(&b_tile[at_b2], b_pitch);
                c02 = coopMultiplyAdd(rows0, columns2, c02);
                c12 = coopMultiplyAdd(rows1, columns2, c12);
                let columns3 = coopLoadT<MatrixB>(&b_tile[at_b3], b_pitch);
                c03 = coopMultiplyAdd(rows0, columns3, c03);
                c13 = coopMultiplyAdd(rows1, columns3, c13);
            }
        }

        let side = SIDE;
        let place = part * SIDE * SIDE;
        coopStoreT(c00, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 0u, 0u);
        workgroupBarrier();
        coopStoreT(c01, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 0u, 1u);
        workgroupBarrier();
        coopStoreT(c02, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 0u, 2u);
        workgroupBarrier();
        coopStoreT(c03, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 0u, 3u);
        workgroupBarrier();
        coopStoreT(c10, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 1u, 0u);
        workgroupBarrier();
        coopStoreT(c11, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 1u, 1u);
        workgroupBarrier();
        coopStoreT(c12, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 1u, 2u);
        workgroupBarrier();
        coopStoreT(c13, &finished_tile[place], side);
        workgroupBarrier();
        store_matrices(lane, tile, first, present, 1u, 3u);
        workgroupBarrier();
    }
}
