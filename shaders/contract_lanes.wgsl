// The contraction for adapters that are a processor: see part/contract for what it computes.
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows by 32 columns of C, 4 columns a lane. In steps of 4
// along k, lane l holds 4 ks of row l of each block and hands them round by broadcasts, which cost a tenth of a load; there
// is no workgroup memory and no barrier. Each sum runs over k in ascending order.
//
// Bindings: a, b, c, and bias (the same as c where there is none).
//! needs: subgroups
//! use: index contract a_single b_single c_single

@group(0) @binding(3) var<storage, read_write> bias: array<T>;

// Eight rows of four columns. Named, not an array: arrays of accumulators go through memory.
struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

// One row's four ks with four rows of B.
fn add_row(sum: vec4<f32>, row: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
    return (((sum + row.x * b0) + row.y * b1) + row.z * b2) + row.w * b3;
}

fn add_block(
    sum: ptr<function, Rows>,
    held: vec4<f32>,
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
) {
    (*sum).r0 = add_row((*sum).r0, subgroupBroadcast(held, 0u), b0, b1, b2, b3);
    (*sum).r1 = add_row((*sum).r1, subgroupBroadcast(held, 1u), b0, b1, b2, b3);
    (*sum).r2 = add_row((*sum).r2, subgroupBroadcast(held, 2u), b0, b1, b2, b3);
    (*sum).r3 = add_row((*sum).r3, subgroupBroadcast(held, 3u), b0, b1, b2, b3);
    (*sum).r4 = add_row((*sum).r4, subgroupBroadcast(held, 4u), b0, b1, b2, b3);
    (*sum).r5 = add_row((*sum).r5, subgroupBroadcast(held, 5u), b0, b1, b2, b3);
    (*sum).r6 = add_row((*sum).r6, subgroupBroadcast(held, 6u), b0, b1, b2, b3);
    (*sum).r7 = add_row((*sum).r7, subgroupBroadcast(held, 7u), b0, b1, b2, b3);
}

// Four ks of one row: the row that this lane holds for its subgroup.
fn hold_a(row: u32, base: u32, k0: K, k1: K, k2: K, k3: K, k_end: u32) -> vec4<f32> {
    let inside = row < params.m;
    return vec4<f32>(
        load_a(base, k0, inside),
        load_a(base, k1, inside && k1.k < k_end),
        load_a(base, k2, inside && k2.k < k_end),
        load_a(base, k3, inside && k3.k < k_end),
    );
}

fn row_b(at: K, k_end: u32, c0: Column, c1: Column, c2: Column, c3: Column) -> vec4<f32> {
    let inside = at.k < k_end;
    return vec4<f32>(load_b(at, c0, inside), load_b(at, c1, inside), load_b(at, c2, inside), load_b(at, c3, inside));
}

fn store_block(row: u32, column: u32, bases: vec4<u32>, batch: u32, sum: Rows) {
    store_c(row, column, 1u, bases, batch, sum.r0);
    store_c(row + 1u, column, 1u, bases, batch, sum.r1);
    store_c(row + 2u, column, 1u, bases, batch, sum.r2);
    store_c(row + 3u, column, 1u, bases, batch, sum.r3);
    store_c(row + 4u, column, 1u, bases, batch, sum.r4);
    store_c(row + 5u, column, 1u, bases, batch, sum.r5);
    store_c(row + 6u, column, 1u, bases, batch, sum.r6);
    store_c(row + 7u, column, 1u, bases, batch, sum.r7);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = locate_tile(group_index(group, groups), 8u * BLOCKS, 32u);
    if (tile.batch >= params.batches) {
        return;
    }
    let column = tile.column + 4u * lane;
    let column0 = locate_column(column, tile.batch);
    let column1 = locate_column(column + 1u, tile.batch);
    let column2 = locate_column(column + 2u, tile.batch);
    let column3 = locate_column(column + 3u, tile.batch);
    let row0 = tile.row + lane;
    let base0 = locate_row(row0, tile.batch);
    let block = 8u * params.a_row;
    var sum0: Rows;
    var sum1: Rows;
    var sum2: Rows;
    var sum3: Rows;
    var k0 = locate_k(tile.k_start);
    while (k0.k < tile.k_end) {
        let k1 = next_k(k0);
        let k2 = next_k(k1);
        let k3 = next_k(k2);
        let b0 = row_b(k0, tile.k_end, column0, column1, column2, column3);
        let b1 = row_b(k1, tile.k_end, column0, column1, column2, column3);
        let b2 = row_b(k2, tile.k_end, column0, column1, column2, column3);
        let b3 = row_b(k3, tile.k_end, column0, column1, column2, column3);
        // All loads before the first sum, as in matmul_lanes.
        let held0 = hold_a(row0, base0, k0, k1, k2, k3, tile.k_end);
        var held1: vec4<f32>;
        var held2: vec4<f32>;
        var held3: vec4<f32>;
        if (BLOCKS > 1u) {
            held1 = hold_a(row0 + 8u, base0 + block, k0, k1, k2, k3, tile.k_end);
        }
        if (BLOCKS > 2u) {
            held2 = hold_a(row0 + 16u, base0 + 2u * block, k0, k1, k2, k3, tile.k_end);
            held3 = hold_a(row0 + 24u, base0 + 3u * block, k0, k1, k2, k3, tile.k_end);
        }
        add_block(&sum0, held0, b0, b1, b2, b3);
        if (BLOCKS > 1u) {
            add_block(&sum1, held1, b0, b1, b2, b3);
        }
        if (BLOCKS > 2u) {
            add_block(&sum2, held2, b0, b1, b2, b3);
            add_block(&sum3, held3, b0, b1, b2, b3);
        }
        k0 = next_k(k3);
    }
    let bases = vec4<u32>(
        locate_c(column, tile.part),
        locate_c(column + 1u, tile.part),
        locate_c(column + 2u, tile.part),
        locate_c(column + 3u, tile.part),
    );
    store_block(tile.row, column, bases, tile.batch, sum0);
    if (BLOCKS > 1u) {
        store_block(tile.row + 8u, column, bases, tile.batch, sum1);
    }
    if (BLOCKS > 2u) {
        store_block(tile.row + 16u, column, bases, tile.batch, sum2);
        store_block(tile.row + 24u, column, bases, tile.batch, sum3);
    }
}
