// How a workgroup brings in a step of its tile: TILE_M rows of A and TILE_N columns of B, DEPTH ks each.
//
// A quad is four lines (rows of A, columns of B) of one k. put_a and put_b, which the kernel has, put it into workgroup memory.
//
// A_ALONG_K and B_ALONG_K say along which index neighbours in memory lie, so that neighbouring invocations read neighbouring
// addresses. A_QUADS and B_QUADS: memory is read four elements at a time. An invocation then has four ks of four lines
// where neighbours lie along k, and else, as without, one k of four lines.
const A_BY_K = A_QUADS && A_ALONG_K;
const B_BY_K = B_QUADS && B_ALONG_K;
const A_LOADERS = select(TILE_M * DEPTH / 4u, TILE_M * DEPTH / 16u, A_BY_K);
const B_LOADERS = select(TILE_N * DEPTH / 4u, TILE_N * DEPTH / 16u, B_BY_K);

// From a quad's line to its next one: 1 where they are read or written together. Else a quad is spread over the tile, and
// neighbouring quads are neighbouring lines.
const ROW_STEP = select(TILE_M / 4u, 1u, A_QUADS && !A_ALONG_K);
const COLUMN_STEP = select(TILE_N / 4u, 1u, C_QUADS || (B_QUADS && !B_ALONG_K));

// What an invocation loaded: a vec4 for each of four lines, or in q0 one k of all four.
struct Held {
    q0: vec4<f32>,
    q1: vec4<f32>,
    q2: vec4<f32>,
    q3: vec4<f32>,
}

// The k of four lines that number `i` of the ks is.
fn across(held: Held, i: u32) -> vec4<f32> {
    return vec4<f32>(held.q0[i], held.q1[i], held.q2[i], held.q3[i]);
}

// A quad's first line.
fn a_line(quad: u32) -> u32 {
    return select(quad, 4u * quad, ROW_STEP == 1u);
}

fn b_line(quad: u32) -> u32 {
    return select(quad, 4u * quad, COLUMN_STEP == 1u);
}

fn a_loader_k(lane: u32) -> u32 {
    if (A_BY_K) {
        return 4u * (lane % (DEPTH / 4u));
    }
    return select(lane / (TILE_M / 4u), lane % DEPTH, A_ALONG_K);
}

fn a_loader_quad(lane: u32) -> u32 {
    if (A_BY_K) {
        return lane / (DEPTH / 4u);
    }
    return select(lane % (TILE_M / 4u), lane / DEPTH, A_ALONG_K);
}

// Where few invocations bring in B, they are the last ones: the first have A.
const B_FIRST = THREADS - min(THREADS, B_LOADERS);

fn is_b_loader(lane: u32) -> bool {
    return lane - B_FIRST < B_LOADERS;
}

fn b_loader_k(lane: u32) -> u32 {
    let loader = lane - B_FIRST;
    if (B_BY_K) {
        return 4u * (loader % (DEPTH / 4u));
    }
    return select(loader / (TILE_N / 4u), loader % DEPTH, B_ALONG_K);
}

fn b_loader_quad(lane: u32) -> u32 {
    let loader = lane - B_FIRST;
    if (B_BY_K) {
        return loader / (DEPTH / 4u);
    }
    return select(loader % (TILE_N / 4u), loader / DEPTH, B_ALONG_K);
}

// Where an invocation's next loads are. Only ks change from step to step.
struct Loader {
    step: K,
    a_k: K,
    a_row: u32,
    a_base: u32,
    b_k: K,
    column0: Column,
    column1: Column,
    column2: Column,
    column3: Column,
}

fn start_loader(lane: u32, tile: Tile) -> Loader {
    let row = tile.row + a_line(a_loader_quad(lane));
    let column = tile.column + b_line(b_loader_quad(lane));
    return Loader(
        locate_k(DEPTH),
        locate_k(tile.k_start + a_loader_k(lane)),
        row,
        locate_row(row, tile.batch),
        locate_k(tile.k_start + b_loader_k(lane)),
        locate_column(column, tile.batch),
        locate_column(column + COLUMN_STEP, tile.batch),
        locate_column(column + 2u * COLUMN_STEP, tile.batch),
        locate_column(column + 3u * COLUMN_STEP, tile.batch),
    );
}

