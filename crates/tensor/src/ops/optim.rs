//! Optimizer steps, in place, several parameters in one launch.

use kiln_gpu::{AdapterClass, Binding, Device};
use kiln_shaders::optim::{self as kernels, AdamParams, Batch, Optimizer, RmspropParams, Segment, SgdParams};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::{Window, launch_planned};
use crate::tensor::Tensor;

/// One step of stochastic gradient descent with momentum, as PyTorch's `torch.optim.SGD`:
///
/// `g = grad + weight_decay p`; `b = g` at the first step, else `momentum b + (1 - dampening) g`;
/// `p = p - lr (g + momentum b)` with Nesterov's momentum, else `p - lr b`; without momentum `p - lr g`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// The learning rate.
    pub lr: f64,
    /// The momentum; 0 for none.
    pub momentum: f64,
    /// Damps what is added to the momentum.
    pub dampening: f64,
    /// Decay of the weights, by way of the gradient.
    pub weight_decay: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Whether this is the first step, which sets the state.
    pub first: bool,
}

/// One step of Adam (Kingma and Ba, 2015), as PyTorch's `torch.optim.Adam`:
///
/// `g = grad + weight_decay p`; `m = beta1 m + (1 - beta1) g`; `v = beta2 v + (1 - beta2) g^2`;
/// `p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decay of the weights, by way of the gradient.
    pub weight_decay: f64,
    /// Whether the weights decay by themselves, `p = p - lr weight_decay p`, and not by way of the gradient: AdamW
    /// (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).
    pub decoupled: bool,
    /// The number of this step, from 1 on.
    pub step: u64,
}

/// One step of RMSprop (Hinton, lecture 6 of "Neural networks for machine learning", 2012), as PyTorch's
/// `torch.optim.RMSprop`:
///
/// `g = grad + weight_decay p`; `s = alpha s + (1 - alpha) g^2`; `d = g / (sqrt(s) + eps)`, centered
/// `d = g / (sqrt(s - a^2) + eps)` with `a = alpha a + (1 - alpha) g`; `b = momentum b + d`; `p = p - lr b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmspropStep {
    /// The learning rate.
    pub lr: f64,
    /// Decay of the means.
    pub alpha: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Decay of the weights, by way of the gradient.
    pub weight_decay: f64,
    /// The momentum; 0 for none.
    pub momentum: f64,
    /// Whether the mean square is taken about the mean.
    pub centered: bool,
    /// Whether this is the first step, which sets the state.
    pub first: bool,
}

/// A parameter and the gradient by which it is updated: both `f32`, of one shape.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// Is written in place.
    pub parameter: &'a Tensor,
    /// The gradient.
    pub gradient: &'a Tensor,
}

/// The state of an optimizer for tensors of these sizes, side by side in one buffer, in blocks of 1,024 elements: how many elements.
pub fn state_len(sizes: impl IntoIterator<Item = usize>) -> usize {
    sizes.into_iter().map(|elements| 1024 * kernels::state_groups(elements)).sum()
}

pub(super) fn check(op: &'static str, updates: &[Update<'_>], states: &[&Tensor]) -> Result<()> {
    for (index, Update { parameter, gradient }) in updates.iter().enumerate() {
        parameter.check_device(op, gradient)?;
        parameter.check_dtype(op, "a parameter", &[DType::F32])?;
        gradient.check_dtype(op, "a gradient", &[DType::F32])?;
        if parameter.shape() != gradient.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "parameter {index} has shape {}, its gradient {}; needs one shape",
                    parameter.shape(),
                    gradient.shape()
                ),
            ));
        }
        if !parameter.is_contiguous() || !parameter.offset().is_multiple_of(4) {
            return Err(Error::argument(
                op,
                format!("parameter {index} of shape {} is a view; needs a tensor of its own", parameter.shape()),
            ));
        }
    }
    let needed = state_len(updates.iter().map(|update| update.parameter.numel()));
    if let Some(state) = states.iter().find(|state| state.numel() < needed || !state.is_contiguous()) {
        return Err(Error::shape(
            op,
            format!("a state of {} elements; the parameters need {needed}: see state_len", state.numel()),
        ));
    }
    Ok(())
}

