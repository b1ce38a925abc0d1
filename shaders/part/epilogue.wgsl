// What happens to four finished sums, neighbours in a row of C: bias, another tensor, activation, memory.
//
// params.bias: 0 none, 1 one per row, 2 one per column. params.rest, of `rest`, which lies as C does: 0 none, 1 it is added (a
// residual branch, or what C accumulates on), 2 it is the result of a ReLU, and C its gradient, 0 where `rest` is not above 0.
// params.relu: 1 if what is then negative becomes 0. These are parameters, not constants: they cost little here, and a kernel
// compiled once serves all. C_QUADS: C, and `rest`, can be reached by four.
//! use: rectify

@group(0) @binding(2) var<storage, read_write> c: array<vec4<C>>;
@group(0) @binding(3) var<storage, read_write> biases: array<T>;
@group(0) @binding(4) var<storage, read_write> rest: array<vec4<T>>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

// What does not exist repeats the first.
fn load_rest(at: u32, step: u32, count: u32) -> vec4<f32> {
    let i = params.rest_offset + at;
    if (C_QUADS) {
        return vec4<f32>(rest[i / 4u]);
    }
    let i1 = select(i, i + step, count > 1u);
    let i2 = select(i, i + 2u * step, count > 2u);
    let i3 = select(i, i + 3u * step, count > 3u);
    return vec4<f32>(vec4<T>(rest[i / 4u][i % 4u], rest[i1 / 4u][i1 % 4u], rest[i2 / 4u][i2 % 4u], rest[i3 / 4u][i3 % 4u]));
}

// `at` is the first sum's place from the start of C, `count` how many of the four exist.
fn store_quad(at: u32, step: u32, count: u32, row_bias: u32, column_bias: u32, sum: vec4<f32>) {
    var result = sum;
    if (params.bias == 1u) {
        result += vec4<f32>(f32(biases[params.bias_offset + row_bias]));
    }
    if (params.bias == 2u) {
        let i = params.bias_offset + column_bias;
        result += vec4<f32>(vec4<T>(biases[i], biases[i + 1u], biases[i + 2u], biases[i + 3u]));
    }
    if (params.rest == 1u) {
        result += load_rest(at, step, count);
    }
    if (params.rest == 2u) {
        result = before_relu(load_rest(at, step, count), result);
    }
    if (params.relu > 0u) {
        // Not max: NaN stays NaN.
        result = select(result, vec4<f32>(0.0), result < vec4<f32>(0.0));
    }
    let i = params.c_offset + at;
    let stored = vec4<C>(result);
    if (C_QUADS) {
        c[i / 4u] = stored;
        return;
    }
    c[i / 4u][i % 4u] = stored.x;
    if (count > 1u) {
        c[(i + step) / 4u][(i + step) % 4u] = stored.y;
    }
    if (count > 2u) {
        c[(i + 2u * step) / 4u][(i + 2u * step) % 4u] = stored.z;
    }
    if (count > 3u) {
        c[(i + 3u * step) / 4u][(i + 3u * step) % 4u] = stored.w;
    }
}
