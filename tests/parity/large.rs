//! More than 65,535 workgroups, and operands larger than the largest binding: one case for each kernel loop, not for each
//! op, since they take long. (The rows' tight cases take every op through the parts of an operand that is too large.)
//!
//! A workgroup makes 1,024 elements of a contiguous f32 tensor, so 65,536 of them would be 268 MB, more than most adapters
//! bind: `arange`, random numbers, dropout, `normalize_image` and the optimizers never get there on such an adapter. Bytes do.

use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_input_grad, conv2d_weight_grad};
use kiln_tensor::ops::image::{ADJUST_LEN, ImageMix};
use kiln_tensor::ops::loss::{self, cross_entropy_grad};
use kiln_tensor::ops::pool::{self, AvgPool2dOptions, MaxPool2dOptions};
use kiln_tensor::{DType, Device, Tensor};

use crate::run::devices;

/// Compares without a copy in f64 of millions of elements.
fn assert_each<T: PartialEq + std::fmt::Debug + Copy>(what: &str, got: &[T], want: impl Fn(usize) -> T) {
    for (i, &got) in got.iter().enumerate() {
        let want = want(i);
        assert!(got == want, "{what}: element {i} is {got:?}, should be {want:?}");
    }
}

/// A value for an index: small whole numbers, of which f32 makes exact sums and products.
fn value(i: usize) -> f32 {
    (i.wrapping_mul(2_654_435_761) >> 7) as u32 as f32 % 251.0 - 125.0
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(value).collect()
}

#[test]
fn elementwise_beyond_65535_workgroups() {
    let device = &devices().whole;
    let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as u8;
    let count = 65_536 * 1024 + 1021;
    let bytes: Vec<u8> = (0..count).map(byte).collect();
    let x = Tensor::from_slice(device, [count], &bytes).unwrap();
    let y = x.mul_scalar(3.0).unwrap().to_vec::<u8>().unwrap();
    assert_each("flat", &y, |i| byte(i).wrapping_mul(3));
    // Odd sizes: one element a thread, 256 threads a workgroup.
    let side = 4099;
    let x = x.narrow(0, 0, side * side).unwrap().reshape([side, side]).unwrap();
    let y = x.t().unwrap().contiguous().unwrap().to_vec::<u8>().unwrap();
    assert_each("strided", &y, |i| byte(i % side * side + i / side));
}

#[test]
fn images_beyond_65535_workgroups() {
    // 256 pixels a workgroup.
    let device = &devices().whole;
    let byte = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) as u8;
    let (height, width) = (4097, 4099);
    let bytes: Vec<u8> = (0..height * width).map(byte).collect();
    let x = Tensor::from_slice(device, [1, 1, height, width], &bytes).unwrap();
    let adjust = Tensor::zeros(device, [1, ADJUST_LEN], DType::F32).unwrap();
    let y = x.augment_image(&adjust, &ImageMix::NONE, &[0.0], &[1.0]).unwrap().to_vec::<f32>().unwrap();
    for (i, &y) in y.iter().enumerate() {
        assert!((y - f32::from(byte(i)) / 255.0).abs() < 1e-6, "augment_image: element {i} is {y}");
    }
}

#[test]
fn products_beyond_65535_workgroups() {
    // A row of 32 or 64 columns a workgroup: both tile loops.
    for device in [&devices().whole, &devices().minimal] {
        let columns = 65_536 * 64 + 33;
        let x = Tensor::from_slice(device, [1, columns], &values(columns)).unwrap();
        let three = Tensor::full(device, [1, 1], 3.0, DType::F32).unwrap();
        assert_each("matmul", &three.matmul(&x).unwrap().to_vec::<f32>().unwrap(), |i| 3.0 * value(i));
    }
    let device = &devices().whole;
    let (height, width) = (2049, 2051);
    let x = Tensor::from_slice(device, [1, 1, height, width], &values(height * width)).unwrap();
    let (weight, bias) = (Tensor::full(device, [1, 1, 1, 1], 3.0, DType::F32), Tensor::ones(device, [1], DType::F32));
    let (weight, bias, options) = (weight.unwrap(), bias.unwrap(), Conv2dOptions::default());
    let y = x.conv2d(&weight, Some(&bias), options).unwrap();
    assert_each("conv2d", &y.to_vec::<f32>().unwrap(), |i| 3.0 * value(i) + 1.0);
    let dx = conv2d_input_grad(&x, &weight, x.shape(), &options).unwrap();
    assert_each("conv2d_input_grad", &dx.to_vec::<f32>().unwrap(), |i| 3.0 * value(i));
    let dy: Vec<f32> = (0..height * width).map(|i| value(i + 12_345)).collect();
    let terms = || (0..height * width).map(|i| f64::from(value(i)) * f64::from(dy[i]));
    let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
    let dy = Tensor::from_slice(device, x.shape(), &dy).unwrap();
    let dw = f64::from(conv2d_weight_grad(&x, &dy, [1, 1, 1, 1], &options).unwrap().item::<f32>().unwrap());
    let bound = 2.0 * ((height * width) as f64).sqrt() * f64::from(f32::EPSILON) * size;
    assert!((dw - sum).abs() <= bound, "conv2d_weight_grad: {dw}, should be {sum}");
}

