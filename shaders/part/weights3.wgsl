// A 3x3 kernel of four channels.
struct WeightLine {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

struct Weights {
    a: WeightLine,
    b: WeightLine,
    c: WeightLine,
}
