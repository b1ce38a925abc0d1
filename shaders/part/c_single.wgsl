// C, an element at a time.

@group(0) @binding(2) var<storage, read_write> c: array<R>;

// Four finished sums of a row, of columns `step` apart, each of which begins at its base.
fn store_c(row: u32, column: u32, step: u32, bases: vec4<u32>, batch: u32, sums: vec4<f32>) {
    store_one(row, column, bases.x, batch, sums.x);
    store_one(row, column + step, bases.y, batch, sums.y);
    store_one(row, column + 2u * step, bases.z, batch, sums.z);
    store_one(row, column + 3u * step, bases.w, batch, sums.w);
}

fn store_one(row: u32, column: u32, base: u32, batch: u32, sum: f32) {
    if (row < params.m && column < params.n) {
        c[base + row * params.c_row] = R(finished(row, column, batch, sum));
    }
}