#[test]
fn windows_and_rows_beyond_65535_workgroups() {
    let device = &devices().whole;
    // 64 results a workgroup.
    let side = 2049;
    let x = Tensor::from_slice(device, [1, 1, side, side], &values(side * side)).unwrap();
    let options = MaxPool2dOptions::new([1, 1]);
    let max = pool::max_pool2d(&x, &options).unwrap();
    assert_each("max_pool2d", &max.values.to_vec::<f32>().unwrap(), value);
    assert_each("max_pool2d indices", &max.indices.to_vec::<i32>().unwrap(), |i| i as i32);
    let dx = pool::max_pool2d_grad(&x, &max.indices, x.shape(), &options).unwrap();
    assert_each("max_pool2d_grad", &dx.to_vec::<f32>().unwrap(), value);
    let options = AvgPool2dOptions::new([1, 1]);
    assert_each("avg_pool2d", &x.avg_pool2d(options).unwrap().to_vec::<f32>().unwrap(), value);
    let dx = pool::avg_pool2d_grad(&x, x.shape(), &options).unwrap();
    assert_each("avg_pool2d_grad", &dx.to_vec::<f32>().unwrap(), value);

    let rows = side * side;
    let x = Tensor::from_slice(device, [rows, 2], &values(2 * rows)).unwrap();
    let pair = |row: usize| (value(2 * row), value(2 * row + 1));
    assert_each("sum", &x.sum(1).unwrap().to_vec::<f32>().unwrap(), |i| pair(i).0 + pair(i).1);
    assert_each("argmax", &x.argmax(1).unwrap().to_vec::<i32>().unwrap(), |i| i32::from(pair(i).1 > pair(i).0));
    let share = |row: usize| 1.0 / (1.0 + f64::from(pair(row).1 - pair(row).0).exp());
    let y = x.softmax(1).unwrap().to_vec::<f32>().unwrap();
    for row in 0..rows {
        assert!((f64::from(y[2 * row]) - share(row)).abs() < 1e-6, "softmax: row {row} is {}", y[2 * row]);
    }
    let targets = Tensor::zeros(device, [rows], DType::U8).unwrap();
    let forward = loss::cross_entropy(&x, &targets).unwrap();
    let mean = (0..rows).map(|row| {
        let (a, b) = (f64::from(pair(row).0), f64::from(pair(row).1));
        a.max(b) + (1.0 + (-(a - b).abs()).exp()).ln() - a
    });
    let (mean, loss) = (mean.sum::<f64>() / rows as f64, f64::from(forward.loss.item::<f32>().unwrap()));
    assert!((loss - mean).abs() < 1e-5 * mean, "cross_entropy: {loss}, should be {mean}");
    let one = Tensor::full(device, (), rows as f64, DType::F32).unwrap();
    let dx = cross_entropy_grad(&x, &targets, &forward.stats, &one).unwrap().to_vec::<f32>().unwrap();
    for row in 0..rows {
        let found = f64::from(dx[2 * row]);
        assert!((found - (share(row) - 1.0)).abs() < 1e-4, "cross_entropy_grad: row {row} is {found}");
    }
}

/// A matrix larger than the largest binding, as AlexNet's first fully connected layer has: `row / 4096 - column / 9216`.
fn large_matrix(device: &Device) -> (Tensor, impl Fn(usize, usize) -> f32) {
    let (rows, columns) = (4096, 9216);
    let range = |count: usize| Tensor::arange(device, 0.0, count as f64, 1.0, DType::F32).unwrap();
    let row = range(rows).mul_scalar(1.0 / rows as f64).unwrap().reshape([rows, 1]).unwrap();
    let column = range(columns).mul_scalar(1.0 / columns as f64).unwrap();
    let at = move |r: usize, c: usize| r as f32 * (1.0 / rows as f32) - c as f32 * (1.0 / columns as f64) as f32;
    (row.sub(&column).unwrap(), at)
}

