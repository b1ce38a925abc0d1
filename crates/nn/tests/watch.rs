//! Anomaly mode and the summary: what they say of a network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::{Tape, Var};
use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Init, Linear, MaxPool2d, Module, ReLU, Result, Sequential,
    Visitor, summary,
};
use kiln_tensor::{DType, Device, Tensor};

fn device() -> Device {
    Device::open_default().unwrap()
}

/// A layer that computes this.
struct Planted(fn(&Var) -> kiln_autograd::Result<Var>);

impl Module for Planted {
    fn forward(&self, x: &Var) -> Result<Var> {
        Ok((self.0)(x)?)
    }

    fn visit(&self, _: &mut Visitor<'_>) {}
}

fn network(device: &Device, planted: fn(&Var) -> kiln_autograd::Result<Var>) -> Sequential {
    let first = Linear::new(device, &Init::seed(1).child("0"), 3, 4).unwrap();
    Sequential::of(vec![Box::new(first), Box::new(Planted(planted))])
}

#[test]
fn the_first_result_that_is_not_finite_is_named() {
    type Case = (fn(&Var) -> kiln_autograd::Result<Var>, &'static str);
    let device = device();
    let cases: [Case; 7] = [
        (|x| x.square()?.neg()?.log(), "log in layer net.1: the result f32 [2, 4] has NaN; the inputs are f32 [2, 4]"),
        (
            |x| x.mul_scalar(0.0)?.log(),
            "log in layer net.1: the result f32 [2, 4] has an infinity; the inputs are f32 [2, 4]",
        ),
        (
            |x| x.square()?.neg()?.sqrt(),
            "sqrt in layer net.1: the result f32 [2, 4] has NaN; the inputs are f32 [2, 4]",
        ),
        (
            |x| x.div(&x.sub(x)?),
            "div in layer net.1: the result f32 [2, 4] has an infinity; the inputs are f32 [2, 4], f32 [2, 4]",
        ),
        (
            |x| x.mul_scalar(0.0)?.add_scalar(200.0)?.exp(),
            "exp in layer net.1: the result f32 [2, 4] has an infinity; the inputs are f32 [2, 4]",
        ),
        (
            |x| x.mul_scalar(0.0)?.reciprocal(),
            "reciprocal in layer net.1: the result f32 [2, 4] has an infinity; the inputs are f32 [2, 4]",
        ),
        (
            |x| {
                let spoilt = Tensor::full(x.device(), [4], f64::NAN, DType::F32)?;
                x.mul(&x.tape().constant(spoilt))
            },
            "mul in layer net.1: the result f32 [2, 4] has NaN; the inputs are f32 [2, 4], f32 [4]; input 1 has NaN already",
        ),
    ];
    for (planted, message) in cases {
        let model = network(&device, planted);
        let x = Tensor::from_slice(&device, [2, 3], &[0.1f32, 0.2, 0.3, -0.4, 0.5, 0.6]).unwrap();
        // Without the mode, nothing is said.
        model.forward(&Tape::train().constant(x.clone())).unwrap();
        let told = model.forward_as("net", &Tape::train().detect_anomaly().constant(x)).unwrap_err().to_string();
        assert!(told.ends_with(message), "{told}\n{message}");
    }
}

#[test]
fn the_first_gradient_that_is_not_finite_is_named() {
    type Case = (fn(&Var) -> kiln_autograd::Result<Var>, &'static str);
    let device = device();
    let cases: [Case; 3] = [
        (
            |x| x.mul_scalar(0.0)?.sqrt(),
            "sqrt in layer net.1: the gradient of input 0, f32 [2, 4], has an infinity; the inputs are f32 [2, 4]",
        ),
        (
            |x| x.mul_scalar(0.0)?.pow_scalar(0.5),
            "pow_scalar in layer net.1: the gradient of input 0, f32 [2, 4], has an infinity; the inputs are f32 [2, 4]",
        ),
        (
            |x| {
                let huge = Tensor::full(x.device(), (), 1e30, DType::F32)?;
                x.mul_scalar(0.0)?.mul(&x.tape().constant(huge.clone()))?.mul(&x.tape().constant(huge))
            },
            "mul in layer net.1: the gradient of input 0, f32 [2, 4], has an infinity; the inputs are f32 [2, 4], f32 []",
        ),
    ];
    for (planted, message) in cases {
        let model = network(&device, planted);
        let x = Tensor::from_slice(&device, [2, 3], &[0.1f32, 0.2, 0.3, -0.4, 0.5, 0.6]).unwrap();
        let run = |tape: Tape| {
            let y = model.forward_as("net", &tape.constant(x.clone())).unwrap();
            y.sum(&[], false).unwrap().backward()
        };
        run(Tape::train()).unwrap();
        assert_eq!(run(Tape::train().detect_anomaly()).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_summary_counts_layers() {
    let device = device();
    let model = Sequential::builder()
        .layer(Conv2d::builder(3, 8, 3).padding(1).groups(1).bias(false))
        .layer(BatchNorm2d::builder(8))
        .layer(ReLU)
        .layer(MaxPool2d::new(2))
        .layer(Sequential::builder().layer(AdaptiveAvgPool2d::new(2)).layer(Flatten).layer(Linear::builder(32, 10)))
        .build(&device, &Init::seed(1))
        .unwrap();
    model.freeze("1").unwrap();
    let found = summary(&model, &device, [2, 3, 16, 16]).unwrap();
    // The ReLU runs with the pooling behind it.
    let names: Vec<&str> = found.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["0", "1", "3", "4.0", "4.1", "4.2"]);
    let parameters: Vec<usize> = found.layers.iter().map(|layer| layer.parameters).collect();
    assert_eq!(parameters, [216, 16, 0, 0, 0, 330]);
    assert_eq!((found.parameters, found.trainable), (562, 546));
    assert_eq!(found.layers[0].flops, 2 * 2 * 8 * 256 * 27);
    assert_eq!(found.layers[5].flops, 2 * 2 * 32 * 10 + 20);
    assert_eq!((found.layers[2].input.dims(), found.layers[2].output.dims()), (&[2, 8, 16, 16][..], &[2, 8, 8, 8][..]));
    // Parameters, and the running statistics.
    assert_eq!(found.state_bytes, 4 * (562 + 16));
    let text = found.to_string();
    assert!(text.lines().next().unwrap().starts_with("layer  ops"), "{text}");
    assert!(text.contains("4.2    linear") && text.contains("parameters    562 (546 trainable)"), "{text}");
    // Nothing has changed, and a shape that does not fit is told with its layer.
    assert_eq!(found, summary(&model, &device, [2, 3, 16, 16]).unwrap());
    let told = summary(&model, &device, [2, 4, 16, 16]).unwrap_err().to_string();
    assert!(told.starts_with("0: conv2d: "), "{told}");
}
