// The contraction C[z][m][n] = sum over k of A[z][m][k] * B[z][k][n]: where its operands lie.
//
// MODE says how an index becomes an address; the loops of contract_tile, contract_lanes and contract_cooperative do not know.
//   DENSE   A[row * a_row + k * a_k], B[k * b_k + column * b_column].
//   PATCHES k is a triple (i, r, s) of an outer count, a row and a column; a column of B is (o, y, x). B is the image
//           point (i, y * col_step - pad + r * k_step) and likewise for x, 0 outside of the image.
//           Convolution forward: k = (channel, kernel row, kernel column), column = (image, output row, output column).
//           Weight gradient: k = (image, output row, output column), column = (channel, kernel row, kernel column).
//   SCATTER the data gradient: k = (output channel, kernel row, kernel column), column = (image, input row, input column);
//           B is the output point whose window meets the column there, if there is one: (y + pad - r * k_step) / col_step.
//   UNIT_SCATTER the same where col_step is 1, without the division.
// In all but the first, A[i * a_k + row * a_row + r * k_columns + s].
//
// The parts a_*, b_* and c_* reach memory.
const DENSE = 0u;
const PATCHES = 1u;
const SCATTER = 2u;
const UNIT_SCATTER = 3u;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    batches: u32,
    splits: u32, // parts of k, each with a C of its own
    finish: u32, // 1: a bias for each row is added, 2: one for each column; and 4: what is then negative becomes 0
    a_offset: u32,
    a_batch: u32,
    a_row: u32,
    a_k: u32,
    b_offset: u32,
    b_batch: u32,
    b_k: u32,
    b_column: u32,
    c_offset: u32,
    c_batch: u32,
    c_row: u32,
    c_outer: u32, // C[(column / inner) * c_outer + row * c_row + column % inner]
    inner: u32,
    bias_offset: u32,
    k_rows: u32,
    k_columns: u32,
    column_rows: u32,
    column_columns: u32,
    height: u32, // of B's planes
    width: u32,
    k_step_y: u32,
    k_step_x: u32,
    column_step_y: u32,
    column_step_x: u32,
    pad_y: u32,
    pad_x: u32,
}

struct K {
    k: u32,
    i: u32,
    r: u32,
    s: u32,
}

struct Column {
    base: u32,
    y: i32,
    x: i32,
    inside: bool,
}

fn locate_k(k: u32) -> K {
    if (MODE == DENSE) {
        return K(k, 0u, 0u, 0u);
    }
    let rows = quotient(k, params.k_columns);
    let i = quotient(rows, params.k_rows);
    return K(k, i, rows - i * params.k_rows, k - rows * params.k_columns);
}

// The k after this one, without a division.
fn next_k(at: K) -> K {
    if (MODE == DENSE) {
        return K(at.k + 1u, 0u, 0u, 0u);
    }
    let row_ends = at.s + 1u == params.k_columns;
    let plane_ends = row_ends && at.r + 1u == params.k_rows;
    return K(
        at.k + 1u,
        at.i + select(0u, 1u, plane_ends),
        select(at.r + select(0u, 1u, row_ends), 0u, plane_ends),
        select(at.s + 1u, 0u, row_ends),
    );
}

// The k that lies `by` after `at`, without a division.
fn advance_k(at: K, by: K) -> K {
    if (MODE == DENSE) {
        return K(at.k + by.k, 0u, 0u, 0u);
    }
    let s = at.s + by.s;
    let row_ends = s >= params.k_columns;
    let r = at.r + by.r + select(0u, 1u, row_ends);
    let plane_ends = r >= params.k_rows;
    return K(
        at.k + by.k,
        at.i + by.i + select(0u, 1u, plane_ends),
        select(r, r - params.k_rows, plane_ends),
        select(s, s - params.k_columns, row_ends),
    );
}

fn locate_column(column: u32, batch: u32) -> Column {
    let base = params.b_offset + batch * params.b_batch;
    let inside = column < params.n;
    if (MODE == DENSE) {
        return Column(base + column * params.b_column, 0, 0, inside);
    }
    let rows = quotient(column, params.column_columns);
    let outer = quotient(rows, params.column_rows);
    let y = rows - outer * params.column_rows;
    let x = column - rows * params.column_columns;
    let start = base + outer * params.b_column;
    if (MODE >= SCATTER) {
        return Column(start, i32(y + params.pad_y), i32(x + params.pad_x), inside);
    }
    return Column(
        start,
        i32(y * params.column_step_y) - i32(params.pad_y),
        i32(x * params.column_step_x) - i32(params.pad_x),
        inside,
    );
}