fn advance_loader(loader: ptr<function, Loader>) {
    (*loader).a_k = advance_k((*loader).a_k, (*loader).step);
    (*loader).b_k = advance_k((*loader).b_k, (*loader).step);
}

fn load_quad_a(row_base: u32, at: K, inside: bool) -> vec4<f32> {
    return select(vec4<f32>(0.0), quad_a(select(0u, index_a(row_base, at), inside)), inside);
}

// B's quads are those of a matrix.
fn load_quad_b(at: K, column: Column, k_inside: bool) -> vec4<f32> {
    let inside = k_inside && column.inside;
    return select(vec4<f32>(0.0), quad_b(select(0u, column.base + at.k * params.b_k, inside)), inside);
}

fn load_tile_a(lane: u32, loader: Loader, k_end: u32) -> Held {
    var held: Held;
    if (lane >= A_LOADERS) {
        return held;
    }
    let at = loader.a_k;
    let k_inside = at.k < k_end;
    let base = loader.a_base;
    let step = ROW_STEP * params.a_row;
    let in0 = k_inside && loader.a_row < params.m;
    let in1 = k_inside && loader.a_row + ROW_STEP < params.m;
    let in2 = k_inside && loader.a_row + 2u * ROW_STEP < params.m;
    let in3 = k_inside && loader.a_row + 3u * ROW_STEP < params.m;
    if (A_QUADS) {
        held.q0 = load_quad_a(base, at, in0);
        if (A_ALONG_K) {
            held.q1 = load_quad_a(base + step, at, in1);
            held.q2 = load_quad_a(base + 2u * step, at, in2);
            held.q3 = load_quad_a(base + 3u * step, at, in3);
        }
    } else {
        held.q0 = vec4<f32>(
            load_a(base, at, in0),
            load_a(base + step, at, in1),
            load_a(base + 2u * step, at, in2),
            load_a(base + 3u * step, at, in3),
        );
    }
    return held;
}

fn load_tile_b(lane: u32, loader: Loader, k_end: u32) -> Held {
    var held: Held;
    if (!is_b_loader(lane)) {
        return held;
    }
    let at = loader.b_k;
    let inside = at.k < k_end;
    if (B_QUADS) {
        held.q0 = load_quad_b(at, loader.column0, inside);
        if (B_ALONG_K) {
            held.q1 = load_quad_b(at, loader.column1, inside);
            held.q2 = load_quad_b(at, loader.column2, inside);
            held.q3 = load_quad_b(at, loader.column3, inside);
        }
    } else {
        held.q0 = vec4<f32>(
            load_b(at, loader.column0, inside),
            load_b(at, loader.column1, inside),
            load_b(at, loader.column2, inside),
            load_b(at, loader.column3, inside),
        );
    }
    return held;
}

// The kernel's buffers at `a` and `b` get what this invocation loaded for them.
fn fill(lane: u32, a: u32, b: u32, held_a: Held, held_b: Held) {
    if (lane < A_LOADERS) {
        let k = a_loader_k(lane);
        let quad = a_loader_quad(lane);
        if (A_BY_K) {
            put_a(a, k, quad, across(held_a, 0u));
            put_a(a, k + 1u, quad, across(held_a, 1u));
            put_a(a, k + 2u, quad, across(held_a, 2u));
            put_a(a, k + 3u, quad, across(held_a, 3u));
        } else {
            put_a(a, k, quad, held_a.q0);
        }
    }
    if (is_b_loader(lane)) {
        let k = b_loader_k(lane);
        let quad = b_loader_quad(lane);
        if (B_BY_K) {
            put_b(b, k, quad, across(held_b, 0u));
            put_b(b, k + 1u, quad, across(held_b, 1u));
            put_b(b, k + 2u, quad, across(held_b, 2u));
            put_b(b, k + 3u, quad, across(held_b, 3u));
        } else {
            put_b(b, k, quad, held_b.q0);
        }
    }
}
