//! 2-d max and average pooling and their gradients.

use super::Array;

/// Pairs are (height, width). Average pooling has no dilation: it needs `[1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool2d {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    /// Windows that reach over the far edge count too, as long as they start inside the input or its near padding.
    pub ceil_mode: bool,
}

impl Pool2d {
    /// Square windows that touch without overlap.
    pub fn square(kernel: usize) -> Pool2d {
        Pool2d { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2], dilation: [1; 2], ceil_mode: false }
    }

    fn output_size(&self, i: usize, size: usize) -> usize {
        let (stride, padding) = (self.stride[i], self.padding[i]);
        assert!(2 * padding <= self.kernel[i], "padding over half the kernel");
        let reach = self.dilation[i] * (self.kernel[i] - 1) + 1;
        let span = (size + 2 * padding).checked_sub(reach).expect("a window within the padded input");
        if !self.ceil_mode {
            return span / stride + 1;
        }
        let count = span.div_ceil(stride) + 1;
        // The last window must start within the input or its near padding.
        if (count - 1) * stride >= size + padding { count - 1 } else { count }
    }

    pub fn output_shape(&self, input: &[usize]) -> Vec<usize> {
        let [n, c, h, w] = input[..] else { panic!("pooling of {input:?}") };
        vec![n, c, self.output_size(0, h), self.output_size(1, w)]
    }

    /// Calls `visit(output position, input positions in the window, window's height x width within the padded input)`.
    fn for_each_window(&self, input: &[usize], mut visit: impl FnMut(usize, &[usize], usize)) {
        let output = self.output_shape(input);
        // Input positions under a window along one axis, and the window's extent clipped at the far padding.
        let along = |i: usize, o: usize| {
            let size = input[2 + i];
            let taps = (0..self.kernel[i]).filter_map(|k| {
                (o * self.stride[i] + k * self.dilation[i]).checked_sub(self.padding[i]).filter(|&at| at < size)
            });
            let end = (o * self.stride[i] + self.kernel[i]).min(size + 2 * self.padding[i]);
            (taps.collect::<Vec<usize>>(), end - o * self.stride[i])
        };
        for plane in 0..output[0] * output[1] {
            for oh in 0..output[2] {
                let (rows, height) = along(0, oh);
                for ow in 0..output[3] {
                    let (columns, width) = along(1, ow);
                    let window: Vec<usize> = rows
                        .iter()
                        .flat_map(|&row| {
                            columns.iter().map(move |&column| (plane * input[2] + row) * input[3] + column)
                        })
                        .collect();
                    visit((plane * output[2] + oh) * output[3] + ow, &window, height * width);
                }
            }
        }
    }
}

/// The largest value of each window (NaN if one is) and where in `x` it lies: the first in row-major order.
pub fn max_pool2d_with_indices(x: &Array, pool: Pool2d) -> (Array, Vec<usize>) {
    let mut y = Array::zeros(&pool.output_shape(&x.shape));
    let mut indices = vec![0; y.numel()];
    pool.for_each_window(&x.shape, |out, window, _| {
        let mut best = *window.first().expect("padding is at most half the kernel");
        for &at in window {
            if !x.data[best].is_nan() && (x.data[at].is_nan() || x.data[at] > x.data[best]) {
                best = at;
            }
        }
        y.data[out] = x.data[best];
        indices[out] = best;
    });
    (y, indices)
}

pub fn max_pool2d(x: &Array, pool: Pool2d) -> Array {
    max_pool2d_with_indices(x, pool).0
}

/// Each output's gradient goes to the element it was taken from.
pub fn max_pool2d_grad(x: &Array, dy: &Array, pool: Pool2d) -> Array {
    let (y, indices) = max_pool2d_with_indices(x, pool);
    assert_eq!(y.shape, dy.shape);
    let mut dx = Array::zeros(&x.shape);
    for (&at, &dy) in indices.iter().zip(&dy.data) {
        dx.data[at] += dy;
    }
    dx
}

/// The window's sum over its divisor: the elements inside the input, or with `count_include_pad` also those in the
/// padding (but never those that `ceil_mode` adds beyond it).
pub fn avg_pool2d(x: &Array, pool: Pool2d, count_include_pad: bool) -> Array {
    assert_eq!(pool.dilation, [1, 1]);
    let mut y = Array::zeros(&pool.output_shape(&x.shape));
    pool.for_each_window(&x.shape, |out, window, padded| {
        let divisor = if count_include_pad { padded } else { window.len() };
        y.data[out] = window.iter().map(|&at| x.data[at]).sum::<f64>() / divisor as f64;
    });
    y
}

