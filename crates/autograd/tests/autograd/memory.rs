//! What is held, and for how long. Each test has a device of its own, whose figures no other test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_autograd::{Gradient, Saved, Tape, Var};
use kiln_tensor::{DType, Device, Tensor};

const MIB: u64 = 1 << 20;

/// A tensor of 1 MiB.
fn large(device: &Device) -> Tensor {
    Tensor::ones(device, [MIB as usize / 4], DType::F32).unwrap()
}

/// `x` itself, by an op whose rule tells what is in use when the walk passes.
fn probe(x: &Var, in_use: &Arc<AtomicU64>) -> Var {
    let (device, seen) = (x.tensor().device().clone(), in_use.clone());
    x.tape()
        .record("probe", &[x], x.tensor().clone(), move |dy, _| {
            seen.store(device.memory().in_use, Ordering::Relaxed);
            Ok(vec![Gradient::Tensor(dy.clone())])
        })
        .unwrap()
}

#[test]
fn saved_tensors_are_freed_as_the_walk_passes() {
    let device = Device::open_default().unwrap();
    let tape = Tape::train();
    let (early, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let x = tape.leaf(large(&device));
    let mut y = probe(&x, &late);
    for _ in 0..16 {
        y = y.tanh().unwrap();
    }
    y = probe(&y, &early);
    let dy = large(&device);
    let before = device.memory().in_use;
    device.reset_peak();
    assert!(before >= 18 * MIB, "{before}");

    let gradients = y.backward_with(&dy).unwrap();
    // x, y, dy, and what passes from node to node.
    let (early, late) = (early.load(Ordering::Relaxed), late.load(Ordering::Relaxed));
    assert!(early >= before, "{early} of {before} at the start of the walk");
    assert!(late <= 6 * MIB, "{late} of {before} at the end of the walk");
    let peak = device.memory().peak;
    assert!(peak <= before + 4 * MIB, "{peak} at the most, {before} before");
    assert!(gradients.get(&x).is_some());
    drop((x, y, dy, gradients, tape));
    assert_eq!(device.memory().in_use, 0);
}

#[test]
fn memory_is_flat_over_steps() {
    let device = Device::open_default().unwrap();
    let weight = large(&device);
    let mut figures = Vec::new();
    for _ in 0..5 {
        device.reset_peak();
        let tape = Tape::train();
        let w = tape.parameter(0, &weight);
        let x = tape.constant(large(&device));
        let loss = x.mul(&w).unwrap().relu().unwrap().tanh().unwrap().mean(..).unwrap();
        let gradients = loss.backward().unwrap();
        assert!(gradients.of(0).is_some());
        loss.item::<f32>().unwrap();
        drop((tape, w, x, loss, gradients));
        let memory = device.memory();
        figures.push((memory.in_use, memory.peak, memory.reserved));
    }
    assert!(figures[1..].iter().all(|step| *step == figures[1]), "{figures:?}");
    assert_eq!(figures[0].0, figures[4].0);
}

#[test]
fn an_evaluation_frees_at_once() {
    let device = Device::open_default().unwrap();
    for (tape, most) in [(Tape::eval(), 4 * MIB), (Tape::train(), 4 * MIB)] {
        // On the training tape nothing wants a gradient, which comes to the same.
        let mut y = tape.constant(large(&device));
        device.reset_peak();
        for _ in 0..16 {
            y = y.tanh().unwrap();
        }
        let peak = device.memory().peak;
        assert!(peak <= most, "{peak}");
    }
}

#[test]
fn what_no_rule_will_read_is_not_saved() {
    let device = Device::open_default().unwrap();
    let tape = Tape::train();
    let mask = tape.constant(Tensor::ones(&device, (), DType::F32).unwrap());
    let mut y = tape.leaf(large(&device));
    let before = device.memory().in_use;
    for _ in 0..16 {
        // Only the constant side is read by the rule, and addition reads neither.
        y = y.mul(&mask).unwrap().add(&mask).unwrap();
    }
    let held = device.memory().in_use - before;
    assert!(held <= 2 * MIB, "{held}");
}

#[test]
fn dropping_the_tape_frees_what_was_saved() {
    let device = Device::open_default().unwrap();
    let tape = Tape::train();
    let mut y = tape.leaf(large(&device));
    for _ in 0..8 {
        y = y.tanh().unwrap();
    }
    // Each saves its result.
    assert!(device.memory().in_use >= 8 * MIB);
    drop((tape, y));
    assert_eq!(device.memory().in_use, 0);
}

#[test]
fn gradients_do_not_keep_the_tape() {
    let device = Device::open_default().unwrap();
    let tape = Tape::train();
    let x = tape.leaf(large(&device));
    let unreached = x.tanh().unwrap();
    let gradients = x.neg().unwrap().sum(..).unwrap().backward().unwrap();
    drop((x, unreached, tape));
    drop(gradients);
    assert_eq!(device.memory().in_use, 0);
}

#[test]
fn the_gradient_of_a_first_layers_input_is_not_computed() {
    let device = Device::open_default().unwrap();
    let ones = |shape: [usize; 2]| Tensor::ones(&device, shape, DType::F32).unwrap();
    let launches = |wants_images: bool| {
        let tape = Tape::train();
        let images = ones([2, 3]);
        let images = if wants_images { tape.leaf(images) } else { tape.constant(images) };
        let loss = images.matmul(&tape.leaf(ones([3, 4]))).unwrap().sum(..).unwrap();
        let before = device.launches();
        let gradients = loss.backward().unwrap();
        assert_eq!(gradients.get(&images).is_some(), wants_images);
        device.launches() - before
    };
    assert!(launches(true) > launches(false));
}

#[test]
fn a_saved_tensor_is_the_same_memory() {
    let device = Device::open_default().unwrap();
    let x = large(&device);
    let before = device.memory().in_use;
    let saved = Saved::new(&x);
    assert!(saved.get().unwrap().shares_memory(&x));
    assert_eq!(device.memory().in_use, before);
}
