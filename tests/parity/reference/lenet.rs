//! LeNet-5 on 28 x 28 images, forward and backward by hand.

use std::collections::BTreeMap;

use super::Array;
use super::conv::{Conv2d, conv2d, conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad};
use super::matmul::matmul;
use super::movement::{reshape, transpose};
use super::pointwise::{add, relu};
use super::pool::{Pool2d, max_pool2d, max_pool2d_grad};
use super::reduce::{cross_entropy, cross_entropy_grad, sum};

/// Parameters by name: `features.{0,3}` are the convolutions, `classifier.{0,2,4}` the fully connected layers.
pub type Parameters = BTreeMap<String, Array>;

/// Padding of the first and second convolution.
const CONVOLUTIONS: [(&str, usize); 2] = [("features.0", 2), ("features.3", 0)];
const LINEARS: [&str; 3] = ["classifier.0", "classifier.2", "classifier.4"];

/// What one forward pass computed, for the walk back.
pub struct Forward {
    pub logits: Array,
    /// Input of each convolution, and its output before and after ReLU.
    convolutions: Vec<[Array; 3]>,
    /// Input of each linear layer and its output before ReLU.
    linears: Vec<[Array; 2]>,
}

fn convolution(padding: usize) -> Conv2d {
    Conv2d { padding: [padding; 2], ..Conv2d::default() }
}

/// `images` is `[n, 1, 28, 28]`.
pub fn forward(parameters: &Parameters, images: &Array) -> Forward {
    let get = |layer: &str, kind: &str| &parameters[&format!("{layer}.{kind}")];
    let mut x = images.clone();
    let (mut convolutions, mut linears) = (Vec::new(), Vec::new());
    for (layer, padding) in CONVOLUTIONS {
        let y = conv2d(&x, get(layer, "weight"), Some(get(layer, "bias")), convolution(padding));
        let active = relu(&y);
        let pooled = max_pool2d(&active, Pool2d::square(2));
        convolutions.push([std::mem::replace(&mut x, pooled), y, active]);
    }
    x = reshape(&x, &[images.shape[0], 400]);
    for layer in LINEARS {
        let y = add(&matmul(&x, &transpose(get(layer, "weight"), 0, 1)), get(layer, "bias"));
        let active = if layer == LINEARS[2] { y.clone() } else { relu(&y) };
        linears.push([std::mem::replace(&mut x, active), y]);
    }
    Forward { logits: x, convolutions, linears }
}

/// Gradients of the mean cross-entropy, by parameter name, and the loss.
pub fn gradients(parameters: &Parameters, images: &Array, targets: &[usize]) -> (f64, Parameters) {
    let pass = forward(parameters, images);
    let loss = cross_entropy(&pass.logits, targets).item();
    let mut grads = Parameters::new();
    let through_relu = |dy: &Array, before: &Array| dy.zip(before, |dy, x| if x > 0.0 { dy } else { 0.0 });
    let mut dy = cross_entropy_grad(&pass.logits, targets, 1.0);
    for (layer, [x, y]) in LINEARS.iter().zip(&pass.linears).rev() {
        if *layer != LINEARS[2] {
            dy = through_relu(&dy, y);
        }
        grads.insert(format!("{layer}.weight"), matmul(&transpose(&dy, 0, 1), x));
        grads.insert(format!("{layer}.bias"), sum(&dy, &[0], false));
        dy = matmul(&dy, &parameters[&format!("{layer}.weight")]);
    }
    dy = reshape(&dy, &[images.shape[0], 16, 5, 5]);
    for ((layer, padding), [x, y, active]) in CONVOLUTIONS.iter().zip(&pass.convolutions).rev() {
        let weight = &parameters[&format!("{layer}.weight")];
        dy = through_relu(&max_pool2d_grad(active, &dy, Pool2d::square(2)), y);
        grads.insert(format!("{layer}.weight"), conv2d_weight_grad(x, &dy, &weight.shape, convolution(*padding)));
        grads.insert(format!("{layer}.bias"), conv2d_bias_grad(&dy));
        dy = conv2d_input_grad(&dy, weight, &x.shape, convolution(*padding));
    }
    (loss, grads)
}
