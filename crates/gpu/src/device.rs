//! The device: one adapter, opened.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::adapter::{self, AdapterInfo, Opened, Options};
use crate::compile::Layouts;
use crate::error::{FaultCell, GpuError};
use crate::launch::Stream;
use crate::pipelines::PipelineCache;
use crate::pool::Pool;

/// An opened adapter. Clones are the same device; it can be used from any thread.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

type Extensions = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

pub(crate) struct Inner {
    pub(crate) info: AdapterInfo,
    cache_dir: Option<PathBuf>,
    pub(crate) pipelines: Option<PipelineCache>,
    pub(crate) faults: Arc<FaultCell>,
    pub(crate) layouts: Layouts,
    pub(crate) stream: Mutex<Stream>,
    pub(crate) pool: Mutex<Pool>,
    extensions: Mutex<Extensions>,
    pub(crate) queue: wgpu::Queue,
    pub(crate) device: wgpu::Device,
}

impl Device {
    /// Opens the best adapter, or the one that `KILN_BACKEND` and `KILN_ADAPTER` name.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] with the adapters that were seen, [`GpuError::Option`], [`GpuError::Open`].
    pub fn open_default() -> Result<Device, GpuError> {
        Device::open(Options::new())
    }

    /// Opens the adapter that the options choose.
    ///
    /// # Errors
    /// As [`Device::open_default`].
    pub fn open(options: Options) -> Result<Device, GpuError> {
        pollster::block_on(Device::open_async(options))
    }

    /// Opens the adapter that the options choose, without blocking.
    ///
    /// # Errors
    /// As [`Device::open_default`].
    pub async fn open_async(options: Options) -> Result<Device, GpuError> {
        let Opened { device, queue, info, cache_dir, pipelines } = adapter::open(options).await?;
        let faults = Arc::new(FaultCell::default());
        let cell = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| cell.record(GpuError::from_wgpu("a queued command", error))));
        let cell = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            let reason = if message.is_empty() { format!("{reason:?}") } else { message };
            cell.record_lost(reason);
        });
        let layouts = Layouts::new(&device, info.limits.storage_buffers);
        let stream = Mutex::new(Stream::new(&device, &layouts));
        Ok(Device(Arc::new(Inner {
            info,
            cache_dir,
            pipelines,
            faults,
            layouts,
            stream,
            pool: Mutex::default(),
            extensions: Mutex::default(),
            queue,
            device,
        })))
    }

    /// Every adapter that can compute through Vulkan, Metal or DX12, in order of preference: the order of the indices that
    /// `KILN_ADAPTER` takes.
    pub fn list() -> Vec<AdapterInfo> {
        pollster::block_on(adapter::list())
    }

    /// The adapter, with the features and limits that are in force.
    pub fn info(&self) -> &AdapterInfo {
        &self.0.info
    }

    /// The folder for compiled kernels and tuning files; `None` where nothing is kept. It need not exist.
    pub fn cache_dir(&self) -> Option<&Path> {
        self.0.cache_dir.as_deref()
    }

    /// Ends the device: whatever is called from now on returns [`GpuError::DeviceLost`], as after a driver reset.
    pub fn destroy(&self) {
        self.0.device.destroy();
        self.0.faults.record_lost("destroyed by the program".to_string());
    }

    /// State that a higher layer keeps per device (compiled kernels, tables), made at first use.
    pub fn extension<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut extensions = self.0.extensions.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        // The map's key is the type, so the downcast holds; a fresh value is the harmless alternative.
        entry.clone().downcast::<T>().unwrap_or_default()
    }

    /// Whether both are the same device.
    pub fn same(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.0.info)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.same(other)
    }
}
