//! Adapters: what the system has, what was asked for, and which one is taken.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cache;
use crate::error::GpuError;
use crate::launch::MAX_BINDINGS;
use crate::pipelines::PipelineCache;

/// A graphics API that reaches an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Vulkan: Linux, Windows, Android.
    Vulkan,
    /// Metal: macOS and iOS.
    Metal,
    /// Direct3D 12: Windows.
    Dx12,
    /// OpenGL or OpenGL ES: only on request, since its compute support is incomplete.
    Gl,
}

impl Backend {
    const NEEDED: &'static str = "one of vulkan, metal, dx12, gl";

    /// Reads a backend's name: `vulkan` (`vk`), `metal` (`mtl`), `dx12` (`d3d12`), `gl` (`gles`, `opengl`).
    ///
    /// # Errors
    /// [`GpuError::Option`] for any other word.
    pub fn from_name(name: &str) -> Result<Backend, GpuError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "vulkan" | "vk" => Ok(Backend::Vulkan),
            "metal" | "mtl" => Ok(Backend::Metal),
            "dx12" | "d3d12" => Ok(Backend::Dx12),
            "gl" | "gles" | "opengl" => Ok(Backend::Gl),
            _ => Err(GpuError::Option { name: "KILN_BACKEND", given: name.to_string(), needed: Self::NEEDED }),
        }
    }

    fn to_wgpu(self) -> wgpu::Backends {
        match self {
            Backend::Vulkan => wgpu::Backends::VULKAN,
            Backend::Metal => wgpu::Backends::METAL,
            Backend::Dx12 => wgpu::Backends::DX12,
            Backend::Gl => wgpu::Backends::GL,
        }
    }

    fn from_wgpu(backend: wgpu::Backend) -> Option<Backend> {
        match backend {
            wgpu::Backend::Vulkan => Some(Backend::Vulkan),
            wgpu::Backend::Metal => Some(Backend::Metal),
            wgpu::Backend::Dx12 => Some(Backend::Dx12),
            wgpu::Backend::Gl => Some(Backend::Gl),
            _ => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Vulkan => "vulkan",
            Backend::Metal => "metal",
            Backend::Dx12 => "dx12",
            Backend::Gl => "gl",
        })
    }
}

/// What kind of hardware an adapter is. In order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// Not told by the driver.
    Other,
    /// A driver that computes on the processor (lavapipe, WARP, SwiftShader).
    Software,
}

/// Which family of kernels suits an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterClass {
    /// A processor behind a GPU interface: no barriers, large register tiles, few loads.
    Software,
    /// A GPU: workgroup memory, barriers, wide loads.
    Gpu,
}

/// What an adapter offers beyond the minimum. Each is used only where it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Features {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// 64-bit integers in kernels.
    pub int64: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Timestamp queries, for the profiler.
    pub timestamps: bool,
    /// Launch parameters in the command stream instead of a buffer.
    pub immediates: bool,
    /// Compiled pipelines can be kept.
    pub pipeline_cache: bool,
    /// Matrix units: reported, and enabled on request by [`Options::cooperative_matrices`].
    pub cooperative_matrices: bool,
}

/// Square matrices that an adapter multiplies as a whole, with sums in `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MatrixUnit {
    /// Rows and columns.
    pub side: u32,
    /// Whether the operands are `f16`; else they are `f32`.
    pub f16: bool,
}

/// `16x16 f16`.
impl fmt::Display for MatrixUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{0}x{0} {1}", self.side, if self.f16 { "f16" } else { "f32" })
    }
}

/// An adapter's limits that shape kernels and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Largest part of a buffer that a launch can see, in bytes.
    pub binding_bytes: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Invocations per workgroup.
    pub workgroup_invocations: u32,
    /// Workgroups per dimension of a dispatch.
    pub workgroups: u32,
    /// Bytes of immediates; 0 where there are none.
    pub immediate_bytes: u32,
    /// Storage buffers that one launch can bind: 8 on every adapter, at most 32 are used.
    pub storage_buffers: u32,
    /// Alignment of a binding's offset, in bytes.
    pub offset_alignment: u32,
}