#[test]
fn larger_than_a_binding() {
    let device = &devices().whole;
    let (weight, at) = large_matrix(device);
    let [rows, columns] = weight.dims().unwrap();
    assert!((rows * columns * 4) as u64 > 1 << 27, "larger than what the weakest adapters bind");
    let eps = f64::from(f32::EPSILON);
    // The elementwise loop made it; here every element is seen once.
    let read = weight.to_vec::<f32>().unwrap();
    for (i, &got) in read.iter().enumerate() {
        let want = at(i / columns, i % columns);
        assert!((got - want).abs() <= 1.2e-7, "sub: element {i} is {got}, should be {want}");
    }
    let exact = |r: usize, c: usize| f64::from(read[r * columns + c]);

    let sums = weight.sum(1).unwrap().to_vec::<f32>().unwrap();
    for (r, &got) in sums.iter().enumerate() {
        let (sum, size) = (0..columns).fold((0.0, 0.0), |(s, a), c| (s + exact(r, c), a + exact(r, c).abs()));
        let bound = 4.0 * (columns as f64).log2() * eps * size;
        assert!((f64::from(got) - sum).abs() <= bound, "sum: row {r} is {got}, should be {sum}");
    }
    assert_eq!(weight.argmax(..).unwrap().item::<i32>().unwrap(), ((rows - 1) * columns) as i32);
    assert_eq!(weight.min(..).unwrap().item::<f32>().unwrap(), read[columns - 1]);

    let x = Tensor::from_slice(device, [2, columns], &values(2 * columns)).unwrap();
    let bias = Tensor::ones(device, [rows], DType::F32).unwrap();
    let products = [x.matmul(&weight.t().unwrap()).unwrap(), x.linear(&weight, Some(&bias)).unwrap()];
    for (extra, product) in [0.0, 1.0].into_iter().zip(products) {
        for (i, &got) in product.to_vec::<f32>().unwrap().iter().enumerate() {
            let (m, r) = (i / rows, i % rows);
            let terms = (0..columns).map(|c| f64::from(value(m * columns + c)) * exact(r, c));
            let (sum, size) = terms.fold((extra, extra), |(s, a), term| (s + term, a + term.abs()));
            let bound = 2.0 * (columns as f64).sqrt() * eps * size;
            assert!((f64::from(got) - sum).abs() <= bound, "product: element {i} is {got}, should be {sum}");
        }
    }
}

#[test]
fn images_larger_than_a_binding() {
    let device = &devices().whole;
    let (n, side, stride) = (5, 2622, 41);
    let out = (side - 3) / stride + 1;
    assert!((n * side * side * 4) as u64 > 1 << 27, "larger than what the weakest adapters bind");
    let x = Tensor::from_slice(device, [n, 1, side, side], &values(n * side * side)).unwrap();
    let weight: Vec<f32> = (1..=9).map(|v| v as f32).collect();
    let options = Conv2dOptions { stride: [stride; 2], ..Conv2dOptions::default() };
    let w = Tensor::from_slice(device, [1, 1, 3, 3], &weight).unwrap();
    // Where tap `t` of window `i` lies.
    let pixel = |i: usize, t: usize| {
        let (image, row, column) = (i / (out * out), i / out % out, i % out);
        (image * side + row * stride + t / 3) * side + column * stride + t % 3
    };
    let y = x.conv2d(&w, None, options).unwrap();
    assert_each("conv2d", &y.to_vec::<f32>().unwrap(), |i| (0..9).map(|t| weight[t] * value(pixel(i, t))).sum());
    let dy = Tensor::ones(device, y.shape(), DType::F32).unwrap();
    let dw = conv2d_weight_grad(&x, &dy, [1, 1, 3, 3], &options).unwrap().to_vec::<f32>().unwrap();
    assert_each("conv2d_weight_grad", &dw, |t| (0..n * out * out).map(|i| value(pixel(i, t))).sum());
    let dx = conv2d_input_grad(&dy, &w, x.shape(), &options).unwrap().to_vec::<f32>().unwrap();
    let mut want = vec![0.0_f32; n * side * side];
    for i in 0..n * out * out {
        (0..9).for_each(|t| want[pixel(i, t)] = weight[t]);
    }
    assert_each("conv2d_input_grad", &dx, |i| want[i]);
}
