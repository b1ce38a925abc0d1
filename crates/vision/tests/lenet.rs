//! LeNet-5: its names, its size and its errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_autograd::Tape;
use kiln_nn::{Init, Module};
use kiln_tensor::{AdapterInfo, DType, Device, Tensor};
use kiln_vision::{Model, lenet5};

#[test]
fn parameters_have_torchvisions_form_of_names() {
    let device = Device::shapes_only(AdapterInfo::software());
    let model = lenet5(&device, Init::seed(42), 10).unwrap();
    let shapes: Vec<(String, Vec<usize>)> =
        model.parameters().iter().map(|(name, p)| (name.to_string(), p.shape().to_vec())).collect();
    let expected: [(&str, &[usize]); 10] = [
        ("features.0.weight", &[6, 1, 5, 5]),
        ("features.0.bias", &[6]),
        ("features.3.weight", &[16, 6, 5, 5]),
        ("features.3.bias", &[16]),
        ("classifier.0.weight", &[120, 400]),
        ("classifier.0.bias", &[120]),
        ("classifier.2.weight", &[84, 120]),
        ("classifier.2.bias", &[84]),
        ("classifier.4.weight", &[10, 84]),
        ("classifier.4.bias", &[10]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_string(), shape.to_vec())));
    assert_eq!(model.num_parameters(), 61_706);
}

#[test]
fn first_values_follow_from_the_seed() {
    let device = Device::open_default().unwrap();
    let values = |seed| {
        let model = lenet5(&device, Init::seed(seed), 10).unwrap();
        model.parameters().into_iter().map(|(name, p)| (name, p.value().to_vec::<f32>().unwrap())).collect::<Vec<_>>()
    };
    let first = values(1);
    assert_eq!(first, values(1));
    for ((name, values), (_, other)) in first.iter().zip(&values(2)) {
        assert_ne!(values, other, "{name}");
    }
}

#[test]
fn models_are_found_by_name() {
    let mut names: Vec<&str> = Model::ALL.iter().map(|model| model.name).collect();
    for description in Model::ALL {
        assert_eq!(Model::find(description.name).unwrap().about, description.about);
    }
    names.sort();
    names.dedup();
    assert_eq!(names, Model::ALL.iter().map(|model| model.name).collect::<Vec<_>>());
}

#[test]
fn wrong_input_is_told_with_the_layer() {
    let device = Device::shapes_only(AdapterInfo::software());
    assert_eq!(lenet5(&device, Init::seed(1), 0).unwrap_err().to_string(), "lenet5: classes = 0; pass at least 1");
    let model = lenet5(&device, Init::seed(1), 10).unwrap();
    let told = |shape: [usize; 4]| {
        let images = Tape::eval().constant(Tensor::zeros(&device, shape, DType::F32).unwrap());
        model.forward(&images).unwrap_err().to_string()
    };
    let channels = told([1, 3, 28, 28]);
    assert!(channels.starts_with("features.0: conv2d: "), "{channels}");
    let size = told([1, 1, 32, 32]);
    assert!(size.starts_with("classifier.0: linear_relu: "), "{size}");
}