/// What is known of an adapter before it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdapterInfo {
    /// The adapter's name, from its driver.
    pub name: String,
    /// The API through which it is reached.
    pub backend: Backend,
    /// The hardware.
    pub kind: AdapterKind,
    /// Which kernels suit it.
    pub class: AdapterClass,
    /// The driver's name and version.
    pub driver: String,
    /// Lanes of a subgroup, where every subgroup has the same number; 0 otherwise.
    pub subgroup_size: u32,
    /// Optional features.
    pub features: Features,
    /// What its matrix units multiply, where it has the feature.
    pub matrix_units: Vec<MatrixUnit>,
    /// Limits.
    pub limits: Limits,
}

impl AdapterInfo {
    /// What [`Device::info`](crate::Device::info) of the device that these options open would be. The adapter is looked at and not
    /// opened.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] with the adapters that were seen, [`GpuError::Option`].
    pub fn find(options: Options) -> Result<AdapterInfo, GpuError> {
        let (adapter, info, options) = pollster::block_on(choose(options))?;
        Ok(Required::new(&adapter, &options).describe(info))
    }

    /// A processor behind a GPU interface, as Mesa's lavapipe 22.3 reports it: kernels of [`AdapterClass::Software`], at most
    /// 128 MiB in a binding and 2 GiB in a buffer. For [`Device::shapes_only`](crate::Device::shapes_only).
    pub fn software() -> AdapterInfo {
        AdapterInfo {
            name: "software".to_string(),
            backend: Backend::Vulkan,
            kind: AdapterKind::Software,
            class: AdapterClass::Software,
            driver: String::new(),
            subgroup_size: 8,
            features: Features {
                f16: true,
                int64: true,
                subgroups: true,
                timestamps: true,
                immediates: true,
                pipeline_cache: true,
                cooperative_matrices: false,
            },
            matrix_units: Vec::new(),
            limits: Limits {
                buffer_bytes: (2 << 30) - 1,
                binding_bytes: 128 << 20,
                workgroup_bytes: 32 << 10,
                workgroup_invocations: 1024,
                workgroups: 65_535,
                immediate_bytes: 128,
                storage_buffers: MAX_BINDINGS,
                offset_alignment: 32,
            },
        }
    }

    /// A discrete GPU as today's Vulkan drivers report one: kernels of [`AdapterClass::Gpu`], at most 4 GiB in a binding, 48 KiB of
    /// workgroup memory, subgroups of 32, no matrix units. For [`Device::shapes_only`](crate::Device::shapes_only).
    pub fn discrete() -> AdapterInfo {
        let AdapterInfo { features, limits, .. } = AdapterInfo::software();
        AdapterInfo {
            name: "discrete".to_string(),
            kind: AdapterKind::Discrete,
            class: AdapterClass::Gpu,
            subgroup_size: 32,
            limits: Limits {
                buffer_bytes: 1 << 40,
                binding_bytes: (4 << 30) - 4,
                workgroup_bytes: 48 << 10,
                immediate_bytes: 256,
                ..limits
            },
            features,
            ..AdapterInfo::software()
        }
    }
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AdapterKind::Discrete => "discrete",
            AdapterKind::Integrated => "integrated",
            AdapterKind::Virtual => "virtual",
            AdapterKind::Other => "other",
            AdapterKind::Software => "software",
        };
        write!(f, "{} ({}, {kind}", self.name, self.backend)?;
        if !self.driver.is_empty() {
            write!(f, ", {}", self.driver)?;
        }
        f.write_str(")")
    }
}

/// Which adapter to open, and with what.
///
/// What is left out is taken from the environment (`KILN_BACKEND`, `KILN_ADAPTER`), and else chosen: discrete before
/// integrated before software.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Options {
    pub(crate) backend: Option<Backend>,
    pub(crate) adapter: Option<String>,
    pub(crate) minimal: bool,
    pub(crate) cooperative_matrices: bool,
    pub(crate) ignore_environment: bool,
    pub(crate) buffer_bytes: Option<u64>,
    pub(crate) binding_bytes: Option<u64>,
    pub(crate) cache_dir: Option<Option<PathBuf>>,
}

