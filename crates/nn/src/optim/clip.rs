//! Clipping of gradients.

use kiln_autograd::Gradients;
use kiln_tensor::ops::foreach;
use kiln_tensor::{DType, Tensor};

use crate::error::{Error, Result};
use crate::module::Parameters;

/// The ids and gradients of the parameters that have one.
fn gradients_of(parameters: &Parameters, gradients: &Gradients) -> Vec<(u64, Tensor)> {
    let of =
        |(_, parameter): (String, crate::Parameter)| Some((parameter.id(), parameter.gradient(gradients)?.clone()));
    parameters.unique().into_iter().filter_map(of).collect()
}

fn replace(gradients: &mut Gradients, ids: Vec<(u64, Tensor)>, clipped: Vec<Tensor>) {
    for ((id, _), gradient) in ids.into_iter().zip(clipped) {
        gradients.replace_of(id, gradient);
    }
}

/// Scales the gradients of the parameters so that together they are at most `max_norm` long: PyTorch's `clip_grad_norm_`
/// (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks"). Returns the length before, a scalar on
/// the device.
///
/// Each is multiplied by `min(1, max_norm / (norm + 1e-6))`, where `norm` is the root of the sum of all squares. Nothing
/// waits for the GPU unless `error_if_nonfinite`, which reads the norm.
///
/// ```
/// # use kiln_tensor::{Device, Tensor}; use kiln_autograd::Tape; use kiln_nn::{Parameter, Parameters, clip_grad_norm};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let p = Parameter::new(Tensor::from_slice(&device, [2], &[1.5f32, 2.0])?);
/// let mut gradients = p.on(&Tape::train()).square()?.sum(..)?.backward()?; // 3, 4
/// let norm = clip_grad_norm(&[("p".to_string(), p.clone())].into_iter().collect(), &mut gradients, 1.0, true)?;
/// assert_eq!(norm.item::<f32>()?, 5.0);
/// let clipped = p.gradient(&gradients).map(|g| g.to_vec::<f32>()).transpose()?.unwrap_or_default();
/// assert!((clipped[1] - 0.8).abs() < 1e-5);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Argument`] where `max_norm` is not above 0, where no parameter has a gradient, or where the norm is not finite and
/// that was asked for; nothing is changed then. The device's errors.
pub fn clip_grad_norm(
    parameters: &Parameters,
    gradients: &mut Gradients,
    max_norm: f64,
    error_if_nonfinite: bool,
) -> Result<Tensor> {
    const WHAT: &str = "clip_grad_norm";
    if !(max_norm > 0.0 && max_norm.is_finite()) {
        return Err(Error::argument(WHAT, format!("max_norm = {max_norm}; pass a finite number above 0")));
    }
    let found = gradients_of(parameters, gradients);
    let tensors: Vec<&Tensor> = found.iter().map(|(_, gradient)| gradient).collect();
    let Some(device) = tensors.first().map(|tensor| tensor.device().clone()) else {
        return Err(Error::argument(WHAT, "no parameter has a gradient; pass those that the loss depends on"));
    };
    let norm = foreach::norm(&device, &tensors)?;
    if error_if_nonfinite && !device.is_shapes_only() {
        let length = norm.item::<f32>()?;
        if !length.is_finite() {
            return Err(Error::argument(
                WHAT,
                format!(
                    "the gradients' norm is {length}; lower the learning rate, or look for the op by Tape::detect_anomaly"
                ),
            ));
        }
    }
    let largest = Tensor::full(&device, (), max_norm, DType::F32)?;
    let factor = largest.div(&norm.add_scalar(1e-6)?)?.clamp(f64::NEG_INFINITY, 1.0)?;
    let clipped = foreach::scale(&tensors, &factor)?;
    replace(gradients, found, clipped);
    Ok(norm)
}

/// Bounds every element of the parameters' gradients by `clip_value` in size: PyTorch's `clip_grad_value_`. A NaN stays.
///
/// # Errors
/// [`Error::Argument`] where `clip_value` is negative or NaN; the device's errors.
pub fn clip_grad_value(parameters: &Parameters, gradients: &mut Gradients, clip_value: f64) -> Result<()> {
    if !(clip_value >= 0.0 && clip_value.is_finite()) {
        let message = format!("clip_value = {clip_value}; pass a finite number of at least 0");
        return Err(Error::argument("clip_grad_value", message));
    }
    let found = gradients_of(parameters, gradients);
    let tensors: Vec<&Tensor> = found.iter().map(|(_, gradient)| gradient).collect();
    let clipped = foreach::clamp(&tensors, -clip_value, clip_value)?;
    replace(gradients, found, clipped);
    Ok(())
}
