//! Anomaly mode and the summary: what they say of a network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::{Tape, Var};
use kiln_nn::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, BatchNorm2d, Build, Conv2d, Flatten, Init, LeakyReLU, Linear,
    LocalResponseNorm, MaxPool2d, Module, PReLU, ReLU, Result, Sequential, Upsample, Visitor, summary,
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
            y.sum(..).unwrap().backward()
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

#[test]
fn a_summary_counts_each_kind_of_layer() {
    let device = device();
    fn of(device: &Device, layer: impl Build + 'static) -> Sequential {
        Sequential::builder().layer(layer).build(device, &Init::seed(1)).unwrap()
    }
    // Of [2, 4, 6, 5]: 240 elements.
    let relu = Sequential::builder().layer(BatchNorm2d::builder(4)).layer(ReLU);
    let pooled = Sequential::builder().layer(ReLU).layer(MaxPool2d::new(2));
    let cases = [
        ("batch norm", of(&device, BatchNorm2d::builder(4)), 8, 2 * 240),
        ("batch norm and ReLU", of(&device, relu), 8, 3 * 240),
        // The ReLU stands in front of the pooling, which looks at each element once.
        ("ReLU and max pooling", of(&device, pooled), 0, 240 + 240),
        ("response norm", of(&device, LocalResponseNorm::new(5)), 0, 7 * 240),
        // Rows 0..2, 1..3, 3..5 and 4..6 of 6; columns 0..3 and 2..5 of 5.
        ("adaptive mean", of(&device, AdaptiveAvgPool2d::new([4, 2])), 0, 2 * 4 * (2 + 2 + 2 + 2) * (3 + 3)),
        ("adaptive maximum", of(&device, AdaptiveMaxPool2d::new([3, 5])), 0, 240),
        ("adaptive mean of that size", of(&device, AdaptiveAvgPool2d::new([6, 5])), 0, 0),
        ("PReLU", of(&device, PReLU::builder().num_parameters(4)), 4, 240),
        ("leaky ReLU", of(&device, LeakyReLU::default()), 0, 240),
        ("nearest", of(&device, Upsample::scale_factor(2.0)), 0, 0),
        ("bilinear", of(&device, Upsample::size([3, 4]).bilinear(true)), 0, 9 * 2 * 4 * 12),
    ];
    for (name, model, parameters, flops) in cases {
        let found = summary(&model, &device, [2, 4, 6, 5]).unwrap();
        assert_eq!((found.parameters, found.flops), (parameters, flops), "{name}");
    }
}