impl Options {
    /// Everything chosen automatically.
    pub fn new() -> Options {
        Options::default()
    }

    /// Only adapters of this backend.
    pub fn backend(mut self, backend: Backend) -> Options {
        self.backend = Some(backend);
        self
    }

    /// The adapter by its index in [`Device::candidates`](crate::Device::candidates) or by a part of its name, whatever the case.
    pub fn adapter(mut self, adapter: impl Into<String>) -> Options {
        self.adapter = Some(adapter.into());
        self
    }

    /// No optional feature and the smallest limits that WebGPU guarantees: how a kernel behaves on the weakest adapter.
    pub fn minimal(mut self) -> Options {
        self.minimal = true;
        self
    }

    /// Asks for matrix units where the adapter has them, as `KILN_PLAN=cooperative` does. They are experimental in wgpu.
    ///
    /// Products and convolutions then use them wherever they apply and a test on this adapter passed. Most units take `f16`: operands
    /// are rounded to it, a relative error of up to 2^-11 each, and beyond 65,504 become infinite. Sums stay `f32`.
    pub fn cooperative_matrices(mut self) -> Options {
        self.cooperative_matrices = true;
        self
    }

    /// Does not read `KILN_BACKEND` and `KILN_ADAPTER`, and opens no matrix units for `KILN_PLAN`.
    pub fn ignore_environment(mut self) -> Options {
        self.ignore_environment = true;
        self
    }

    /// Refuses any buffer above this size, as a smaller adapter would.
    pub fn largest_buffer(mut self, bytes: u64) -> Options {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// Binds no more than this many bytes of a buffer to a kernel, as a smaller adapter would: larger tensors are worked on in
    /// parts.
    pub fn largest_binding(mut self, bytes: u64) -> Options {
        self.binding_bytes = Some(bytes);
        self
    }

    /// Keeps compiled kernels and tuning files in this folder, and not in [`cache::folder`](crate::cache::folder).
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Options {
        self.cache_dir = Some(Some(folder.into()));
        self
    }

    /// Neither reads nor writes kept kernels and tuning files.
    pub fn no_cache(mut self) -> Options {
        self.cache_dir = Some(None);
        self
    }

    /// Fills in the environment's choices.
    fn resolve(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Options, GpuError> {
        if !self.ignore_environment {
            if self.backend.is_none() {
                self.backend = variable("KILN_BACKEND").map(|name| Backend::from_name(&name)).transpose()?;
            }
            if self.adapter.is_none() {
                self.adapter = variable("KILN_ADAPTER");
            }
            // A plan that needs a feature asks for it.
            self.cooperative_matrices |= variable("KILN_PLAN").is_some_and(|plan| plan.trim() == "cooperative");
        }
        Ok(self)
    }

    fn wanted(&self) -> String {
        match (&self.backend, &self.adapter) {
            (None, None) => String::new(),
            (Some(backend), None) => format!("backend {backend}"),
            (None, Some(adapter)) => format!("adapter {adapter:?}"),
            (Some(backend), Some(adapter)) => format!("backend {backend} and adapter {adapter:?}"),
        }
    }
}

/// The backends looked at when none is named.
const DEFAULT_BACKENDS: wgpu::Backends =
    wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// Every adapter of these backends, best first; adapters that cannot compute are left out.
async fn enumerate(backends: wgpu::Backends) -> Vec<(wgpu::Adapter, AdapterInfo)> {
    let mut found: Vec<(wgpu::Adapter, AdapterInfo)> = instance(backends)
        .enumerate_adapters(backends)
        .await
        .into_iter()
        .filter(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS))
        .filter_map(|adapter| describe(&adapter).map(|info| (adapter, info)))
        .collect();
    found.sort_by_key(|(_, info)| info.kind);
    found
}

pub(crate) async fn list() -> Vec<AdapterInfo> {
    enumerate(DEFAULT_BACKENDS).await.into_iter().map(|(_, info)| info).collect()
}

/// Adapters, best first, and the place of the chosen one.
pub(crate) struct Candidates {
    pub(crate) adapters: Vec<(wgpu::Adapter, AdapterInfo)>,
    pub(crate) chosen: usize,
    options: Options,
}

/// The adapters that the options and the environment leave, and the one that they choose.
pub(crate) async fn candidates(options: Options) -> Result<Candidates, GpuError> {
    let options = options.resolve(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))?;
    let backends = options.backend.map_or(DEFAULT_BACKENDS, Backend::to_wgpu);
    let adapters = enumerate(backends).await;
    let infos: Vec<&AdapterInfo> = adapters.iter().map(|(_, info)| info).collect();
    if let Some(chosen) = position(&infos, options.adapter.as_deref()) {
        return Ok(Candidates { adapters, chosen, options });
    }
    // Where a backend has none, what the others have shows which variable is set wrongly.
    let seen = if adapters.is_empty() { list().await } else { adapters.into_iter().map(|(_, info)| info).collect() };
    Err(GpuError::NoAdapter { wanted: options.wanted(), hint: hint(&seen), seen })
}

