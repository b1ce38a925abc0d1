//! Interpolation. Coordinates are f32, as PyTorch's: which pixels are chosen depends on how they round.

use super::Array;

/// How, and along each axis the step in input pixels.
#[derive(Clone, Copy, Debug)]
pub struct Interpolate {
    pub out: [usize; 2],
    pub step: [f32; 2],
    pub bilinear: bool,
    pub align_corners: bool,
}

impl Interpolate {
    /// The pixels that result `o` along an axis of `size` pixels is made of, with their parts.
    fn along(&self, axis: usize, size: usize, o: usize) -> [(usize, f64); 2] {
        let (step, last) = (self.step[axis], size - 1);
        if !self.bilinear {
            let near = ((o as f32 * step).floor() as usize).min(last);
            return [(near, 1.0), (near, 0.0)];
        }
        let at = if self.align_corners { o as f32 * step } else { ((o as f32 + 0.5) * step - 0.5).max(0.0) };
        let first = (at.floor() as usize).min(last);
        let share = f64::from(at - first as f32).clamp(0.0, 1.0);
        [(first, 1.0 - share), ((first + 1).min(last), share)]
    }

    /// Calls `visit(result, pixel, part)`.
    fn for_each(&self, input: &[usize], mut visit: impl FnMut(usize, usize, f64)) {
        let [n, c, h, w] = input[..] else { panic!("interpolation of {input:?}") };
        for plane in 0..n * c {
            for y in 0..self.out[0] {
                for x in 0..self.out[1] {
                    for (row, down) in self.along(0, h, y) {
                        for (column, across) in self.along(1, w, x) {
                            let result = (plane * self.out[0] + y) * self.out[1] + x;
                            visit(result, (plane * h + row) * w + column, down * across);
                        }
                    }
                }
            }
        }
    }
}

pub fn interpolate(x: &Array, problem: Interpolate) -> Array {
    let mut y = Array::zeros(&[x.shape[0], x.shape[1], problem.out[0], problem.out[1]]);
    problem.for_each(&x.shape, |result, pixel, part| {
        // A part of 0 of an infinity is nothing.
        if part > 0.0 {
            y.data[result] += part * x.data[pixel];
        }
    });
    y
}

pub fn interpolate_grad(input: &[usize], dy: &Array, problem: Interpolate) -> Array {
    let mut dx = Array::zeros(input);
    problem.for_each(input, |result, pixel, part| dx.data[pixel] += part * dy.data[result]);
    dx
}
