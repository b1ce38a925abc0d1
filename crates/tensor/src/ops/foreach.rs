//! One formula for many tensors, in as few launches as there are bindings for: what clipping, accumulating and averaging of
//! whole networks need.

use kiln_gpu::Device;
use kiln_shaders::foreach::{self as kernels, Formula, SQUARE_PARTS};
use kiln_shaders::optim::Optimizer;

use super::optim::{Update, aligned, check, in_batches, state_len};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

fn in_place(op: &'static str, pairs: &[Update<'_>], formula: Formula) -> Result<()> {
    check(op, pairs, &[])?;
    run(pairs, &[], formula)
}

fn run(pairs: &[Update<'_>], buffers: &[&Tensor], formula: Formula) -> Result<()> {
    let Some(first) = pairs.first() else { return Ok(()) };
    in_batches(first.parameter.device(), formula.optimizer(), pairs, buffers, 0, |batch| {
        kernels::foreach(batch, formula)
    })
}

/// The formula on each tensor, into new ones.
fn made(op: &'static str, tensors: &[&Tensor], buffers: &[&Tensor], formula: Formula) -> Result<Vec<Tensor>> {
    let results: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| {
            tensor.check_dtype(op, "a tensor", &[DType::F32])?;
            Tensor::empty(tensor.device(), tensor.shape(), DType::F32, op)
        })
        .collect::<Result<_>>()?;
    let pairs = results.iter().zip(tensors).map(|(parameter, gradient)| Update { parameter, gradient });
    run(&pairs.collect::<Vec<_>>(), buffers, formula)?;
    Ok(results)
}

/// `parameter = parameter + factor gradient` for each pair, in place.
///
/// # Errors
/// As [`sgd_step`](super::optim::sgd_step).
pub fn add_scaled(pairs: &[Update<'_>], factor: f64) -> Result<()> {
    in_place("foreach::add_scaled", pairs, Formula::AddScaled { factor: factor as f32 })
}

/// `parameter = parameter + weight (gradient - parameter)` for each pair, in place: a step of an exponential mean.
///
/// # Errors
/// As [`sgd_step`](super::optim::sgd_step).
pub fn lerp(pairs: &[Update<'_>], weight: f64) -> Result<()> {
    in_place("foreach::lerp", pairs, Formula::Lerp { weight: weight as f32 })
}

/// Each tensor with its elements at least `min` and at most `max`; a NaN stays.
///
/// # Errors
/// [`Error::Argument`] where `min > max` or one is NaN, [`Error::DType`] for a tensor that is not `f32`; [`Error::Gpu`].
pub fn clamp(tensors: &[&Tensor], min: f64, max: f64) -> Result<Vec<Tensor>> {
    const OP: &str = "foreach::clamp";
    if min <= max {
        return made(OP, tensors, &[], Formula::Clamp { low: min as f32, high: max as f32 });
    }
    Err(Error::argument(OP, format!("min {min} and max {max}; needs min <= max")))
}

/// Each tensor times a number that is on the device: `factor`, of one element.
///
/// # Errors
/// [`Error::Shape`] for a factor of several elements, [`Error::DType`] for a tensor that is not `f32`; [`Error::Gpu`].
pub fn scale(tensors: &[&Tensor], factor: &Tensor) -> Result<Vec<Tensor>> {
    const OP: &str = "foreach::scale";
    factor.check_dtype(OP, "the factor", &[DType::F32])?;
    if factor.numel() != 1 {
        return Err(Error::shape(OP, format!("a factor of shape {}; needs one element", factor.shape())));
    }
    // The kernel reads the first element of its binding.
    let factor = if factor.offset() == 0 { factor.reshape([1])? } else { Tensor::cat(&[&factor.reshape([1])?], 0)? };
    made(OP, tensors, &[&factor], Formula::Scale)
}

/// The length of all tensors together, `sqrt(sum x^2)`, as a scalar on the device; 0 of no tensors.
///
/// # Errors
/// [`Error::DType`] for a tensor that is not `f32`, [`Error::Argument`] for tensors of two devices; [`Error::Gpu`].
pub fn norm(device: &Device, tensors: &[&Tensor]) -> Result<Tensor> {
    const OP: &str = "foreach::norm";
    for tensor in tensors {
        tensor.check_dtype(OP, "a tensor", &[DType::F32])?;
        if !device.same(tensor.device()) {
            return Err(Error::argument(OP, "tensors on two devices; read one and write it to the other device"));
        }
    }
    let blocks = state_len(tensors.iter().map(|tensor| tensor.numel())) / 1024;
    if blocks == 0 {
        return Tensor::zeros(device, (), DType::F32);
    }
    let sums = Tensor::empty(device, [blocks * SQUARE_PARTS], DType::F32, OP)?;
    let contiguous: Vec<Tensor> = tensors.iter().map(|tensor| aligned(tensor)).collect::<Result<_>>()?;
    // Only the second of a pair is read.
    let pairs: Vec<Update<'_>> =
        contiguous.iter().map(|tensor| Update { parameter: tensor, gradient: tensor }).collect();
    in_batches(device, Optimizer::Pairs { buffer: true }, &pairs, &[&sums], SQUARE_PARTS, kernels::square_sums)?;
    sums.sum(..)?.sqrt()
}
