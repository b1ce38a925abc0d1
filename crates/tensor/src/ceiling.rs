//! What an adapter can do at most: the work against whose time kernels are measured.
//!
//! Two launches, to be timed by whoever measures: [`multiply_adds`] computes in registers without touching memory, [`copy`] moves
//! memory without computing.

use kiln_gpu::Device;
use kiln_shaders::ceiling as kernels;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::tensor::Tensor;

/// Floating-point operations of [`multiply_adds`]: a multiply-add is two.
pub fn operations(threads: u32, rounds: u32) -> u64 {
    2 * kernels::MULTIPLY_ADDS_A_ROUND * u64::from(threads) * u64::from(rounds)
}

/// Queues `rounds` rounds of 8 steps `a = a x + y` of 12 independent chains, in each of `threads` threads: [`operations`] in all.
/// The result holds the chains' sums, four `f32` a thread.
///
/// ```
/// # use kiln_tensor::{Device, ceiling};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let device = Device::open_default()?;
/// let sums = ceiling::multiply_adds(&device, 64, 8)?;
/// // Each chain is `a / 2 + 1`, which tends to 2; a result is the sum of three.
/// assert_eq!(sums.to_vec::<f32>()?, [6.0; 256]);
/// assert_eq!(ceiling::operations(64, 8), 2 * 64 * 8 * 8 * 12);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Gpu`].
pub fn multiply_adds(device: &Device, threads: u32, rounds: u32) -> Result<Tensor> {
    const OP: &str = "ceiling::multiply_adds";
    let out = Tensor::empty(device, [threads as usize, 4], DType::F32, OP)?;
    launch_planned(device, &kernels::multiply_add(threads, rounds), &[out.window().binding])?;
    Ok(out)
}

/// Queues a copy of a contiguous tensor of `f32` by vec4 loads and stores: twice its bytes are moved.
///
/// # Errors
/// [`Error::Argument`] for a view or for more than the adapter binds at once, [`Error::DType`]; [`Error::Gpu`].
pub fn copy(x: &Tensor) -> Result<Tensor> {
    const OP: &str = "ceiling::copy";
    x.check_dtype(OP, "the tensor", &[DType::F32])?;
    if !x.is_contiguous() || x.offset() != 0 || !x.numel().is_multiple_of(4) || !x.fits() {
        return Err(Error::argument(
            OP,
            format!(
                "a tensor of shape {} at element {}; needs a contiguous one from element 0 on, a multiple of 4 elements, \
                 and at most {} bytes",
                x.shape(),
                x.offset(),
                x.device().info().limits.binding_bytes
            ),
        ));
    }
    let out = Tensor::empty(x.device(), *x.shape(), DType::F32, OP)?;
    launch_planned(x.device(), &kernels::copy((x.numel() / 4) as u32), &[x.window().binding, out.window().binding])?;
    Ok(out)
}
