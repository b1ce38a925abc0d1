// C, four elements at a time.

@group(0) @binding(2) var<storage, read_write> c: array<vec4<R>>;

// Four sums of a row, of four neighbouring columns, all of which exist.
fn store_c(row: u32, column: u32, step: u32, columns: Columns, batch: u32, sums: vec4<f32>) {
    if (row < params.m && column < params.n) {
        c[(columns.bases.x + row * params.c_row) / 4u] = vec4<R>(finished(row, batch, columns.bias, sums));
    }
}
