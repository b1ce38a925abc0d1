//! Batch norm.

use super::Array;

/// Elements of each channel of `[batch, channels, ..]`.
fn by_channel(x: &Array) -> Vec<Vec<f64>> {
    let channels = x.shape[1];
    let plane = x.shape[2..].iter().product::<usize>();
    let mut found = vec![Vec::new(); channels];
    for (at, &value) in x.data.iter().enumerate() {
        found[at / plane % channels].push(value);
    }
    found
}

/// Mean and variance (over n) of each channel.
pub fn moments(x: &Array) -> (Array, Array) {
    let of = |values: &Vec<f64>| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count)
    };
    let (mean, var): (Vec<f64>, Vec<f64>) = by_channel(x).iter().map(of).unzip();
    (Array::new(&[mean.len()], mean), Array::new(&[var.len()], var))
}

/// A vector of the channels as `[channels, 1, ..]`, which broadcasts to `x`.
fn along(vector: &Array, x: &Array) -> Array {
    let mut shape = vec![1; x.rank() - 1];
    shape[0] = vector.numel();
    Array::new(&shape, vector.data.clone())
}

/// `(x - mean) / sqrt(var + eps) weight + bias`.
pub fn batch_norm(x: &Array, mean: &Array, var: &Array, weight: &Array, bias: &Array, eps: f64) -> Array {
    let scale = var.map(|v| 1.0 / (v + eps).sqrt()).zip(weight, |s, w| s * w);
    x.zip(&along(mean, x), |x, m| x - m).zip(&along(&scale, x), |d, s| d * s).zip(&along(bias, x), |y, b| y + b)
}

/// What a result of [`batch_norm`] is rounded relative to: `(|x| + |mean|) |scale| + |bias|`.
pub fn batch_norm_size(x: &Array, mean: &Array, var: &Array, weight: &Array, bias: &Array, eps: f64) -> Array {
    batch_norm(&x.abs(), &mean.map(|m| -m.abs()), var, &weight.abs(), &bias.abs(), eps)
}

/// The gradients of x, weight and bias, by the batch's own statistics or by given ones.
pub fn batch_norm_grad(x: &Array, dy: &Array, given: Option<(&Array, &Array)>, weight: &Array, eps: f64) -> [Array; 3] {
    let own = moments(x);
    let (mean, var) = given.unwrap_or((&own.0, &own.1));
    let unit = |vector: &Array, value| Array::full(&vector.shape, value);
    let h = batch_norm(x, mean, var, &unit(mean, 1.0), &unit(mean, 0.0), eps);
    let sum = |x: &Array| {
        let sums: Vec<f64> = by_channel(x).iter().map(|values| values.iter().sum()).collect();
        Array::new(&[sums.len()], sums)
    };
    let (dbias, dweight) = (sum(dy), sum(&dy.zip(&h, |d, h| d * h)));
    let count = (x.numel() / mean.numel()) as f64;
    let scale = along(&var.map(|v| 1.0 / (v + eps).sqrt()).zip(weight, |s, w| s * w), x);
    let inner = match given {
        Some(_) => dy.clone(),
        None => {
            let away = along(&dbias, x).zip(&h.zip(&along(&dweight, x), |h, w| h * w), |b, w| (b + w) / count);
            dy.zip(&away, |d, a| d - a)
        }
    };
    [inner.zip(&scale, |d, s| d * s), dweight, dbias]
}
