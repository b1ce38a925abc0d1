// C, an element at a time.

@group(0) @binding(2) var<storage, read_write> c: array<R>;

// Four sums of a row, of columns `step` apart.
fn store_c(row: u32, column: u32, step: u32, columns: Columns, batch: u32, sums: vec4<f32>) {
    if (row < params.m) {
        let result = finished(row, batch, columns.bias, sums);
        let at = columns.bases + vec4<u32>(row * params.c_row);
        store_one(column, at.x, result.x);
        store_one(column + step, at.y, result.y);
        store_one(column + 2u * step, at.z, result.z);
        store_one(column + 3u * step, at.w, result.w);
    }
}

fn store_one(column: u32, at: u32, value: f32) {
    if (column < params.n) {
        c[at] = R(value);
    }
}
