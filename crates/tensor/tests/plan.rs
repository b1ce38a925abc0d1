//! Which algorithm a problem gets: by rule, by a tuning file, by pinning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use kiln_gpu::{AdapterClass, Device, Options};
use kiln_tensor::ops::conv::{Conv2dOptions, conv2d_input_grad, conv2d_weight_grad};
use kiln_tensor::plan::{self, Algorithm, Choice, Direction, Problem, Tuning, TuningError};
use kiln_tensor::{DType, Random, Tensor};

fn open(folder: &Path) -> Device {
    Device::open(Options::new().cache_dir(folder)).unwrap()
}

fn random(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::uniform(device, shape, -1.0, 1.0, Random { seed: 7, stream: 0 }).unwrap()
}

const PADDED: Conv2dOptions = Conv2dOptions { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };

/// A small convolution's result, and what computed it.
fn convolve(device: &Device) -> (Vec<f32>, Choice) {
    let (x, weight) = (random(device, &[2, 8, 9, 9]), random(device, &[4, 8, 3, 3]));
    let (y, mut choices) = plan::watch(device, || x.conv2d(&weight, None, PADDED));
    assert_eq!(choices.len(), 1);
    (y.unwrap().to_vec::<f32>().unwrap(), choices.remove(0))
}

#[test]
fn a_file_decides_where_nothing_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let untuned = open(folder.path());
    assert_eq!(plan::tuning(&untuned).unwrap(), None);
    let (by_rule, rule) = convolve(&untuned);
    let other = if rule.algorithm == Algorithm::Winograd2 { Algorithm::Tiles } else { Algorithm::Winograd2 };
    let mut tuning = Tuning::new(untuned.info());
    tuning.insert(rule.problem, other);
    // What does not apply is passed over.
    let product =
        Problem::Product { dtype: DType::F32, batches: 1, m: 8, n: 8, k: 8, a_along_k: true, b_along_k: false };
    tuning.insert(product, Algorithm::Winograd4);
    let file = tuning.write(folder.path(), untuned.info()).unwrap();
    assert_eq!(Tuning::read(folder.path(), untuned.info()).unwrap(), Some(tuning.clone()));
    let text = fs::read(&file).unwrap();
    tuning.write(folder.path(), untuned.info()).unwrap();
    assert_eq!(fs::read(&file).unwrap(), text, "the same measurements, another file");

    let (tuned, again) = (open(folder.path()), open(folder.path()));
    let (result, choice) = convolve(&tuned);
    assert_eq!((choice.problem, choice.algorithm), (rule.problem, other));
    assert!(result == convolve(&again).0, "the same file, other bits");
    assert!(result != by_rule, "the same bits, so not by another algorithm");
    let x = random(&tuned, &[8, 8]);
    let (y, choices) = plan::watch(&tuned, || x.matmul(&x));
    y.unwrap();
    assert_eq!(choices[0].problem, product);
    assert_ne!(choices[0].algorithm, Algorithm::Winograd4);
    // A device reads the file once.
    fs::remove_file(&file).unwrap();
    assert_eq!(convolve(&tuned).1.algorithm, other);

    plan::pin(&tuned, Some(Algorithm::Winograd4));
    assert_eq!(plan::pinned(&tuned).unwrap(), Some(Algorithm::Winograd4));
    assert_eq!(convolve(&tuned).1.algorithm, Algorithm::Winograd4);
}

/// Lanes own four results of a row each, so the direct sum over images of two columns is half in vain.
#[test]
fn narrow_images_cost_a_processor_more() {
    let device = Device::open_default().unwrap();
    if device.info().class != AdapterClass::Software || device.info().subgroup_size != 8 {
        return;
    }
    let weight = random(&device, &[256, 256, 3, 3]);
    let by_rule = |width: usize| {
        let x = random(&device, &[8, 256, 8 / width, width]);
        plan::watch(&device, || x.conv2d(&weight, None, PADDED)).1.remove(0).algorithm
    };
    assert_eq!(by_rule(4), Algorithm::Direct);
    assert_eq!(by_rule(2), Algorithm::Winograd2);
}

