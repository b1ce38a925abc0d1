// Winograd F(4x4, 3x3): 16 outputs of a 3x3 kernel from 36 products. Points 0, 1, -1, 2, -2 and infinity, as in Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks" (2015). Every value is four channels. Transforms go along the lines,
// then across them, which leaves a tile transposed; all tiles are, so that their products match.

//! use: weights3

const OUT = 4u;
const TILE = 6u;
// The position whose transformed gradient is the sum of the gradients of the tile.
const SUM_POSITION = 7u;

struct Line {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
}

struct Tile {
    a: Line,
    b: Line,
    c: Line,
    d: Line,
    e: Line,
    f: Line,
}

struct OutLine {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

struct Out {
    a: OutLine,
    b: OutLine,
    c: OutLine,
    d: OutLine,
}

// B^T x
fn input_line(x: Line) -> Line {
    let even = x.e - 4.0 * x.c;
    let odd = x.d - 4.0 * x.b;
    let even2 = x.e - x.c;
    let odd2 = 2.0 * (x.d - x.b);
    return Line(
        4.0 * x.a - 5.0 * x.c + x.e,
        even + odd,
        even - odd,
        even2 + odd2,
        even2 - odd2,
        4.0 * x.b - 5.0 * x.d + x.f,
    );
}

fn input_tile(x: Tile) -> Tile {
    let a = input_line(x.a);
    let b = input_line(x.b);
    let c = input_line(x.c);
    let d = input_line(x.d);
    let e = input_line(x.e);
    let f = input_line(x.f);
    return Tile(
        input_line(Line(a.a, b.a, c.a, d.a, e.a, f.a)),
        input_line(Line(a.b, b.b, c.b, d.b, e.b, f.b)),
        input_line(Line(a.c, b.c, c.c, d.c, e.c, f.c)),
        input_line(Line(a.d, b.d, c.d, d.d, e.d, f.d)),
        input_line(Line(a.e, b.e, c.e, d.e, e.e, f.e)),
        input_line(Line(a.f, b.f, c.f, d.f, e.f, f.f)),
    );
}

// G g
fn weight_line(g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) -> Line {
    let sixth = (g0 + g2) * (-1.0 / 6.0);
    let middle = g1 * (1.0 / 6.0);
    let far = g0 * (1.0 / 24.0) + g2 * (1.0 / 6.0);
    let far_middle = g1 * (1.0 / 12.0);
    return Line(g0 * 0.25, sixth - middle, sixth + middle, far + far_middle, far - far_middle, g2);
}

// A^T m
fn output_line(m: Line) -> OutLine {
    let near = m.b + m.c;
    let near_odd = m.b - m.c;
    let far = m.d + m.e;
    let far_odd = m.d - m.e;
    return OutLine(m.a + near + far, near_odd + 2.0 * far_odd, near + 4.0 * far, near_odd + 8.0 * far_odd + m.f);
}

fn output_tile(m: Tile) -> Out {
    let a = output_line(m.a);
    let b = output_line(m.b);
    let c = output_line(m.c);
    let d = output_line(m.d);
    let e = output_line(m.e);
    let f = output_line(m.f);
    return Out(
        output_line(Line(a.a, b.a, c.a, d.a, e.a, f.a)),
        output_line(Line(a.b, b.b, c.b, d.b, e.b, f.b)),
        output_line(Line(a.c, b.c, c.c, d.c, e.c, f.c)),
        output_line(Line(a.d, b.d, c.d, d.d, e.d, f.d)),
    );
}

// A y
fn gradient_line(y: OutLine) -> Line {
    let even = y.a + y.c;
    let odd = y.b + y.d;
    let far = y.a + 4.0 * y.c;
    let far_odd = 2.0 * y.b + 8.0 * y.d;
    return Line(y.a, even + odd, even - odd, far + far_odd, far - far_odd, y.d);
}

fn gradient_tile(y: Out) -> Tile {
    let a = gradient_line(y.a);
    let b = gradient_line(y.b);
    let c = gradient_line(y.c);
    let d = gradient_line(y.d);
    return Tile(
        gradient_line(OutLine(a.a, b.a, c.a, d.a)),
        gradient_line(OutLine(a.b, b.b, c.b, d.b)),
        gradient_line(OutLine(a.c, b.c, c.c, d.c)),
        gradient_line(OutLine(a.d, b.d, c.d, d.d)),
        gradient_line(OutLine(a.e, b.e, c.e, d.e)),
        gradient_line(OutLine(a.f, b.f, c.f, d.f)),
    );
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
        weight_line(a.e, b.e, c.e),
        weight_line(a.f, b.f, c.f),
    );
}

// G^T m
fn weight_gradient_line(m: Line) -> WeightLine {
    let near = (m.b + m.c) * (-1.0 / 6.0);
    let near_odd = (m.c - m.b) * (1.0 / 6.0);
    let far = m.d + m.e;
    let far_odd = (m.d - m.e) * (1.0 / 12.0);
    return WeightLine(m.a * 0.25 + near + far * (1.0 / 24.0), near_odd + far_odd, near + far * (1.0 / 6.0) + m.f);
}

fn weight_gradient_tile(m: Tile) -> Weights {
    let a = weight_gradient_line(m.a);
    let b = weight_gradient_line(m.b);
    let c = weight_gradient_line(m.c);
    let d = weight_gradient_line(m.d);
    let e = weight_gradient_line(m.e);
    let f = weight_gradient_line(m.f);
    return Weights(
        weight_gradient_line(Line(a.a, b.a, c.a, d.a, e.a, f.a)),
        weight_gradient_line(Line(a.b, b.b, c.b, d.b, e.b, f.b)),
        weight_gradient_line(Line(a.c, b.c, c.c, d.c, e.c, f.c)),
    );
}
