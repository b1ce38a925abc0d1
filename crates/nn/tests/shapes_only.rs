//! Networks and training on a device without a GPU behind it.
#![allow(clippy::unwrap_used)]

use kiln_autograd::{Error as TapeError, Tape};
use kiln_nn::{
    AdamW, BatchNorm2d, Conv2d, Dropout, Ema, Error, Flatten, Init, Linear, MaxPool2d, Module, ReLU, Sequential, Sgd,
    StateDict, clip_grad_norm, clip_grad_value, summary,
};
use kiln_tensor::{AdapterInfo, DType, Device, Error as TensorError, Tensor};

fn network(device: &Device) -> Sequential {
    Sequential::builder()
        .layer(Conv2d::builder(3, 8, 3).padding(1))
        .layer(BatchNorm2d::builder(8))
        .layer(ReLU)
        .layer(MaxPool2d::new(2))
        .layer(Conv2d::builder(8, 8, 3).padding(1))
        .layer(ReLU)
        .layer(Flatten)
        .layer(Dropout::new(0.5).unwrap())
        .layer(Linear::builder(8 * 8 * 8, 10))
        .build(device, &Init::seed(1))
        .unwrap()
}

/// What is in use and how many launches there were after each part of two training steps.
fn train(device: &Device) -> Vec<(String, u64, u64)> {
    let mut seen = Vec::new();
    let mut look = || seen.push((device.memory().to_string(), device.memory().peak, device.launches()));
    let model = network(device);
    let mut ema = Ema::new(&model, 0.99).unwrap();
    let mut optim = AdamW::new(model.parameters(), 0.01);
    look();
    for step in 0..2 {
        let tape = Tape::train_seeded(step).detect_anomaly();
        let images = Tensor::from_slice(device, [4, 3, 16, 16], &[0.5f32; 4 * 3 * 256]).unwrap();
        let labels = Tensor::from_slice(device, [4], &[0i32, 1, 2, 3]).unwrap();
        let loss = model.forward(&tape.constant(images)).unwrap().cross_entropy(&labels).unwrap();
        look();
        let mut gradients = loss.backward().unwrap();
        look();
        clip_grad_norm(&model.parameters(), &mut gradients, 1.0, true).unwrap();
        clip_grad_value(&model.parameters(), &mut gradients, 0.1).unwrap();
        look();
        optim.step(&gradients).unwrap();
        ema.update(&model).unwrap();
        look();
    }
    seen
}

#[test]
fn a_step_holds_and_launches_what_it_does_on_the_adapter() {
    let device = Device::open_default().unwrap();
    let shapes = Device::shapes_only(device.info().clone());
    assert_eq!(train(&device), train(&shapes));
}

/// Needs no adapter.
#[test]
fn shapes_are_checked_and_values_are_an_error() {
    for info in [AdapterInfo::software(), AdapterInfo::discrete()] {
        let device = Device::shapes_only(info);
        train(&device);
        let model = network(&device);
        assert_eq!(summary(&model, &device, [1, 3, 16, 16]).unwrap().layers.len(), 6);
        let wrong = summary(&model, &device, [1, 3, 20, 20]).unwrap_err();
        assert!(wrong.to_string().starts_with("8: linear: "), "{wrong}");

        let shapes_only = |error: &TensorError| error.to_string().contains("shapes and memory only, no values");
        let x = Tensor::ones(&device, [2, 2], DType::F32).unwrap();
        assert!(shapes_only(&x.to_vec::<f32>().unwrap_err()));
        assert!(shapes_only(&x.sum(..).unwrap().item::<f32>().unwrap_err()));
        let loss = Tape::eval().constant(x).mean(..).unwrap();
        assert!(matches!(loss.item::<f32>(), Err(TapeError::Tensor(error)) if shapes_only(&error)));
        let folder = tempfile::tempdir().unwrap();
        let saved = model.save(folder.path().join("weights.safetensors")).unwrap_err();
        assert!(matches!(saved, Error::Tensor(error) if shapes_only(&error)), "saving reads the values");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // A state is copied on the device.
        let optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
        assert!(kiln_nn::Optimizer::state(&optim).unwrap().tensors.is_empty());
    }
}
