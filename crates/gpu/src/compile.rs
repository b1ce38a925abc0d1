//! Pipelines: WGSL that is compiled at once, or when the first batch that needs it is submitted.
//!
//! The kernels of a batch that are new are compiled together, on as many threads as there are cores. Nothing here takes the
//! stream's lock meanwhile, so other threads go on recording.

use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustc_hash::FxHashMap;

use crate::adapter::Backend;
use crate::device::{Device, Gpu, Inner};
use crate::error::GpuError;

/// The most bytes of one launch's parameters.
pub(crate) const SLOT: u64 = 512;

/// Where a launch's parameters travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamSpace {
    /// In the command stream: `var<immediate>`.
    Immediate,
    /// In a uniform buffer: `@group(1) @binding(0) var<uniform>`.
    Uniform,
}

/// What a pipeline is made from.
#[derive(Debug, Clone, Copy)]
pub struct PipelineDescriptor<'a> {
    /// Names it in errors and profiles.
    pub label: &'a str,
    /// WGSL with the compute entry point `main`.
    pub source: &'a str,
    /// Storage buffers, `@group(0) @binding(0..bindings)`, each `read_write`.
    pub bindings: u32,
    /// Size of the parameters, in bytes; 0 for none.
    pub params_bytes: u32,
    /// Where the source expects them: see [`Device::param_space`].
    pub param_space: ParamSpace,
}

/// A kernel: compiled ([`Device::pipeline`]), or compiled when it is first needed ([`Device::deferred_pipeline`]). Clones are the
/// same kernel.
#[derive(Clone)]
pub struct Pipeline(pub(crate) Arc<Handle>);

pub(crate) struct Handle {
    pub(crate) label: Arc<str>,
    pub(crate) bindings: usize,
    pub(crate) params_bytes: usize,
    pub(crate) param_space: ParamSpace,
    inner: Weak<Inner>,
    /// Taken by the compilation.
    source: Mutex<Option<Source>>,
    outcome: OnceLock<Result<wgpu::ComputePipeline, GpuError>>,
}

struct Source {
    text: String,
    explain: Box<dyn FnOnce(String) -> String + Send>,
}

impl Pipeline {
    /// The label it was made with.
    pub fn label(&self) -> &str {
        &self.0.label
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipeline({})", self.0.label)
    }
}

impl Handle {
    pub(crate) fn is_of(&self, inner: &Arc<Inner>) -> bool {
        std::ptr::eq(self.inner.as_ptr(), Arc::as_ptr(inner))
    }

    pub(crate) fn belongs_elsewhere(&self) -> GpuError {
        let message = "the pipeline belongs to another device; compile it on this one".to_string();
        GpuError::Launch { label: self.label.to_string(), message }
    }

    /// What came of its compilation, where that has ended.
    pub(crate) fn outcome(&self) -> Option<&Result<wgpu::ComputePipeline, GpuError>> {
        self.outcome.get()
    }

    /// The compiled kernel. Compiles it here where nobody has, and waits where another thread is at it.
    pub(crate) fn compiled(&self, gpu: &Gpu) -> Result<&wgpu::ComputePipeline, &GpuError> {
        self.outcome.get_or_init(|| self.compile(gpu)).as_ref()
    }

    fn compile(&self, gpu: &Gpu) -> Result<wgpu::ComputePipeline, GpuError> {
        let label = &*self.label;
        let Some(source) = self.source.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(GpuError::Internal { message: format!("{label}: an earlier compilation broke off") });
        };
        let device = &gpu.device;
        // Error scopes are the thread's own, so they catch what this kernel caused and nothing else.
        let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
        let scopes = filters.map(|filter| device.push_error_scope(filter));
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(source.text.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&gpu.layouts.pipeline(device, self)),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: gpu.pipelines.as_ref().map(|pipelines| &pipelines.cache),
        });
        let errors: Vec<_> = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
        match errors.into_iter().next().map(|error| GpuError::from_wgpu(label, error)) {
            None => Ok(pipeline),
            Some(GpuError::Validation { label, message }) => {
                Err(GpuError::Validation { label, message: (source.explain)(message) })
            }
            Some(other) => Err(other),
        }
    }
}

