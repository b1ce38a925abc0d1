//! First values: their bounds, their moments, and that each parameter has its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_nn::{Build, Conv2d, Fan, Init, Initializer, Linear, Module, Nonlinearity, ReLU, Sequential};
use kiln_tensor::{Device, Tensor};

fn device() -> Device {
    Device::open_default().unwrap()
}

/// Values of a weight `[64, 32, 3, 3]`: fan_in 288, fan_out 576.
fn values(initializer: Initializer) -> Vec<f64> {
    let random = Init::seed(42).random("weight");
    let tensor = initializer.tensor(&device(), [64, 32, 3, 3], random).unwrap();
    tensor.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// 18,432 numbers: the mean's own deviation is `std / 136`, the deviation's `std / 192`. Five of them are allowed.
fn check_moments(values: &[f64], mean: f64, std: f64, what: &str) {
    let n = values.len() as f64;
    let found = values.iter().sum::<f64>() / n;
    let spread = (values.iter().map(|value| (value - found).powi(2)).sum::<f64>() / n).sqrt();
    assert!((found - mean).abs() < 5.0 * std / 136.0, "{what}: mean {found}, should be {mean}");
    assert!((spread - std).abs() < 5.0 * std / 192.0, "{what}: deviation {spread}, should be {std}");
}

#[test]
fn uniform_ones_fill_their_bounds() {
    let relu = Nonlinearity::Relu;
    let cases = [
        ("kaiming in", Initializer::KaimingUniform { fan: Fan::In, nonlinearity: relu }, (6.0f64 / 288.0).sqrt()),
        ("kaiming out", Initializer::KaimingUniform { fan: Fan::Out, nonlinearity: relu }, (6.0f64 / 576.0).sqrt()),
        ("xavier", Initializer::XavierUniform { gain: 1.0 }, (6.0f64 / 864.0).sqrt()),
        (
            "xavier tanh",
            Initializer::XavierUniform { gain: Nonlinearity::Tanh.gain() },
            5.0 / 3.0 * (6.0f64 / 864.0).sqrt(),
        ),
        ("pytorch weight", Initializer::PYTORCH_WEIGHT, (1.0f64 / 288.0).sqrt()),
        ("pytorch bias", Initializer::pytorch_bias([64, 32, 3, 3]).unwrap(), (1.0f64 / 288.0).sqrt()),
    ];
    for (what, initializer, bound) in cases {
        let values = values(initializer);
        let (low, high) = values.iter().fold((0.0f64, 0.0f64), |(low, high), &v| (low.min(v), high.max(v)));
        // Each bound is reached to one part in a thousand, with a chance of 1 in 10,000 to miss it; the seed is fixed.
        assert!(-bound * 1.000001 <= low && low < -0.999 * bound, "{what}: {low}, bound {bound}");
        assert!(0.999 * bound < high && high <= bound * 1.000001, "{what}: {high}, bound {bound}");
        check_moments(&values, 0.0, bound / 3f64.sqrt(), what);
    }
}

#[test]
fn normal_ones_have_their_moments() {
    let leaky = Nonlinearity::LeakyRelu(0.1);
    let cases = [
        (
            "kaiming in",
            Initializer::KaimingNormal { fan: Fan::In, nonlinearity: leaky },
            (2.0f64 / 1.01 / 288.0).sqrt(),
        ),
        (
            "kaiming out",
            Initializer::KaimingNormal { fan: Fan::Out, nonlinearity: leaky },
            (2.0f64 / 1.01 / 576.0).sqrt(),
        ),
        ("xavier", Initializer::XavierNormal { gain: 2.0 }, 2.0 * (2.0f64 / 864.0).sqrt()),
        ("normal", Initializer::Normal { mean: 3.0, std: 0.5 }, 0.5),
    ];
    for (what, initializer, std) in cases {
        let mean = if what == "normal" { 3.0 } else { 0.0 };
        check_moments(&values(initializer), mean, std, what);
    }
}

#[test]
fn constants_are_constant() {
    for (initializer, expected) in
        [(Initializer::ZEROS, 0.0), (Initializer::ONES, 1.0), (Initializer::Constant(-2.5), -2.5)]
    {
        assert!(values(initializer).iter().all(|&value| value == expected));
    }
}

#[test]
fn gains_are_those_of_pytorch() {
    let gains = [
        (Nonlinearity::Linear, 1.0),
        (Nonlinearity::Sigmoid, 1.0),
        (Nonlinearity::Tanh, 5.0 / 3.0),
        (Nonlinearity::Relu, 2f64.sqrt()),
        (Nonlinearity::LeakyRelu(1.0), 1.0),
    ];
    for (nonlinearity, gain) in gains {
        assert!((nonlinearity.gain() - gain).abs() < 1e-15, "{nonlinearity:?}");
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_layers_values_depend_on_its_name_and_the_seed_alone() {
    let device = device();
    let layer = || Linear::builder(30, 20);
    let alone = layer().build(&device, &Init::seed(42).child("head").child("2")).unwrap();
    let crowd = Sequential::builder()
        .layer(Conv2d::builder(3, 8, 3))
        .layer(ReLU)
        .layer(layer())
        .layer(layer())
        .build(&device, &Init::seed(42).child("head"))
        .unwrap();
    let parameters = crowd.parameters();
    for name in ["weight", "bias"] {
        let value = |name: &str| bits(&parameters.get(name).unwrap().value());
        let expected = if name == "weight" { alone.weight() } else { alone.bias().unwrap() };
        assert_eq!(value(&format!("2.{name}")), bits(&expected.value()), "{name} depends on other layers");
        assert_ne!(value(&format!("3.{name}")), bits(&expected.value()), "{name} does not depend on its name");
    }
    let other_seed = layer().build(&device, &Init::seed(43).child("head").child("2")).unwrap();
    assert_ne!(bits(&other_seed.weight().value()), bits(&alone.weight().value()));
}

#[test]
fn wrong_arguments_are_told() {
    let device = device();
    let random = Init::seed(1).random("x");
    let told =
        |initializer: Initializer, shape: &[usize]| initializer.tensor(&device, shape, random).unwrap_err().to_string();
    assert_eq!(
        told(Initializer::PYTORCH_WEIGHT, &[8]),
        "Initializer: shape [8] has no fans; needs [out, in, ...] without an axis of 0: use Uniform, Normal or Constant"
    );
    assert_eq!(
        told(Initializer::XavierNormal { gain: 1.0 }, &[8, 0, 3]),
        "Initializer: shape [8, 0, 3] has no fans; needs [out, in, ...] without an axis of 0: use Uniform, Normal or Constant"
    );
    assert_eq!(
        told(Initializer::Uniform { low: f64::NAN, high: 1.0 }, &[8]),
        "Initializer: Uniform { low: NaN, high: 1.0 } is not finite; pass finite numbers"
    );
}