/// The adapter that the options and the environment choose.
async fn choose(options: Options) -> Result<(wgpu::Adapter, AdapterInfo, Options), GpuError> {
    let Candidates { mut adapters, chosen, options } = candidates(options).await?;
    let (adapter, info) = adapters.swap_remove(chosen);
    Ok((adapter, info, options))
}

/// The place of the adapter that `wanted` names (an index or part of a name), or of the best one.
fn position(infos: &[&AdapterInfo], wanted: Option<&str>) -> Option<usize> {
    let Some(wanted) = wanted else { return (!infos.is_empty()).then_some(0) };
    if let Ok(index) = wanted.trim().parse::<usize>() {
        return (index < infos.len()).then_some(index);
    }
    let wanted = wanted.trim().to_lowercase();
    infos.iter().position(|info| info.name.to_lowercase().contains(&wanted))
}

fn hint(seen: &[AdapterInfo]) -> String {
    if !seen.is_empty() {
        "set KILN_ADAPTER to an index or a part of a name above, KILN_BACKEND to its backend, or unset both".to_string()
    } else if cfg!(target_os = "linux") {
        "install a Vulkan driver: your GPU vendor's, or Mesa's software one (Debian and Ubuntu: mesa-vulkan-drivers and \
         libvulkan1, Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast, Alpine: mesa-vulkan-swrast)"
            .to_string()
    } else {
        "update the graphics driver".to_string()
    }
}

fn describe(adapter: &wgpu::Adapter) -> Option<AdapterInfo> {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    };
    let same_size = info.subgroup_min_size == info.subgroup_max_size;
    Some(AdapterInfo {
        name: info.name,
        backend: Backend::from_wgpu(info.backend)?,
        kind,
        class: if kind == AdapterKind::Software { AdapterClass::Software } else { AdapterClass::Gpu },
        driver: [info.driver, info.driver_info].join(" ").trim().to_string(),
        subgroup_size: if same_size { info.subgroup_min_size } else { 0 },
        features: features(adapter.features()),
        matrix_units: matrix_units(&adapter.cooperative_matrix_properties()),
        limits: limits(&adapter.limits()),
    })
}

/// Of what an adapter multiplies, the square ones with sums in f32.
fn matrix_units(properties: &[wgpu::CooperativeMatrixProperties]) -> Vec<MatrixUnit> {
    let mut units = Vec::new();
    for properties in properties {
        let side = properties.m_size;
        let f16 = properties.ab_type == wgpu::CooperativeScalarType::F16;
        let square = properties.n_size == side && properties.k_size == side;
        let sums = properties.cr_type == wgpu::CooperativeScalarType::F32 && !properties.saturating_accumulation;
        let unit = MatrixUnit { side, f16 };
        if square && sums && (f16 || properties.ab_type == wgpu::CooperativeScalarType::F32) && !units.contains(&unit) {
            units.push(unit);
        }
    }
    units
}

fn features(features: wgpu::Features) -> Features {
    Features {
        f16: features.contains(wgpu::Features::SHADER_F16),
        int64: features.contains(wgpu::Features::SHADER_INT64),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        immediates: features.contains(wgpu::Features::IMMEDIATES),
        pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
        cooperative_matrices: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
    }
}