/// Compiles pipelines on threads, of which the calling one is the first. What came of each is kept in it.
pub(crate) fn compile_all(gpu: &Gpu, pipelines: &[Pipeline]) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(pipeline) = pipelines.get(next.fetch_add(1, Ordering::Relaxed)) {
            let _ = pipeline.0.compiled(gpu);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..cores.min(pipelines.len()) {
            // Where the system gives no thread, the others do its part.
            let _ = std::thread::Builder::new().name("kiln-compile".to_string()).spawn_scoped(scope, work);
        }
        work();
    });
}

/// The layouts of bind groups and pipelines, which depend on numbers and sizes alone.
pub(crate) struct Layouts {
    /// By the number of storage buffers.
    pub(crate) storage: Vec<wgpu::BindGroupLayout>,
    pub(crate) params: wgpu::BindGroupLayout,
    pipelines: Mutex<FxHashMap<(usize, usize, ParamSpace), wgpu::PipelineLayout>>,
}

impl Layouts {
    /// For up to this many storage buffers.
    pub(crate) fn new(device: &wgpu::Device, bindings: u32) -> Layouts {
        let layout = |label, entries: &[wgpu::BindGroupLayoutEntry]| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
        };
        let entry = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
            count: None,
        };
        let storage = wgpu::BufferBindingType::Storage { read_only: false };
        let entries: Vec<_> = (0..bindings).map(|binding| entry(binding, storage, false)).collect();
        Layouts {
            storage: (0..=entries.len()).map(|count| layout("kiln storage", &entries[..count])).collect(),
            params: layout("kiln params", &[entry(0, wgpu::BufferBindingType::Uniform, true)]),
            pipelines: Mutex::default(),
        }
    }

    fn pipeline(&self, device: &wgpu::Device, handle: &Handle) -> wgpu::PipelineLayout {
        let key = (handle.bindings, handle.params_bytes, handle.param_space);
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let layout = pipelines.entry(key).or_insert_with(|| {
            let storage = Some(&self.storage[handle.bindings]);
            let (groups, immediate_size) = match handle.param_space {
                _ if handle.params_bytes == 0 => (vec![storage], 0),
                ParamSpace::Immediate => (vec![storage], handle.params_bytes as u32),
                ParamSpace::Uniform => (vec![storage, Some(&self.params)], 0),
            };
            device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("kiln"),
                bind_group_layouts: &groups,
                immediate_size,
            })
        });
        layout.clone()
    }
}

impl Device {
    /// Where parameters of this size travel on this device.
    pub fn param_space(&self, bytes: u32) -> ParamSpace {
        if bytes <= self.info().limits.immediate_bytes && self.info().features.immediates {
            ParamSpace::Immediate
        } else {
            ParamSpace::Uniform
        }
    }

    /// Compiles WGSL now.
    ///
    /// # Errors
    /// [`GpuError::Validation`] with the compiler's message and the line, [`GpuError::Launch`] for more bindings or parameters than
    /// there can be, and any earlier fault. The device stays usable.
    pub fn pipeline(&self, descriptor: &PipelineDescriptor<'_>) -> Result<Pipeline, GpuError> {
        let pipeline = self.deferred_pipeline(descriptor, |message| message)?;
        self.compile(std::slice::from_ref(&pipeline))?;
        Ok(pipeline)
    }