pub fn avg_pool2d_grad(input_shape: &[usize], dy: &Array, pool: Pool2d, count_include_pad: bool) -> Array {
    assert_eq!(dy.shape, pool.output_shape(input_shape));
    let mut dx = Array::zeros(input_shape);
    pool.for_each_window(input_shape, |out, window, padded| {
        let divisor = if count_include_pad { padded } else { window.len() };
        for &at in window {
            dx.data[at] += dy.data[out] / divisor as f64;
        }
    });
    dx
}

/// The shape that adaptive pooling to this size gives.
pub fn adapted(input: &[usize], size: [usize; 2]) -> Vec<usize> {
    vec![input[0], input[1], size[0], size[1]]
}

/// Calls `visit(output position, input positions in its window)`: of `in` pixels, window o of `out` has those from
/// `floor(o in / out)` to before `ceil((o + 1) in / out)`.
fn for_each_adaptive_window(input: &[usize], size: [usize; 2], mut visit: impl FnMut(usize, &[usize])) {
    let [_, _, h, w] = input[..] else { panic!("pooling of {input:?}") };
    let along = |o: usize, pixels: usize, count: usize| o * pixels / count..((o + 1) * pixels).div_ceil(count);
    for plane in 0..input[0] * input[1] {
        for oh in 0..size[0] {
            for ow in 0..size[1] {
                let rows = along(oh, h, size[0]);
                let window: Vec<usize> = rows
                    .flat_map(|row| along(ow, w, size[1]).map(move |column| (plane * h + row) * w + column))
                    .collect();
                visit((plane * size[0] + oh) * size[1] + ow, &window);
            }
        }
    }
}

/// As [`max_pool2d_with_indices`], with adaptive windows.
pub fn adaptive_max_pool2d(x: &Array, size: [usize; 2]) -> (Array, Vec<usize>) {
    let mut y = Array::zeros(&adapted(&x.shape, size));
    let mut indices = vec![0; y.numel()];
    for_each_adaptive_window(&x.shape, size, |out, window| {
        let mut best = window[0];
        for &at in window {
            if !x.data[best].is_nan() && (x.data[at].is_nan() || x.data[at] > x.data[best]) {
                best = at;
            }
        }
        y.data[out] = x.data[best];
        indices[out] = best;
    });
    (y, indices)
}

pub fn adaptive_avg_pool2d(x: &Array, size: [usize; 2]) -> Array {
    let mut y = Array::zeros(&adapted(&x.shape, size));
    for_each_adaptive_window(&x.shape, size, |out, window| {
        y.data[out] = window.iter().map(|&at| x.data[at]).sum::<f64>() / window.len() as f64;
    });
    y
}

pub fn adaptive_avg_pool2d_grad(input: &[usize], dy: &Array) -> Array {
    let mut dx = Array::zeros(input);
    for_each_adaptive_window(input, [dy.shape[2], dy.shape[3]], |out, window| {
        for &at in window {
            dx.data[at] += dy.data[out] / window.len() as f64;
        }
    });
    dx
}

mod tests {
    use super::*;

    #[test]
    fn ceil_mode_adds_only_windows_that_start_inside() {
        let pool = Pool2d { ceil_mode: true, ..Pool2d::square(2) };
        assert_eq!(pool.output_size(0, 5), 3);
        assert_eq!(Pool2d::square(2).output_size(0, 5), 2);
        // 3 + 2 padding, windows of 2 at 0, 3, (6): the last would start beyond.
        assert_eq!(Pool2d { stride: [3; 2], padding: [1; 2], ..pool }.output_size(0, 3), 2);
    }

    #[test]
    fn ties_and_nan() {
        let x = Array::new(&[1, 1, 2, 4], vec![1.0, 1.0, 2.0, f64::NAN, 1.0, 0.0, f64::NAN, 3.0]);
        let (y, indices) = max_pool2d_with_indices(&x, Pool2d::square(2));
        assert_eq!(indices, [0, 3]);
        assert!(y.data[0] == 1.0 && y.data[1].is_nan());
    }

    #[test]
    fn divisors() {
        let pool = Pool2d { padding: [1; 2], ..Pool2d::square(2) };
        let ones = Array::ones(&[1, 1, 2, 2]);
        assert_eq!(avg_pool2d(&ones, pool, true).data, [0.25; 4]);
        assert_eq!(avg_pool2d(&ones, pool, false).data, [1.0; 4]);
        let over = Pool2d { ceil_mode: true, ..Pool2d::square(2) };
        assert_eq!(avg_pool2d(&Array::ones(&[1, 1, 3, 3]), over, true).data, [1.0; 4]);
    }
}
