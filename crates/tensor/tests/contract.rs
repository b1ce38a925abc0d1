//! The contraction engine on both tile loops, against plain sums in f64, on sizes around the tiles' edges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_gpu::{Device, Options};
use kiln_tensor::Tensor;
use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_input_grad, conv2d_weight_grad};

fn devices() -> [Device; 2] {
    [Device::open_default().unwrap(), Device::open(Options::new().minimal()).unwrap()]
}

/// Values in [-1, 1) from a linear congruence: any will do, as long as they differ.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// `|got - sum| <= 2 sqrt(k) eps sum |a||b|`, and exactly 0 where there is nothing to sum.
fn check(what: &str, got: &[f32], sums: &[(f64, f64)], k: usize) {
    assert_eq!(got.len(), sums.len(), "{what}");
    let bound = 2.0 * (k as f64).sqrt() * f64::from(f32::EPSILON);
    for (i, (&got, &(sum, absolute))) in got.iter().zip(sums).enumerate() {
        assert!((f64::from(got) - sum).abs() <= bound * absolute, "{what}: element {i} is {got}, not {sum}");
    }
}

#[test]
fn matmul_of_any_size_and_either_side_transposed() {
    for device in devices() {
        for (z, m, k, n) in [
            (1, 1, 1, 1),
            (1, 63, 65, 64),
            (3, 5, 7, 33),
            (2, 17, 130, 31),
            (1, 65, 64, 97),
            (1, 8, 3000, 8),
            (1, 9, 0, 5),
            (1, 70, 0, 0),
        ] {
            let (a, b) = (values(z * m * k, 1), values(z * k * n, 2));
            let mut sums = vec![(0.0, 0.0); z * m * n];
            for (at, sum) in sums.iter_mut().enumerate() {
                let (batch, row, column) = (at / (m * n), at / n % m, at % n);
                for i in 0..k {
                    let term = f64::from(a[(batch * m + row) * k + i]) * f64::from(b[(batch * k + i) * n + column]);
                    *sum = (sum.0 + term, sum.1 + term.abs());
                }
            }
            let transposed = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..x.len())
                    .map(|i| {
                        let (batch, c, r) = (i / (rows * columns), i / rows % columns, i % rows);
                        x[(batch * rows + r) * columns + c]
                    })
                    .collect()
            };
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let left = if ta {
                    Tensor::from_slice(&device, [z, k, m], &transposed(&a, m, k)).unwrap().transpose(1, 2).unwrap()
                } else {
                    Tensor::from_slice(&device, [z, m, k], &a).unwrap()
                };
                let right = if tb {
                    Tensor::from_slice(&device, [z, n, k], &transposed(&b, k, n)).unwrap().transpose(1, 2).unwrap()
                } else {
                    Tensor::from_slice(&device, [z, k, n], &b).unwrap()
                };
                let got = left.matmul(&right).unwrap();
                assert_eq!(got.dims::<3>().unwrap(), [z, m, n]);
                check(&format!("{z}x{m}x{k}x{n} {ta} {tb}"), &got.to_vec::<f32>().unwrap(), &sums, k);
            }
        }
    }
}

#[test]
fn convolution_in_all_directions() {
    let cases = [
        // n, groups, c, h, w, k, r, s, stride, padding, dilation
        (2, 1, 3, 9, 11, 5, 3, 3, [1, 1], [1, 1], [1, 1]),
        (1, 1, 1, 28, 28, 6, 5, 5, [1, 1], [2, 2], [1, 1]),
        (3, 2, 4, 13, 8, 9, 3, 2, [2, 3], [1, 0], [1, 2]),
        (2, 4, 1, 7, 7, 2, 3, 3, [2, 2], [2, 1], [2, 1]),
        (2, 1, 17, 5, 6, 33, 1, 1, [1, 1], [0, 0], [1, 1]),
        (1, 1, 2, 4, 4, 3, 4, 4, [1, 1], [0, 0], [1, 1]),
        (2, 1, 3, 23, 23, 8, 7, 7, [4, 4], [3, 3], [1, 1]),
        (0, 1, 3, 8, 8, 4, 3, 3, [1, 1], [1, 1], [1, 1]),
    ];
    for device in devices() {
        for (n, groups, c, h, w, k, r, s, stride, padding, dilation) in cases {
            let options = Conv2dOptions { stride, padding, dilation, groups };
            let (x, weight) = (values(n * groups * c * h * w, 3), values(groups * k * c * r * s, 4));
            let bias = values(groups * k, 5);
            let oh = (h + 2 * padding[0] - dilation[0] * (r - 1) - 1) / stride[0] + 1;
            let ow = (w + 2 * padding[1] - dilation[1] * (s - 1) - 1) / stride[1] + 1;
            let dy = values(n * groups * k * oh * ow, 6);
            let mut y: Vec<(f64, f64)> = (0..dy.len())
                .map(|i| {
                    let b = f64::from(bias[i / (oh * ow) % (groups * k)]);
                    (b, b.abs())
                })
                .collect();
            let mut dx = vec![(0.0, 0.0); x.len()];
            let mut dw = vec![(0.0, 0.0); weight.len()];
            for image in 0..n {
                for g in 0..groups {
                    for ko in 0..k {
                        for i in 0..oh {
                            for j in 0..ow {
                                for ci in 0..c {
                                    for ri in 0..r {
                                        for si in 0..s {
                                            let (py, px) =
                                                (i * stride[0] + ri * dilation[0], j * stride[1] + si * dilation[1]);
                                            if py < padding[0]
                                                || px < padding[1]
                                                || py - padding[0] >= h
                                                || px - padding[1] >= w
                                            {
                                                continue;
                                            }
                                            let xi =
                                                ((image * groups + g) * c + ci) * h * w + (py - padding[0]) * w + px
                                                    - padding[1];
                                            let wi = ((g * k + ko) * c + ci) * r * s + ri * s + si;
                                            let yi = (((image * groups + g) * k + ko) * oh + i) * ow + j;
                                            for (sum, p, q) in [
                                                (&mut y[yi], x[xi], weight[wi]),
                                                (&mut dx[xi], dy[yi], weight[wi]),
                                                (&mut dw[wi], dy[yi], x[xi]),
                                            ] {
                                                let term = f64::from(p) * f64::from(q);
                                                *sum = (sum.0 + term, sum.1 + term.abs());
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            let what = format!("{n}x{groups}x{c}x{h}x{w} {k}x{r}x{s} {options:?}");
            let xt = Tensor::from_slice(&device, [n, groups * c, h, w], &x).unwrap();
            let wt = Tensor::from_slice(&device, [groups * k, c, r, s], &weight).unwrap();
            let bt = Tensor::from_slice(&device, [groups * k], &bias).unwrap();
            let yt = xt.conv2d(&wt, Some(&bt), options).unwrap();
            assert_eq!(yt.dims::<4>().unwrap(), [n, groups * k, oh, ow]);
            check(&format!("forward {what}"), &yt.to_vec::<f32>().unwrap(), &y, c * r * s + 1);
            let dyt = Tensor::from_slice(&device, [n, groups * k, oh, ow], &dy).unwrap();
            let dxt = conv2d_input_grad(&dyt, &wt, xt.shape(), &options).unwrap();
            check(&format!("data gradient {what}"), &dxt.to_vec::<f32>().unwrap(), &dx, k * r * s);
            let dwt = conv2d_weight_grad(&xt, &dyt, wt.shape(), &options).unwrap();
            check(&format!("weight gradient {what}"), &dwt.to_vec::<f32>().unwrap(), &dw, n * oh * ow);
        }
    }
}
