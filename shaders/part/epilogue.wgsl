// What happens to four finished sums, neighbours in a row of C: bias, activation, memory.
//
// params.bias: 0 none, 1 one per row, 2 one per column. params.relu: 1 if what is then negative becomes 0. These are parameters,
// not constants: they cost little here, and a kernel compiled once serves all. C_QUADS: C can be reached by four.

@group(0) @binding(2) var<storage, read_write> c: array<vec4<C>>;
@group(0) @binding(3) var<storage, read_write> biases: array<T>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

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
