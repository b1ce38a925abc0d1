//! Kernels of a program's own, on the same footing as the library's.
//!
//! A [`Kernel`] is WGSL text. [`launch`] compiles it once for each device and queues it behind what was queued before, on tensors.
//! With [`Tape::record`](https://docs.rs/kiln-autograd) and a kernel for the derivative it becomes an operation that can be trained
//! through.
//!
//! The text is plain WGSL with three conventions:
//!
//! - a storage buffer a tensor, in their order: lines `@group(0) @binding(0) var<storage, read_write> x: array<f32>;`, all
//!   `read_write`. Element 0 is the tensor's first, elements lie row by row, and booleans and bytes come four to a `u32`;
//! - the numbers that change from call to call in a `struct Params` of `u32`, `i32`, `f32` and vectors of two or four of these,
//!   which is then there as `params`;
//! - the entry point is `main`. A line `//! use: index math` brings in parts of the library: `index` has `group_index(group, groups)`,
//!   the number of a workgroup, which may be spread over two dimensions; `math` has exponentials, logarithms and the like with known
//!   error bounds, where WGSL's own may be off.
//!
//! ```
//! use kiln_tensor::custom::{Kernel, groups, launch};
//! use kiln_tensor::{DType, Device, Tensor};
//!
//! const SQUARES: &str = "
//! //! use: index
//! struct Params { count: u32, scale: f32 }
//! @group(0) @binding(0) var<storage, read_write> x: array<f32>;
//! @group(0) @binding(1) var<storage, read_write> y: array<f32>;
//!
//! @compute @workgroup_size(64)
//! fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) all: vec3<u32>,
//!         @builtin(local_invocation_index) lane: u32) {
//!     let i = group_index(group, all) * 64u + lane;
//!     if (i < params.count) {
//!         y[i] = params.scale * x[i] * x[i];
//!     }
//! }";
//!
//! #[repr(C)]
//! #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
//! struct Params {
//!     count: u32,
//!     scale: f32,
//! }
//!
//! # fn main() -> Result<(), kiln_tensor::Error> {
//! let device = Device::open_default()?;
//! let x = Tensor::from_slice(&device, [3], &[1.0f32, 2.0, 3.0])?;
//! let y = Tensor::zeros(&device, [3], DType::F32)?;
//! let params = Params { count: 3, scale: 0.5 };
//! launch(&Kernel::from_wgsl("squares", SQUARES), &[&x], &[&y], &params, groups(3, 64))?;
//! assert_eq!(y.to_vec::<f32>()?, [0.5, 2.0, 4.5]);
//! # Ok(()) }
//! ```

use bytemuck::Pod;

pub use kiln_shaders::Kernel;

use crate::error::{Error, Result};
use crate::tensor::Tensor;

const OP: &str = "custom::launch";

/// Bytes at whose multiples a binding may begin on every adapter.
const ALIGNMENT: usize = 256;

/// How many workgroups of `size` threads have at least `threads` together.
pub const fn groups(threads: usize, size: usize) -> u64 {
    threads.div_ceil(if size == 0 { 1 } else { size }) as u64
}

/// Queues `groups` workgroups of a kernel. Its buffers are the inputs, then the outputs. Inputs that are views are copied first;
/// outputs are written in place, so each has to be a whole tensor of its own, and one that backward has saved is then an error
/// there. `params` has the bytes of `struct Params`; pass `&()` where there is none. With 0 groups nothing happens.
///
/// # Errors
/// [`Error::Argument`] for no tensors at all or an output that is a view, [`Error::Gpu`] where the text is no valid WGSL (with its
/// lines), the numbers of buffers or bytes are others than the kernel's, a tensor is larger than the adapter can bind, or the
/// tensors are on two devices.
pub fn launch<P: Pod>(kernel: &Kernel, inputs: &[&Tensor], outputs: &[&Tensor], params: &P, groups: u64) -> Result<()> {
    let Some(first) = inputs.iter().chain(outputs).next() else {
        return Err(Error::argument(OP, format!("{} has no tensors; pass at least one output", kernel.label())));
    };
    let device = first.device().clone();
    for tensor in inputs.iter().chain(outputs) {
        first.check_device(OP, tensor)?;
    }
    let starts = |tensor: &Tensor| (tensor.offset() * tensor.dtype().size()).is_multiple_of(ALIGNMENT);
    if let Some(index) = outputs.iter().position(|output| !output.is_contiguous() || !starts(output)) {
        return Err(Error::argument(
            OP,
            format!("output {index} of {} is a view; pass a tensor of its own: Tensor::zeros", kernel.label()),
        ));
    }
    if groups == 0 {
        return Ok(());
    }
    let aligned = |tensor: &&Tensor| -> Result<Tensor> {
        let tensor = tensor.contiguous()?;
        if starts(&tensor) { Ok(tensor) } else { Tensor::cat(&[&tensor.reshape([tensor.numel()])?], 0) }
    };
    let inputs: Vec<Tensor> = inputs.iter().map(aligned).collect::<Result<_>>()?;
    let windows: Vec<_> = inputs.iter().chain(outputs.iter().copied()).map(Tensor::window).collect();
    let bindings: Vec<_> = windows.iter().map(|window| window.binding).collect();
    crate::launch::launch(&device, kernel, &bindings, params, groups)?;
    outputs.iter().for_each(|output| output.bump_version());
    Ok(())
}