fn limits(limits: &wgpu::Limits) -> Limits {
    Limits {
        buffer_bytes: limits.max_buffer_size,
        binding_bytes: limits.max_storage_buffer_binding_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        workgroup_invocations: limits.max_compute_invocations_per_workgroup,
        workgroups: limits.max_compute_workgroups_per_dimension,
        // naga tracks the words that a kernel reads in 64 bits.
        immediate_bytes: limits.max_immediate_size.min(256),
        storage_buffers: limits.max_storage_buffers_per_shader_stage.min(MAX_BINDINGS),
        offset_alignment: limits.min_storage_buffer_offset_alignment,
    }
}

/// An open adapter.
pub(crate) struct Opened {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// With what was really asked for.
    pub(crate) info: AdapterInfo,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) pipelines: Option<PipelineCache>,
}

/// What is asked of an adapter when it is opened.
struct Required {
    features: wgpu::Features,
    limits: wgpu::Limits,
}

impl Required {
    fn new(adapter: &wgpu::Adapter, options: &Options) -> Required {
        let own = adapter.limits();
        let mut required = if options.minimal {
            let mut limits = wgpu::Limits::defaults().or_worse_values_from(&own);
            // Alignments count the other way round: an adapter's own may be the larger.
            limits.min_storage_buffer_offset_alignment = 256.max(own.min_storage_buffer_offset_alignment);
            limits.min_uniform_buffer_offset_alignment = 256.max(own.min_uniform_buffer_offset_alignment);
            Required { features: wgpu::Features::empty(), limits }
        } else {
            let mut wanted = wgpu::Features::SHADER_F16
                | wgpu::Features::SHADER_INT64
                | wgpu::Features::SUBGROUP
                | wgpu::Features::TIMESTAMP_QUERY
                | wgpu::Features::IMMEDIATES
                | wgpu::Features::PIPELINE_CACHE;
            wanted.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, options.cooperative_matrices);
            Required { features: adapter.features() & wanted, limits: own }
        };
        let limits = &mut required.limits;
        if let Some(bytes) = options.buffer_bytes {
            limits.max_buffer_size = limits.max_buffer_size.min(bytes);
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(bytes);
        }
        if let Some(bytes) = options.binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(bytes);
        }
        required
    }

    /// What is known of the adapter, with what is in force once it is open.
    fn describe(&self, mut info: AdapterInfo) -> AdapterInfo {
        info.features = features(self.features);
        info.limits = limits(&self.limits);
        if !info.features.subgroups {
            info.subgroup_size = 0;
        }
        if !info.features.cooperative_matrices {
            info.matrix_units.clear();
        }
        info
    }
}

