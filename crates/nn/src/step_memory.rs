//! What a training step holds, before there is one.

use std::collections::BTreeSet;
use std::fmt;

use kiln_autograd::Tape;
use kiln_tensor::{DType, Device, Live, Shape, Tensor};

use crate::error::{Error, Result};
use crate::module::Module;
use crate::optim::Optimizer;
use crate::summary::binary;

/// What is held at the moment of a training step at which the most is held, in bytes of the memory pool: see [`step_memory`].
///
/// The pool rounds sizes up, by at most an eighth, so a part is a little more than its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMemory {
    /// Parameters and buffers (running statistics).
    pub parameters: u64,
    /// What the optimizer remembers from step to step: momentum, running means.
    pub optimizer: u64,
    /// The batch: images and labels.
    pub inputs: u64,
    /// Of what the tape holds at the end of the forward pass, that which is still held at the peak: backward frees it layer by
    /// layer.
    pub activations: u64,
    /// Those gradients of parameters that are computed at the peak: backward computes the last layer's first.
    pub gradients: u64,
    /// All else: gradients on their way between layers, partial sums, transformed operands.
    pub workspace: u64,
    /// The most that is held at once: the sum of the parts.
    pub peak: u64,
    /// What the tape holds at the end of the forward pass.
    pub all_activations: u64,
    /// The gradients of all parameters, which are held at the end of the backward pass.
    pub all_gradients: u64,
}

/// Runs a training step of a classifier on a device without a GPU ([`Device::shapes_only`]), and tells what it holds at its peak:
/// forward, mean cross-entropy, backward, and a step of the optimizer. It is the second step, since the first makes the optimizer's
/// state. `input` is the shape of the images, batch included.
///
/// On the device is the model, and nothing else: what it holds when this is called counts as parameters.
///
/// ```
/// # use kiln_tensor::{AdapterInfo, Device}; use kiln_nn::{Init, Linear, Module, ReLU, Sequential, Sgd, step_memory};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// let device = Device::shapes_only(AdapterInfo::discrete());
/// let model = Sequential::builder()
///     .layer(Linear::builder(1 << 14, 1 << 15))
///     .layer(ReLU)
///     .layer(Linear::builder(1 << 15, 1 << 14))
///     .build(&device, &Init::seed(1))?;
/// let mut optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
/// let memory = step_memory(&model, &mut optim, &device, [64, 1 << 14])?;
/// // Two matrices of 2 GiB, their momentum and their gradients.
/// assert_eq!([memory.parameters >> 30, memory.optimizer >> 30, memory.gradients >> 30, memory.peak >> 30], [4, 4, 4, 12]);
/// println!("{memory}");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] for a device that has a GPU; those of the network's forward.
pub fn step_memory(
    model: &dyn Module,
    optim: &mut dyn Optimizer,
    device: &Device,
    input: impl Into<Shape>,
) -> Result<StepMemory> {
    let input = input.into();
    let live = || -> Result<Vec<Live>> {
        device.live().ok_or_else(|| {
            Error::argument("step_memory", "a device with a GPU; pass one that Device::shapes_only has made")
        })
    };
    let parameters = Held::of(&live()?, &[]);
    train(model, optim, device, input, &mut || Ok(()))?;
    let optimizer = Held::of(&live()?, &[&parameters]);

    device.reset_peak();
    let mut stages = Vec::new();
    train(model, optim, device, input, &mut || {
        let known: Vec<&Held> = [&parameters, &optimizer].into_iter().chain(&stages).collect();
        let held = Held::of(&live()?, &known);
        stages.push(held);
        Ok(())
    })?;
    let [inputs, activations, gradients] = stages.as_slice() else {
        return Err(Error::argument("step_memory", "a step without its three stages"));
    };
    let at_peak = device.live_at_peak().unwrap_or_default();
    let peak = at_peak.iter().map(|live| live.bytes).sum();
    let [parameters, optimizer, inputs_held, activations_held, gradients_held] =
        [&parameters, &optimizer, inputs, activations, gradients].map(|held| held.among(&at_peak));
    Ok(StepMemory {
        parameters,
        optimizer,
        inputs: inputs_held,
        activations: activations_held,
        gradients: gradients_held,
        workspace: peak - parameters - optimizer - inputs_held - activations_held - gradients_held,
        peak,
        all_activations: activations.bytes,
        all_gradients: gradients.bytes,
    })
}

/// Allocations, by their numbers.
struct Held {
    ids: BTreeSet<u64>,
    bytes: u64,
}

impl Held {
    /// What is live and in none of the known.
    fn of(live: &[Live], known: &[&Held]) -> Held {
        let new: Vec<&Live> =
            live.iter().filter(|live| !known.iter().any(|held| held.ids.contains(&live.id))).collect();
        Held { ids: new.iter().map(|live| live.id).collect(), bytes: new.iter().map(|live| live.bytes).sum() }
    }

    /// The bytes of those that are also in a list.
    fn among(&self, live: &[Live]) -> u64 {
        live.iter().filter(|live| self.ids.contains(&live.id)).map(|live| live.bytes).sum()
    }
}

/// A step. Calls `stage` with the batch there, at the end of the forward pass, and when all gradients are there and the tape is gone.
fn train(
    model: &dyn Module,
    optim: &mut dyn Optimizer,
    device: &Device,
    input: Shape,
    stage: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let images = Tensor::zeros(device, input, DType::F32)?;
    let labels = Tensor::zeros(device, input.first().copied().unwrap_or(1), DType::I32)?;
    stage()?;
    let tape = Tape::train_seeded(0);
    // Moved: what no layer keeps is free before the backward pass.
    let loss = model.forward(&tape.constant(images))?.cross_entropy(&labels)?;
    stage()?;
    let gradients = loss.backward()?;
    drop((tape, loss));
    stage()?;
    optim.step(&gradients)
}

impl fmt::Display for StepMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |bytes: u64, held: u64, when: &str| match bytes == held {
            true => String::new(),
            false => format!("  ({} at the end of {when})", binary(bytes)),
        };
        let rows = [
            ("parameters", self.parameters, String::new()),
            ("optimizer", self.optimizer, String::new()),
            ("inputs", self.inputs, String::new()),
            ("activations", self.activations, whole(self.all_activations, self.activations, "forward")),
            ("gradients", self.gradients, whole(self.all_gradients, self.gradients, "backward")),
            ("workspace", self.workspace, String::new()),
        ];
        for (name, bytes, note) in rows {
            writeln!(f, "{name:<13} {:>10}{note}", binary(bytes))?;
        }
        write!(f, "{:<13} {:>10}", "peak", binary(self.peak))
    }
}
