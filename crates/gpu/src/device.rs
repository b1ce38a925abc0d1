//! The device: one adapter, opened.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::adapter::{self, AdapterInfo, Opened, Options};
use crate::cache;
use crate::census::Census;
use crate::compile::Layouts;
use crate::error::{FaultCell, GpuError};
use crate::launch::{Ring, Stream};
use crate::pipelines::PipelineCache;
use crate::pool::Pool;

/// An opened adapter. Clones are the same device; it can be used from any thread.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

type Extensions = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

pub(crate) struct Inner {
    pub(crate) info: AdapterInfo,
    cache_dir: Option<PathBuf>,
    pub(crate) faults: Arc<FaultCell>,
    // In front of the stream, and its layouts in front of all else of wgpu: the compiler follows the types in this order when it
    // asks whether threads can share a device, and meets its limit of depth in another.
    /// `None` where only shapes are computed.
    pub(crate) gpu: Option<Gpu>,
    pub(crate) stream: Mutex<Stream>,
    pub(crate) pool: Mutex<Pool>,
    extensions: Mutex<Extensions>,
}

/// What a device has where there is a GPU behind it.
pub(crate) struct Gpu {
    pub(crate) layouts: Layouts,
    pub(crate) ring: Ring,
    pub(crate) pipelines: Option<PipelineCache>,
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
        let ring = Ring::new(&device, &layouts);
        Ok(Device::of(info, cache_dir, faults, Some(Gpu { pipelines, layouts, ring, queue, device })))
    }

    /// A device without a GPU behind it, which plans and counts as the adapter would and computes nothing. It needs neither an
    /// adapter nor a driver.
    ///
    /// Shapes, errors of the call, the choice of kernels (with the adapter's [tuning file](Device::cache_dir)), the number of
    /// [launches](Device::launches) and the [memory](Device::memory) are those of a device that runs. No kernel is compiled or
    /// run and no memory is taken: what is written is dropped, and reading is [`GpuError::ShapesOnly`].
    ///
    /// ```
    /// use kiln_gpu::{AdapterInfo, Device, GpuError};
    /// # fn main() -> Result<(), GpuError> {
    /// let device = Device::shapes_only(AdapterInfo::discrete());
    /// let half = device.allocate(8 << 30, "activations")?;
    /// let rest = device.allocate(8 << 30, "gradients")?;
    /// assert_eq!(device.memory().peak, 16 << 30);
    /// assert!(matches!(device.read_blocking::<f32>(&half, 0, 1), Err(GpuError::ShapesOnly { .. })));
    /// # drop(rest);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shapes_only(info: AdapterInfo) -> Device {
        Device::of(info, cache::folder(), Arc::default(), None)
    }

    fn of(info: AdapterInfo, cache_dir: Option<PathBuf>, faults: Arc<FaultCell>, gpu: Option<Gpu>) -> Device {
        let (stream, extensions) = Default::default();
        let pool = Mutex::new(Pool::new(gpu.is_none().then(Census::default)));
        Device(Arc::new(Inner { info, cache_dir, faults, stream, pool, extensions, gpu }))
    }

    /// Whether it was made by [`Device::shapes_only`], so that there are no values to read.
    pub fn is_shapes_only(&self) -> bool {
        self.0.gpu.is_none()
    }

    /// Every adapter that can compute through Vulkan, Metal or DX12, in order of preference.
    pub fn list() -> Vec<AdapterInfo> {
        pollster::block_on(adapter::list())
    }

    /// The adapters among which these options and the environment choose, in order of preference, and the index of the one that
    /// [`Device::open`] takes. Their indices are those that `KILN_ADAPTER` and [`Options::adapter`] take: with a backend chosen,
    /// only its adapters count.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] and [`GpuError::Option`], as [`Device::open`].
    pub fn candidates(options: Options) -> Result<(Vec<AdapterInfo>, usize), GpuError> {
        let found = pollster::block_on(adapter::candidates(options))?;
        Ok((found.adapters.into_iter().map(|(_, info)| info).collect(), found.chosen))
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
        if let Some(gpu) = &self.0.gpu {
            gpu.device.destroy();
        }
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

    /// What does `action`, which takes a GPU.
    pub(crate) fn gpu(&self, action: &'static str) -> Result<&Gpu, GpuError> {
        self.0.gpu.as_ref().ok_or(GpuError::ShapesOnly { action })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = if self.is_shapes_only() { "shapes only, " } else { "" };
        write!(f, "Device({shapes}{})", self.0.info)
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Device) -> bool {
        self.same(other)
    }
}
