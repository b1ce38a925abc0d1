//! The tape, the walk, and a look at every rule. The parity table of the workspace's root package measures the rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod errors;
mod memory;
mod rectifier;
mod rules;
mod walk;

use std::sync::LazyLock;

use kiln_autograd::{Gradients, Var};
use kiln_tensor::{Device, Tensor};

static DEVICE: LazyLock<Device> = LazyLock::new(|| Device::open_default().expect("a device to test on"));

/// A tensor of these numbers.
fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(&DEVICE, shape, values).unwrap()
}

/// The gradient of a leaf, read back.
fn gradient(gradients: &Gradients, var: &Var) -> Vec<f32> {
    gradients.get(var).expect("a gradient").to_vec().unwrap()
}
