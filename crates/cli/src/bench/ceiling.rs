//! What the adapter can do at most, measured.

use anyhow::Result;
use kiln_gpu::{AdapterClass, Device};
use kiln_tensor::{DType, Tensor, ceiling};

use super::clock;

/// The rates that no kernel exceeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ceiling {
    /// Multiply-adds in registers, each counted as two operations.
    pub(super) gflops: f64,
    /// Bytes read and written by a copy, in units of 10^9.
    pub(super) copy_gb_per_s: f64,
}

impl Ceiling {
    pub(super) fn measure(device: &Device) -> Result<Ceiling> {
        // Enough threads for every lane of a large GPU several times over; a software adapter has few lanes, and is slow.
        let (threads, rounds, copied) = match device.info().class {
            AdapterClass::Software => (1 << 12, 256, 32 << 20),
            AdapterClass::Gpu => (1 << 20, 1024, 256 << 20),
        };
        let compute = clock::time(device, || Ok(ceiling::multiply_adds(device, threads, rounds)?))?;

        let bytes = device.info().limits.binding_bytes.min(copied);
        let x = Tensor::zeros(device, [(bytes / 16) as usize, 4], DType::F32)?;
        let copy = clock::time(device, || Ok(ceiling::copy(&x)?))?;
        Ok(Ceiling {
            gflops: ceiling::operations(threads, rounds) as f64 / compute.best_ms / 1e6,
            copy_gb_per_s: 2.0 * bytes as f64 / copy.best_ms / 1e6,
        })
    }
}
