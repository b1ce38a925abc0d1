// The contraction for GPUs, and for any adapter at the smallest limits: see part/contract for what it computes.
//
// A workgroup of 256 owns 64 rows by 64 columns of C, a 4x4 square an invocation, and walks k in steps of 16 through 8.4 KiB
// of workgroup memory. A_ALONG_K and B_ALONG_K say along which index neighbours in memory lie, so that neighbouring
// invocations read neighbouring addresses. Each sum runs over k in ascending order.
//
// Bindings: a, b, c, and bias (the same as c where BIAS is 0).
//! use: index contract

@group(0) @binding(0) var<storage, read_write> a: array<T>;
@group(0) @binding(1) var<storage, read_write> b: array<T>;
@group(0) @binding(2) var<storage, read_write> c: array<C>;
@group(0) @binding(3) var<storage, read_write> bias: array<T>;

const TILE = 64u;
const STEP = 16u;
// A row of the tile in workgroup memory: one vec4 more than it needs, so that columns fall into different banks.
const PITCH = 17u;

var<workgroup> a_tile: array<vec4<f32>, 272>; // [STEP][PITCH], four rows a vec4
var<workgroup> b_tile: array<vec4<f32>, 272>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = locate_tile(group_index(group, groups), TILE, TILE);
    if (tile.batch >= params.batches) {
        return;
    }

    // Each invocation brings in four elements of A and four of B a step.
    var a_row: array<u32, 4>; // within the tile
    var a_k: array<u32, 4>;
    var a_base: array<u32, 4>;
    var b_column: array<u32, 4>;
    var b_k: array<u32, 4>;
    var b_at: array<Column, 4>;
    for (var j = 0u; j < 4u; j++) {
        let e = lane + 256u * j;
        a_row[j] = select(e % TILE, e / STEP, A_ALONG_K);
        a_k[j] = select(e / TILE, e % STEP, A_ALONG_K);
        a_base[j] = locate_row(tile.row + a_row[j], tile.batch);
        b_column[j] = select(e % TILE, e / STEP, B_ALONG_K);
        b_k[j] = select(e / TILE, e % STEP, B_ALONG_K);
        b_at[j] = locate_column(tile.column + b_column[j], tile.batch);
    }

    let row = lane / 16u; // in fours
    let column = lane % 16u;
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    for (var k = tile.k_start; k < tile.k_end; k += STEP) {
        for (var j = 0u; j < 4u; j++) {
            let ka = locate_k(k + a_k[j]);
            let inside = tile.row + a_row[j] < params.m && ka.k < tile.k_end;
            a_tile[a_k[j] * PITCH + a_row[j] / 4u][a_row[j] % 4u] = load_a(a_base[j], ka, inside);
            let kb = locate_k(k + b_k[j]);
            b_tile[b_k[j] * PITCH + b_column[j] / 4u][b_column[j] % 4u] = load_b(kb, b_at[j], kb.k < tile.k_end);
        }
        workgroupBarrier();
        for (var step = 0u; step < STEP; step++) {
            let rows = a_tile[step * PITCH + row];
            let columns = b_tile[step * PITCH + column];
            sum0 += rows.x * columns;
            sum1 += rows.y * columns;
            sum2 += rows.z * columns;
            sum3 += rows.w * columns;
        }
        workgroupBarrier();
    }

    let first_row = tile.row + 4u * row;
    for (var j = 0u; j < 4u; j++) {
        let at = tile.column + 4u * column + j;
        let base = locate_c(at, tile.part);
        store_c(first_row, at, base, tile.batch, sum0[j]);
        store_c(first_row + 1u, at, base, tile.batch, sum1[j]);
        store_c(first_row + 2u, at, base, tile.batch, sum2[j]);
        store_c(first_row + 3u, at, base, tile.batch, sum3[j]);
    }
}