fn locate_row(row: u32, batch: u32) -> u32 {
    return params.a_offset + batch * params.a_batch + row * params.a_row;
}

fn index_a(row_base: u32, at: K) -> u32 {
    if (MODE == DENSE) {
        return row_base + at.k * params.a_k;
    }
    return row_base + at.i * params.a_k + at.r * params.k_columns + at.s;
}

// `inside` is whether row and k exist; what does not is 0, and is not read.
fn load_a(row_base: u32, at: K, inside: bool) -> f32 {
    return select(0.0, element_a(select(0u, index_a(row_base, at), inside)), inside);
}

fn load_b(at: K, column: Column, k_inside: bool) -> f32 {
    var inside = column.inside && k_inside;
    var index = column.base + at.k * params.b_k;
    if (MODE == PATCHES) {
        let y = column.y + i32(at.r * params.k_step_y);
        let x = column.x + i32(at.s * params.k_step_x);
        inside = inside && u32(y) < params.height && u32(x) < params.width;
        index = column.base + at.i * params.b_k + u32(y) * params.width + u32(x);
    }
    if (MODE >= SCATTER) {
        var y = column.y - i32(at.r * params.k_step_y);
        var x = column.x - i32(at.s * params.k_step_x);
        if (MODE == SCATTER) {
            inside = inside && y >= 0 && x >= 0;
            let whole_y = quotient(u32(max(y, 0)), params.column_step_y);
            let whole_x = quotient(u32(max(x, 0)), params.column_step_x);
            inside = inside && whole_y * params.column_step_y == u32(y) && whole_x * params.column_step_x == u32(x);
            y = i32(whole_y);
            x = i32(whole_x);
        }
        inside = inside && u32(y) < params.height && u32(x) < params.width;
        index = column.base + at.i * params.b_k + u32(y) * params.width + u32(x);
    }
    return select(0.0, element_b(select(0u, index, inside)), inside);
}

// Where column `column` of C begins.
fn locate_c(column: u32, part: u32) -> u32 {
    let outer = quotient(column, params.inner);
    return params.c_offset + part * params.c_batch + outer * params.c_outer + column - outer * params.inner;
}

// Where four columns of C, `step` apart, begin, and their biases.
struct Columns {
    bases: vec4<u32>,
    bias: vec4<f32>,
}

fn locate_columns(column: u32, step: u32, part: u32) -> Columns {
    return Columns(
        vec4<u32>(
            locate_c(column, part),
            locate_c(column + step, part),
            locate_c(column + 2u * step, part),
            locate_c(column + 3u * step, part),
        ),
        vec4<f32>(
            column_bias(column),
            column_bias(column + step),
            column_bias(column + 2u * step),
            column_bias(column + 3u * step),
        ),
    );
}

// 0 where columns have none.
fn column_bias(column: u32) -> f32 {
    if ((params.finish & 3u) == 2u && column < params.n) {
        return f32(bias[params.bias_offset + column]);
    }
    return 0.0;
}

// Four sums of a row with bias and activation.
fn finished(row: u32, batch: u32, column_biases: vec4<f32>, sums: vec4<f32>) -> vec4<f32> {
    var result = sums + column_biases;
    if ((params.finish & 3u) == 1u) {
        result += vec4<f32>(f32(bias[params.bias_offset + batch * params.m + row]));
    }
    // Not max: NaN stays NaN.
    return select(result, vec4<f32>(0.0), vec4<bool>(params.finish >= 4u) & (result < vec4<f32>(0.0)));
}

// What a workgroup works on.
struct Tile {
    batch: u32,
    part: u32, // batch and part of k: which C
    row: u32,
    column: u32,
    k_start: u32,
    k_end: u32,
}

fn locate_tile(group: u32, tile_rows: u32, tile_columns: u32) -> Tile {
    let across = (params.n + tile_columns - 1u) / tile_columns;
    let down = (params.m + tile_rows - 1u) / tile_rows;
    let strip = group / across;
    let part = strip / down;
    let batch = part / params.splits;
    // A part has a multiple of 4 ks.
    let part_k = ((params.k + params.splits - 1u) / params.splits + 3u) & ~3u;
    let k_start = (part - batch * params.splits) * part_k;
    return Tile(
        batch,
        part,
        (strip - part * down) * tile_rows,
        (group - strip * across) * tile_columns,
        k_start,
        min(k_start + part_k, params.k),
    );
}
