// Winograd F(2x2, 3x3): 4 outputs of a 3x3 kernel from 16 products. Points 0, 1, -1 and infinity; otherwise as part/winograd4.
//! use: weights3

const OUT = 2u;
const TILE = 4u;
// The position whose transformed gradient is the sum of the gradients of the tile.
const SUM_POSITION = 5u;

struct Line {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

struct Tile {
    a: Line,
    b: Line,
    c: Line,
    d: Line,
}

struct OutLine {
    a: vec4<f32>,
    b: vec4<f32>,
}

struct Out {
    a: OutLine,
    b: OutLine,
}

// B^T x
fn input_line(x: Line) -> Line {
    return Line(x.a - x.c, x.b + x.c, x.c - x.b, x.b - x.d);
}

fn input_tile(x: Tile) -> Tile {
    let a = input_line(x.a);
    let b = input_line(x.b);
    let c = input_line(x.c);
    let d = input_line(x.d);
    return Tile(
        input_line(Line(a.a, b.a, c.a, d.a)),
        input_line(Line(a.b, b.b, c.b, d.b)),
        input_line(Line(a.c, b.c, c.c, d.c)),
        input_line(Line(a.d, b.d, c.d, d.d)),
    );
}

// G g
fn weight_line(g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) -> Line {
    let even = 0.5 * (g0 + g2);
    let odd = 0.5 * g1;
    return Line(g0, even + odd, even - odd, g2);
}

fn weight_tile(r: Weights) -> Tile {
    let a = weight_line(r.a.a, r.a.b, r.a.c);
    let b = weight_line(r.b.a, r.b.b, r.b.c);
    let c = weight_line(r.c.a, r.c.b, r.c.c);
    return Tile(
        weight_line(a.a, b.a, c.a),
        weight_line(a.b, b.b, c.b),
        weight_line(a.c, b.c, c.c),
        weight_line(a.d, b.d, c.d),
    );
}

// A^T m
fn output_line(m: Line) -> OutLine {
    return OutLine(m.a + m.b + m.c, m.b - m.c - m.d);
}

fn output_tile(m: Tile) -> Out {
    let a = output_line(m.a);
    let b = output_line(m.b);
    let c = output_line(m.c);
    let d = output_line(m.d);
    return Out(output_line(Line(a.a, b.a, c.a, d.a)), output_line(Line(a.b, b.b, c.b, d.b)));
}

// A y
fn gradient_line(y: OutLine) -> Line {
    return Line(y.a, y.a + y.b, y.a - y.b, -y.b);
}

fn gradient_tile(y: Out) -> Tile {
    let a = gradient_line(y.a);
    let b = gradient_line(y.b);
    return Tile(
        gradient_line(OutLine(a.a, b.a)),
        gradient_line(OutLine(a.b, b.b)),
        gradient_line(OutLine(a.c, b.c)),
        gradient_line(OutLine(a.d, b.d)),
    );
}

// G^T m
fn weight_gradient_line(m: Line) -> WeightLine {
    let even = 0.5 * (m.b + m.c);
    return WeightLine(m.a + even, 0.5 * (m.b - m.c), even + m.d);
}

fn weight_gradient_tile(m: Tile) -> Weights {
    let a = weight_gradient_line(m.a);
    let b = weight_gradient_line(m.b);
    let c = weight_gradient_line(m.c);
    let d = weight_gradient_line(m.d);
    return Weights(
        weight_gradient_line(Line(a.a, b.a, c.a, d.a)),
        weight_gradient_line(Line(a.b, b.b, c.b, d.b)),
        weight_gradient_line(Line(a.c, b.c, c.c, d.c)),
    );
}