/// A gradient as the kernel reads it: in order, from a whole vec4 on, and where it has to be read in parts from 256 bytes on.
pub(super) fn aligned(gradient: &Tensor) -> Result<Tensor> {
    let gradient = gradient.contiguous()?;
    if gradient.offset().is_multiple_of(if gradient.fits() { 4 } else { 64 }) {
        return Ok(gradient);
    }
    Tensor::cat(&[&gradient.reshape([gradient.numel()])?], 0)
}

/// As many bindings as the kernel has; what is left over repeats the last.
fn filled<'a>(windows: &[Window<'a>], table: usize) -> Vec<Binding<'a>> {
    (0..table).map(|index| windows[index.min(windows.len() - 1)].binding).collect()
}

/// The elements of an optimizer's state for each block of 1,024 of its parameters.
pub(super) const STATE_BLOCK: usize = 1024;

/// On a processor every lane tests the case of each binding for each access. So from this many blocks on a launch of four
/// tensors or more takes longer than two launches.
const FEW_BLOCKS: usize = 256;

/// Launches as many updates at a time as there are bindings for, and as one binding holds the state of, which has `state_block`
/// elements for each block of the parameters, or with 0 is the same for all.
pub(super) fn in_batches(
    device: &Device,
    optimizer: Optimizer,
    updates: &[Update<'_>],
    states: &[&Tensor],
    state_block: usize,
    plan: impl Fn(&Batch<'_>) -> kiln_shaders::Launch,
) -> Result<()> {
    let mut pairs = Vec::new();
    for update in updates {
        let gradient = aligned(update.gradient)?;
        pairs.extend(update.parameter.parts()?.into_iter().zip(gradient.parts()?));
    }
    let capacity = kernels::capacity(optimizer, device.info().limits.storage_buffers as usize);
    let software = device.info().class == AdapterClass::Software;
    let mut rest = &pairs[..];
    let mut block = 0;
    while let Some((first, _)) = rest.first() {
        let most_blocks = (first.most_bound() / 4096) as usize;
        let (mut count, mut blocks) = (0, 0);
        for (parameter, _) in rest.iter().take(capacity) {
            let more = blocks + kernels::state_groups(parameter.numel());
            if count > 0 && more > most_blocks || software && count >= 3 && more > FEW_BLOCKS {
                break;
            }
            (count, blocks) = (count + 1, more);
        }
        let (batch, others) = rest.split_at(count);
        let states: Vec<Tensor> = states
            .iter()
            .map(|state| match state_block {
                0 => Ok((*state).clone()),
                _ => state.reshape([state.numel()])?.narrow(0, state_block * block, state_block * blocks),
            })
            .collect::<Result<_>>()?;
        launch_batch(device, batch, &states, state_block, &plan)?;
        rest = others;
        block += blocks;
    }
    updates.iter().for_each(|update| update.parameter.bump_version());
    Ok(())
}

/// One launch, with the state of its own parameters.
fn launch_batch(
    device: &Device,
    batch: &[(Tensor, Tensor)],
    states: &[Tensor],
    state_block: usize,
    plan: impl Fn(&Batch<'_>) -> kiln_shaders::Launch,
) -> Result<()> {
    let (parameters, gradients): (Vec<_>, Vec<_>) = batch.iter().map(|(p, g)| (p.window(), g.window())).unzip();
    let states: Vec<_> = states.iter().map(Tensor::window).collect();
    let segments: Vec<Segment> = batch
        .iter()
        .zip(parameters.iter().zip(&gradients))
        .map(|((tensor, _), (parameter, gradient))| Segment {
            elements: tensor.numel(),
            parameter_quads: parameter.offset as usize / 4,
            gradient_quads: gradient.offset as usize / 4,
        })
        .collect();
    let table = kernels::table_size(batch.len());
    let mut bindings = [filled(&parameters, table), filled(&gradients, table)].concat();
    bindings.extend(states.iter().map(|state| state.binding));
    let info = device.info();
    let plan = plan(&Batch {
        tensors: &segments,
        first_state: states.first().map_or(0, |state| state.offset / state_block.max(1) as u32),
        int64: info.class == AdapterClass::Software && info.features.int64,
    });
    launch_planned(device, &plan, &bindings)
}

/// One step of SGD on all parameters, in place. `momentum` holds [`state_len`] elements of `f32` where there is momentum.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] or [`Error::Argument`] where a gradient is not like its parameter, a parameter is a view, or the
/// state is missing or too small; [`Error::Gpu`].
pub fn sgd_step(updates: &[Update<'_>], momentum: Option<&Tensor>, step: &SgdStep) -> Result<()> {
    const OP: &str = "sgd_step";
    let states: Vec<&Tensor> = momentum.into_iter().collect();
    check(OP, updates, &states)?;
    let Some(first) = updates.first() else { return Ok(()) };
    if step.momentum != 0.0 && momentum.is_none() {
        return Err(Error::argument(OP, format!("momentum {} without a state; pass one of state_len", step.momentum)));
    }
    let with_momentum = step.momentum != 0.0;
    let optimizer = if with_momentum { Optimizer::SgdMomentum } else { Optimizer::Sgd };
    let states = if with_momentum { states } else { Vec::new() };
    in_batches(first.parameter.device(), optimizer, updates, &states, STATE_BLOCK, |batch| {
        let settings = SgdParams {
            first_step: u32::from(step.first),
            nesterov: u32::from(step.nesterov),
            rate: step.lr as f32,
            weight_decay: step.weight_decay as f32,
            scale: 1.0,
            momentum: step.momentum as f32,
            kept: (1.0 - step.dampening) as f32,
            ..SgdParams::default()
        };
        kernels::sgd(batch, with_momentum, settings)
    })
}

/// One step of Adam on all parameters, in place. Each of the two moments holds [`state_len`] elements of `f32`.
///
/// # Errors
/// As [`sgd_step`].
pub fn adam_step(updates: &[Update<'_>], moments: [&Tensor; 2], step: &AdamStep) -> Result<()> {
    check("adam_step", updates, &moments)?;
    let Some(first) = updates.first() else { return Ok(()) };
    let [beta1, beta2] = step.betas;
    let t = step.step.min(i32::MAX as u64) as i32;
    in_batches(first.parameter.device(), Optimizer::Adam, updates, &moments, STATE_BLOCK, |batch| {
        let settings = AdamParams {
            first_step: u32::from(step.step <= 1),
            step_size: (step.lr / (1.0 - beta1.powi(t))) as f32,
            weight_decay: if step.decoupled { 0.0 } else { step.weight_decay as f32 },
            decay: if step.decoupled { (1.0 - step.lr * step.weight_decay) as f32 } else { 1.0 },
            scale: 1.0,
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            root_correction: (1.0 - beta2.powi(t)).sqrt() as f32,
            epsilon: step.eps as f32,
            ..AdamParams::default()
        };
        kernels::adam(batch, settings)
    })
}

/// One step of RMSprop on all parameters, in place. `states` are the mean squares, then the means where `centered`, then the
/// momentum where there is one: each holds [`state_len`] elements of `f32`.
///
/// # Errors
/// [`Error::Argument`] for another number of states; as [`sgd_step`].
pub fn rmsprop_step(updates: &[Update<'_>], states: &[&Tensor], step: &RmspropStep) -> Result<()> {
    const OP: &str = "rmsprop_step";
    check(OP, updates, states)?;
    let Some(first) = updates.first() else { return Ok(()) };
    let with_momentum = step.momentum != 0.0;
    let optimizer = Optimizer::Rmsprop { centered: step.centered, momentum: with_momentum };
    if states.len() != optimizer.states() {
        return Err(Error::argument(
            OP,
            format!(
                "{} states with momentum {} and centered {}; needs {}",
                states.len(),
                step.momentum,
                step.centered,
                optimizer.states()
            ),
        ));
    }
    in_batches(first.parameter.device(), optimizer, updates, states, STATE_BLOCK, |batch| {
        let settings = RmspropParams {
            first_step: u32::from(step.first),
            rate: step.lr as f32,
            weight_decay: step.weight_decay as f32,
            alpha: step.alpha as f32,
            rest: (1.0 - step.alpha) as f32,
            epsilon: step.eps as f32,
            momentum: step.momentum as f32,
            ..RmspropParams::default()
        };
        kernels::rmsprop(batch, step.centered, with_momentum, settings)
    })
}
