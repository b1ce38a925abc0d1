// The contraction for adapters that are a processor: see part/contract for what it computes.
//
// A workgroup is one subgroup of 8 lanes and owns 8 * BLOCKS rows by 32 columns of C, 4 columns a lane. In steps of 4
// along k, lane l holds 4 ks of row l of each block and hands them round by broadcasts, which cost a tenth of a load; there
// is no workgroup memory and no barrier. Each sum runs over k in ascending order.
//
// Bindings: a, b, c, and bias (the same as c where there is none).
//! needs: subgroups
//! use: index chain4 unpack contract a_single b_single c_single

@group(0) @binding(3) var<storage, read_write> bias: array<T>;

alias V = vec4<f32>;

// Four ks of one row: the row that this lane holds for its subgroup.
fn hold_a(row: u32, base: u32, k0: K, k1: K, k2: K, k3: K, k_end: u32) -> Held {
    let inside = row < params.m;
    return Held(
        load_a(base, k0, inside),
        load_a(base, k1, inside && k1.k < k_end),
        load_a(base, k2, inside && k2.k < k_end),
        load_a(base, k3, inside && k3.k < k_end),
    );
}

fn row_b(at: K, k_end: u32, c0: Column, c1: Column, c2: Column, c3: Column) -> V {
    let inside = at.k < k_end;
    return V(load_b(at, c0, inside), load_b(at, c1, inside), load_b(at, c2, inside), load_b(at, c3, inside));
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
        let step = Step(
            row_b(k0, tile.k_end, column0, column1, column2, column3),
            row_b(k1, tile.k_end, column0, column1, column2, column3),
            row_b(k2, tile.k_end, column0, column1, column2, column3),
            row_b(k3, tile.k_end, column0, column1, column2, column3),
        );
        // All loads before the first sum, as in matmul_lanes.
        let held0 = hold_a(row0, base0, k0, k1, k2, k3, tile.k_end);
        var held1: Held;
        var held2: Held;
        var held3: Held;
        if (BLOCKS > 1u) {
            held1 = hold_a(row0 + 8u, base0 + block, k0, k1, k2, k3, tile.k_end);
        }
        if (BLOCKS > 2u) {
            held2 = hold_a(row0 + 16u, base0 + 2u * block, k0, k1, k2, k3, tile.k_end);
            held3 = hold_a(row0 + 24u, base0 + 3u * block, k0, k1, k2, k3, tile.k_end);
        }
        add_rows(&sum0, held0, step);
        if (BLOCKS > 1u) {
            add_rows(&sum1, held1, step);
        }
        if (BLOCKS > 2u) {
            add_rows(&sum2, held2, step);
            add_rows(&sum3, held3, step);
        }
        k0 = next_k(k3);
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
    let columns = locate_columns(column, 1u, tile.part);
    for (var i = 0u; i < 8u * BLOCKS; i++) {
        store_c(tile.row + i, column, 1u, columns, tile.batch, rows[i]);
    }
}