#[test]
fn a_file_that_is_damaged_or_of_others_is_told_and_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let device = open(folder.path());
    let (by_rule, rule) = convolve(&device);
    let mut tuning = Tuning::new(device.info());
    tuning.insert(rule.problem, rule.algorithm);
    let file = tuning.write(folder.path(), device.info()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"kiln\":\""), "{text}");

    let told = |contents: &[u8]| {
        fs::write(&file, contents).unwrap();
        let device = open(folder.path());
        assert_eq!(convolve(&device), (by_rule.clone(), rule.clone()));
        plan::tuning(&device).unwrap_err()
    };
    let damaged = [
        Vec::new(),
        b"null".to_vec(),
        vec![0xff; 100],
        text.as_bytes()[..text.len() / 2].to_vec(),
        [text.as_bytes(), b"{}"].concat(),
        text.replace(rule.algorithm.name(), "fastest").into_bytes(),
        "[".repeat(1 << 20).into_bytes(),
    ];
    for contents in &damaged {
        let error = told(contents);
        assert!(matches!(error, TuningError::Damaged { .. }), "{error}");
        let start = format!("{}: this tuning file is damaged and is not used: ", file.display());
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(error.to_string().ends_with("; run `kiln tune` to write a new one, or delete it"), "{error}");
    }
    let info = device.info();
    let of = |version: &str| format!("Kiln {version} on {} ({}, {})", info.name, info.backend, info.driver);
    let version = env!("CARGO_PKG_VERSION");
    let stale = text.replace(&format!("\"kiln\":\"{version}\""), "\"kiln\":\"0.0.1\"");
    assert_eq!(
        told(stale.as_bytes()).to_string(),
        format!(
            "{}: this tuning file is of {} and is not used; this is {}: run `kiln tune` again, or delete it",
            file.display(),
            of("0.0.1"),
            of(version)
        )
    );
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = plan::tuning(&open(folder.path())).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read this tuning file: ", file.display())), "{error}");
    assert!(matches!(tuning.write(folder.path(), info), Err(TuningError::Io { action: "write", .. })));
}

#[test]
fn every_product_of_a_convolution_is_a_problem_of_its_own() {
    let device = Device::open(Options::new().no_cache()).unwrap();
    let (x, weight) = (random(&device, &[2, 6, 8, 8]), random(&device, &[6, 1, 3, 3]));
    let options = Conv2dOptions { groups: 6, ..PADDED };
    let (done, choices) = plan::watch(&device, || {
        for _ in 0..2 {
            let y = x.conv2d(&weight, None, options)?;
            conv2d_input_grad(&y, &weight, x.shape(), &options)?;
            conv2d_weight_grad(&x, &y, weight.shape(), &options)?;
        }
        kiln_tensor::Result::Ok(())
    });
    done.unwrap();
    let directions: Vec<_> = choices
        .iter()
        .map(|choice| match choice.problem {
            Problem::Conv2d { direction, input: [2, 6, 8, 8], weight: [6, 1, 3, 3], .. } => direction,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(directions, [Direction::Forward, Direction::InputGrad, Direction::WeightGrad]);
    for choice in &choices {
        assert_eq!(choice.algorithm, Algorithm::Depthwise);
        assert!(choice.candidates.starts_with(&[Algorithm::Tiles]) && !choice.candidates.contains(&Algorithm::Quads));
    }
    // What is cut along k says so, and a watch ends where its work does.
    plan::pin(&device, Some(Algorithm::Tiles));
    let (a, b) = (random(&device, &[8, 4096]), random(&device, &[4096, 8]));
    let (y, choices) = plan::watch(&device, || a.matmul(&b));
    let shown = choices[0].to_string();
    assert!(shown.starts_with("tiles ") && shown.contains("x") && shown.contains(" /"), "{shown}");
    y.unwrap().matmul(&b.reshape([8, 4096]).unwrap()).unwrap();
    assert!(plan::watch(&device, || ()).1.is_empty());
}
