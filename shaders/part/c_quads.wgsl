// C, four elements at a time.

@group(0) @binding(2) var<storage, read_write> c: array<vec4<R>>;

// Four finished sums of a row, of four neighbouring columns, all of which exist.
fn store_c(row: u32, column: u32, step: u32, bases: vec4<u32>, batch: u32, sums: vec4<f32>) {
    if (row < params.m && column < params.n) {
        c[(bases.x + row * params.c_row) / 4u] = vec4<R>(vec4<f32>(
            finished(row, column, batch, sums.x),
            finished(row, column + 1u, batch, sums.y),
            finished(row, column + 2u, batch, sums.z),
            finished(row, column + 3u, batch, sums.w),
        ));
    }
}
