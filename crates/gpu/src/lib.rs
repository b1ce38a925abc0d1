//! Kiln's GPU layer: the only crate that names wgpu.
//!
//! It opens a [`Device`] on Vulkan, Metal or DX12, hands out memory from a reusing pool ([`Allocation`]), compiles WGSL
//! into [`Pipeline`]s, batches launches into command buffers, moves bytes in both directions, measures GPU time
//! ([`Profile`]) and turns every failure into a [`GpuError`].
//!
//! ```
//! use kiln_gpu::{Binding, Device, ParamSpace, PipelineDescriptor};
//!
//! # fn main() -> Result<(), kiln_gpu::GpuError> {
//! let device = Device::open_default()?;
//! let double = device.pipeline(&PipelineDescriptor {
//!     label: "double",
//!     source: "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
//!              @compute @workgroup_size(64)
//!              fn main(@builtin(global_invocation_id) id: vec3<u32>) {
//!                  if (id.x < arrayLength(&x)) { x[id.x] = 2.0 * x[id.x]; }
//!              }",
//!     bindings: 1,
//!     params_bytes: 0,
//!     param_space: ParamSpace::Uniform,
//! })?;
//! let x = device.allocate(16, "example")?;
//! device.write(&x, 0, &[1.0f32, 2.0, 3.0, 4.0])?;
//! device.launch(&double, &[Binding { allocation: &x, offset: 0, size: 16 }], &[], 1)?;
//! assert_eq!(device.read_blocking::<f32>(&x, 0, 4)?, [2.0, 4.0, 6.0, 8.0]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Device::shapes_only`] is a device that needs no adapter: it plans, checks and counts, and computes nothing.
//!
//! Work runs in the order in which it was given, on one queue. Nothing waits until a result is read.

mod adapter;
pub mod cache;
mod census;
mod compile;
mod device;
mod error;
mod launch;
mod pipelines;
mod pool;
mod profile;
mod quiet;
mod transfer;

pub use adapter::{AdapterClass, AdapterInfo, AdapterKind, Backend, Features, Limits, MatrixUnit, Options};
pub use census::Live;
pub use compile::{ParamSpace, Pipeline, PipelineDescriptor};
pub use device::Device;
pub use error::GpuError;
pub use launch::{Binding, MIN_BINDINGS};
pub use pool::{Allocation, Holder, MemoryReport};
pub use profile::{Event, Profile, Scope};
pub use quiet::quiet_drivers;
