//! What can go wrong on a GPU, and the cell that keeps the first fault.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::adapter::AdapterInfo;
use crate::pool::Holder;

/// An error of the GPU layer. It says what was given, what is needed and what to change.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter fits what was asked for.
    #[error("no GPU adapter{}: {}; {hint}", words_wanted(.wanted), words_seen(.seen))]
    NoAdapter {
        /// The backend and adapter asked for, in words; empty when anything would have done.
        wanted: String,
        /// Every adapter that the system shows on any backend.
        seen: Vec<AdapterInfo>,
        /// What to do.
        hint: String,
    },
    /// An option or environment variable has a value that is not understood.
    #[error("{name} is {given:?}; needs {needed}")]
    Option {
        /// The option's or variable's name.
        name: &'static str,
        /// Its value.
        given: String,
        /// The values it can have.
        needed: &'static str,
    },
    /// The adapter refused to open a device.
    #[error(
        "adapter {adapter:?} refused to open a device: {message}; update its driver or choose another by KILN_ADAPTER"
    )]
    Open {
        /// The adapter's name.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// More bytes than the adapter can ever hold in one buffer.
    #[error(
        "{label}: {bytes} bytes are more than this adapter's largest buffer of {limit} bytes; use a smaller batch or split the tensor"
    )]
    TooLarge {
        /// Who asked.
        label: &'static str,
        /// How much.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
    },
    /// The GPU's memory is full.
    #[error(
        "{label}: out of GPU memory: {bytes} bytes asked, {in_use} bytes in use, {reserved} bytes reserved{}; use a smaller batch or drop tensors that are no longer needed",
        words_holders(.holders)
    )]
    OutOfMemory {
        /// Who asked.
        label: &'static str,
        /// How much.
        bytes: u64,
        /// Bytes held by live allocations.
        in_use: u64,
        /// Bytes held by the pool, in use or free.
        reserved: u64,
        /// The largest holders, largest first.
        holders: Vec<Holder>,
    },
    /// A launch binds more than the adapter can bind at once.
    #[error(
        "{label}: a binding of {bytes} bytes is larger than this adapter's limit of {limit} bytes; split the operation"
    )]
    BindingTooLarge {
        /// The pipeline's label.
        label: String,
        /// The binding's size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
    },
    /// A launch does not fit its pipeline.
    #[error("{label}: {message}")]
    Launch {
        /// The pipeline's label.
        label: String,
        /// What was given and what is needed.
        message: String,
    },
    /// A range of an allocation was asked for that it does not have.
    #[error(
        "{action}: bytes {offset}..{end} of an allocation of {size} bytes; the range must lie inside and start and end at a multiple of 4"
    )]
    Range {
        /// `write` or `read`.
        action: &'static str,
        /// First byte.
        offset: u64,
        /// One past the last byte.
        end: u64,
        /// The allocation's size.
        size: u64,
    },
    /// A shader did not compile, or a command was invalid: a defect in a kernel, Kiln's or the user's own.
    #[error("{label}: {message}")]
    Validation {
        /// The pipeline's label or the step that failed.
        label: String,
        /// The compiler's or driver's words.
        message: String,
    },
    /// The device is gone: driver crash, reset, removal, or [`Device::destroy`](crate::Device::destroy).
    #[error("the GPU device is lost ({reason}); open a new device and load the last checkpoint")]
    DeviceLost {
        /// The driver's words.
        reason: String,
    },
    /// Compiled kernels could not be kept.
    #[error("{}: cannot keep compiled kernels: {message}; set KILN_CACHE_DIR to a folder that can be written, or to nothing", .file.display())]
    Cache {
        /// The file.
        file: PathBuf,
        /// The system's words.
        message: String,
    },
    /// GPU time cannot be measured on this adapter.
    #[error("adapter {adapter:?} has no timestamp queries, so GPU time cannot be measured; profile on another adapter")]
    NoTimestamps {
        /// The adapter's name.
        adapter: String,
    },
    /// What was asked for takes values, and [`Device::shapes_only`](crate::Device::shapes_only) computes none.
    #[error("{action}: this device computes shapes and memory only, no values; open an adapter by Device::open")]
    ShapesOnly {
        /// `read` or `start_profile`.
        action: &'static str,
    },
    /// A driver failure that fits none of the others.
    #[error("the GPU driver failed: {message}")]
    Internal {
        /// The driver's words.
        message: String,
    },
}

fn words_wanted(wanted: &str) -> String {
    if wanted.is_empty() { String::new() } else { format!(" matches {wanted}") }
}

fn words_seen(seen: &[AdapterInfo]) -> String {
    if seen.is_empty() {
        return "none was found".to_string();
    }
    let list: Vec<String> = seen.iter().enumerate().map(|(index, info)| format!("[{index}] {info}")).collect();
    format!("seen: {}", list.join(", "))
}

fn words_holders(holders: &[Holder]) -> String {
    let mut text = String::new();
    for (index, holder) in holders.iter().take(5).enumerate() {
        let _ = write!(
            text,
            "{} {} {} bytes in {}",
            if index == 0 { " (largest holders:" } else { "," },
            holder.label,
            holder.bytes,
            holder.count
        );
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

impl GpuError {
    pub(crate) fn from_wgpu(label: &str, error: wgpu::Error) -> GpuError {
        match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::Internal { message: format!("{label}: out of memory") },
            wgpu::Error::Validation { description, .. } => {
                GpuError::Validation { label: label.to_string(), message: description }
            }
            wgpu::Error::Internal { description, .. } => {
                GpuError::Internal { message: format!("{label}: {description}") }
            }
        }
    }
}

/// Keeps the first fault that the driver reported outside of any call, and whether the device is lost.
#[derive(Default)]
pub(crate) struct FaultCell {
    first: OnceLock<GpuError>,
    lost: Mutex<Option<String>>,
}

impl FaultCell {
    pub(crate) fn record(&self, error: GpuError) {
        let _ = self.first.set(error);
    }

    pub(crate) fn record_lost(&self, reason: String) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert(reason);
    }

    /// The fault that every wait returns: a lost device outranks what it caused.
    pub(crate) fn check(&self) -> Result<(), GpuError> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = lost.as_ref() {
            return Err(GpuError::DeviceLost { reason: reason.clone() });
        }
        self.first.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}