    /// Takes WGSL and compiles it when the first batch that launches it is submitted, together with that batch's other new kernels,
    /// on threads. For kernels that are known to be right: the error of one that does not compile is the device's fault, which
    /// every later call returns, beginning with the one that submitted the batch. The launches behind it in that batch do not run.
    ///
    /// `explain` may rewrite the compiler's message, for text that was put together from files. It must not use the device.
    ///
    /// ```
    /// use kiln_gpu::{Binding, Device, ParamSpace, PipelineDescriptor};
    ///
    /// # fn main() -> Result<(), kiln_gpu::GpuError> {
    /// let device = Device::open_default()?;
    /// let later = |label, body| {
    ///     let source = format!(
    ///         "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
    ///          @compute @workgroup_size(1) fn main() {{ {body} }}"
    ///     );
    ///     let (bindings, params_bytes, param_space) = (1, 0, ParamSpace::Uniform);
    ///     let descriptor = PipelineDescriptor { label, source: &source, bindings, params_bytes, param_space };
    ///     device.deferred_pipeline(&descriptor, |message| message)
    /// };
    /// let x = device.allocate(4, "example")?;
    /// device.write(&x, 0, &[3.0f32])?;
    /// let whole = [Binding { allocation: &x, offset: 0, size: 4 }];
    /// device.launch(&later("double", "x[0] *= 2.0;")?, &whole, &[], 1)?;
    /// device.launch(&later("increment", "x[0] += 1.0;")?, &whole, &[], 1)?;
    /// // Both are compiled here.
    /// assert_eq!(device.read_blocking::<f32>(&x, 0, 1)?, [7.0]);
    ///
    /// device.launch(&later("wrong", "x[0] = nothing;")?, &whole, &[], 1)?;
    /// assert!(device.sync().unwrap_err().to_string().starts_with("wrong: "));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`GpuError::Launch`] for more bindings or parameters than there can be, and any earlier fault.
    pub fn deferred_pipeline(
        &self,
        descriptor: &PipelineDescriptor<'_>,
        explain: impl FnOnce(String) -> String + Send + 'static,
    ) -> Result<Pipeline, GpuError> {
        let label = descriptor.label;
        let launch_error = |message: String| GpuError::Launch { label: label.to_string(), message };
        let most = self.info().limits.storage_buffers;
        if descriptor.bindings > most {
            return Err(launch_error(format!(
                "{} bindings; this adapter takes at most {most}: pack buffers together",
                descriptor.bindings
            )));
        }
        if u64::from(descriptor.params_bytes) > SLOT || !descriptor.params_bytes.is_multiple_of(4) {
            return Err(launch_error(format!(
                "{} bytes of parameters; needs a multiple of 4 up to {SLOT}: pass the rest in a buffer",
                descriptor.params_bytes
            )));
        }
        self.inner().faults.check()?;
        Ok(Pipeline(Arc::new(Handle {
            label: label.into(),
            bindings: descriptor.bindings as usize,
            params_bytes: descriptor.params_bytes as usize,
            param_space: descriptor.param_space,
            inner: Arc::downgrade(self.inner()),
            source: Mutex::new(Some(Source { text: descriptor.source.to_string(), explain: Box::new(explain) })),
            outcome: OnceLock::new(),
        })))
    }

    /// Compiles those of the pipelines that are not compiled yet, on threads, and waits for all.
    ///
    /// # Errors
    /// The first pipeline's that did not compile, and any earlier fault. The device stays usable; launching that pipeline returns
    /// the error again. A [device for shapes only](Device::shapes_only) compiles nothing.
    pub fn compile(&self, pipelines: &[Pipeline]) -> Result<(), GpuError> {
        self.inner().faults.check()?;
        if let Some(other) = pipelines.iter().find(|pipeline| !pipeline.0.is_of(self.inner())) {
            return Err(other.0.belongs_elsewhere());
        }
        let Some(gpu) = &self.inner().gpu else { return Ok(()) };
        if self.compiles_alone() {
            let _stream = self.stream();
            for pipeline in pipelines {
                let _ = pipeline.0.compiled(gpu);
            }
        } else {
            compile_all(gpu, pipelines);
        }
        pipelines.iter().try_for_each(|pipeline| match pipeline.0.outcome() {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(()),
        })
    }

    /// Whether pipelines are compiled one by one under the stream's lock. OpenGL has one context for all threads, and wgpu panics
    /// where one of them waits for it longer than a few seconds.
    pub(crate) fn compiles_alone(&self) -> bool {
        self.info().backend == Backend::Gl
    }
}