/// Opens the chosen adapter.
pub(crate) async fn open(options: Options) -> Result<Opened, GpuError> {
    let (adapter, info, options) = choose(options).await?;
    let required = Required::new(&adapter, &options);
    let info = required.describe(info);
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if info.features.cooperative_matrices {
        // SAFETY: wgpu asks the caller to accept that an experimental feature may have defects. Kiln enables this one
        // feature alone, and only when the program asked for it by `Options::cooperative_matrices`.
        #[allow(unsafe_code)]
        {
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
    }
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor {
            label: Some("kiln"),
            required_features: required.features,
            required_limits: required.limits,
            experimental_features,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        })
        .await
        .map_err(|error| GpuError::Open { adapter: info.name.clone(), message: error.to_string() })?;
    let cache_dir = options.cache_dir.unwrap_or_else(cache::folder);
    let pipelines = cache_dir.as_deref().and_then(|folder| PipelineCache::open(&device, &adapter.get_info(), folder));
    Ok(Opened { device, queue, info, cache_dir, pipelines })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: AdapterKind) -> AdapterInfo {
        AdapterInfo {
            name: name.to_string(),
            backend: Backend::Vulkan,
            kind,
            class: AdapterClass::Gpu,
            driver: "drv 1.0".to_string(),
            subgroup_size: 32,
            features: features(wgpu::Features::empty()),
            matrix_units: Vec::new(),
            limits: limits(&wgpu::Limits::defaults()),
        }
    }

    #[test]
    fn an_adapter_is_found_by_index_or_part_of_its_name() {
        let (a, b) = (adapter("GeForce RTX", AdapterKind::Discrete), adapter("llvmpipe", AdapterKind::Software));
        let infos = [&a, &b];
        assert_eq!(position(&infos, None), Some(0));
        assert_eq!(position(&infos, Some("1")), Some(1));
        assert_eq!(position(&infos, Some("LLVM")), Some(1));
        assert_eq!(position(&infos, Some("2")), None);
        assert_eq!(position(&infos, Some("radeon")), None);
        assert_eq!(position(&[], None), None);
    }

    #[test]
    fn the_environment_fills_in_only_what_is_left_out() {
        let variable = |name: &str| match name {
            "KILN_BACKEND" => Some("vk".to_string()),
            "KILN_ADAPTER" => Some("llvm".to_string()),
            _ => None,
        };
        let options = Options::new().adapter("0").resolve(variable).unwrap();
        assert_eq!((options.backend, options.adapter.as_deref()), (Some(Backend::Vulkan), Some("0")));
        let options = Options::new().ignore_environment().resolve(variable).unwrap();
        assert_eq!((options.backend, options.adapter), (None, None));
    }

    #[test]
    fn a_plan_of_matrix_units_asks_for_them() {
        let variable = |name: &str| (name == "KILN_PLAN").then(|| "cooperative ".to_string());
        assert!(Options::new().resolve(variable).unwrap().cooperative_matrices);
        assert!(
            !Options::new()
                .resolve(|name| (name == "KILN_PLAN").then(|| "tiles".to_string()))
                .unwrap()
                .cooperative_matrices
        );
        assert!(!Options::new().ignore_environment().resolve(variable).unwrap().cooperative_matrices);
    }

    #[test]
    fn square_matrices_with_sums_in_f32_are_units() {
        use wgpu::CooperativeScalarType::{F16, F32, I32};
        let properties = |[m_size, n_size, k_size]: [u32; 3], ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size,
            n_size,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        let saturating =
            wgpu::CooperativeMatrixProperties { saturating_accumulation: true, ..properties([8; 3], F16, F32) };
        let seen = [
            properties([16; 3], F16, F32),
            properties([16, 8, 16], F16, F32),
            properties([16; 3], F16, F16),
            properties([16; 3], F16, F32),
            properties([16; 3], I32, I32),
            saturating,
            properties([8; 3], F32, F32),
        ];
        assert_eq!(matrix_units(&seen), [MatrixUnit { side: 16, f16: true }, MatrixUnit { side: 8, f16: false }]);
    }

    #[test]
    fn a_wrong_backend_says_which_there_are() {
        let error = Options::new().resolve(|name| (name == "KILN_BACKEND").then(|| "cuda".to_string())).unwrap_err();
        assert_eq!(error.to_string(), r#"KILN_BACKEND is "cuda"; needs one of vulkan, metal, dx12, gl"#);
    }

    #[test]
    fn a_machine_without_any_adapter_is_told_what_to_install() {
        let error = GpuError::NoAdapter { wanted: String::new(), seen: Vec::new(), hint: hint(&[]) };
        let text = error.to_string();
        assert!(text.starts_with("no GPU adapter: none was found; "), "{text}");
        assert_eq!(text.contains("mesa-vulkan-drivers"), cfg!(target_os = "linux"), "{text}");
    }

    #[test]
    fn no_adapter_lists_what_was_seen() {
        let seen = vec![adapter("llvmpipe", AdapterKind::Software)];
        let error = GpuError::NoAdapter { wanted: "adapter \"radeon\"".to_string(), hint: hint(&seen), seen };
        assert_eq!(
            error.to_string(),
            "no GPU adapter matches adapter \"radeon\": seen: [0] llvmpipe (vulkan, software, drv 1.0); set KILN_ADAPTER to \
             an index or a part of a name above, KILN_BACKEND to its backend, or unset both"
        );
    }
}
