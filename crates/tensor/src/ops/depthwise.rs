//! Depthwise convolution: as many groups as input channels. The sums of a group are too few for the contraction's tiles, so
//! [`Tensor::conv2d`] and its gradients come here for it.

use kiln_shaders::depthwise::{self as kernels, Depthwise, Epilogue};

use super::reduce::lanes;
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// The convolution of contiguous operands, with `relu` the larger of it and 0.
pub(crate) fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    relu: bool,
    problem: &Depthwise,
) -> Result<Tensor> {
    let [oh, ow] = problem.out_size;
    let out = Tensor::empty(x.device(), [problem.batch, problem.channels, oh, ow], x.dtype(), "conv2d")?;
    let mut windows = vec![x.window(), weight.window(), out.window()];
    windows.extend(bias.map(Tensor::window));
    let offset = |slot: usize| windows.get(slot).map_or(0, |window| window.offset as usize);
    let epilogue = Epilogue { bias: bias.is_some(), relu };
    let offsets = [0, 1, 2, 3].map(offset);
    let plan = kernels::forward(x.dtype().storage(), problem, epilogue, lanes(x.device()), offsets);
    let bindings: Vec<_> = windows.iter().map(|window| window.binding).collect();
    launch_planned(x.device(), &plan, &bindings)?;
    Ok(out)
}

/// The gradient to the input, of contiguous operands.
pub(crate) fn input_grad(dy: &Tensor, weight: &Tensor, problem: &Depthwise) -> Result<Tensor> {
    let [h, w] = problem.size;
    let shape = [problem.batch, problem.channels / problem.multiplier, h, w];
    let out = Tensor::empty(dy.device(), shape, dy.dtype(), "conv2d_input_grad")?;
    let windows = [dy.window(), weight.window(), out.window()];
    let offsets = windows.map(|window| window.offset as usize);
    let plan = kernels::input_gradient(dy.dtype().storage(), problem, lanes(dy.device()), offsets);
    launch_planned(dy.device(), &plan, &windows.map(|window| window.binding))?;
    Ok(out)
}

/// The gradient to the weight, of contiguous operands: partial sums, and their sum in order.
pub(crate) fn weight_grad(x: &Tensor, dy: &Tensor, problem: &Depthwise) -> Result<Tensor> {
    const OP: &str = "conv2d_weight_grad";
    let ([r, s], device) = (problem.kernel, x.device());
    let windows = [x.window(), dy.window()];
    // The partial sums have memory of their own, and so begin where it does.
    let [x_offset, dy_offset] = windows.map(|window| window.offset as usize);
    let most = device.info().limits.binding_bytes as usize / DType::F32.size();
    let plan = kernels::weight_gradient(x.dtype().storage(), problem, lanes(device), most, [x_offset, dy_offset, 0]);
    let partial = Tensor::empty(device, [problem.channels, 1, r, s, plan.parts], DType::F32, OP)?;
    let [x_window, dy_window] = windows.map(|window| window.binding);
    launch_planned(device, &plan.launch, &[x_window, dy_window, partial.window().binding])?;
    partial.sum(4)?.to_dtype(x.dtype())
}
