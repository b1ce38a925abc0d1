//! Pipelines, and launches batched into command buffers.
//!
//! Launches are recorded into one compute pass of one open encoder. The batch is submitted when it holds
//! [`BATCH`] launches, when its parameters fill the ring, before a write, before a read, and at
//! [`Device::submit`]. At most [`IN_FLIGHT`] batches wait in the queue; recording then waits for the oldest, so a program that
//! never reads anything cannot run away from the GPU.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::device::{Device, Inner};
use crate::error::GpuError;
use crate::pool::Allocation;
use crate::profile::Recorder;

/// Buffers that one launch can bind on any adapter; [`Limits::storage_buffers`](crate::Limits::storage_buffers) may be more.
pub const MIN_BINDINGS: u32 = 8;
/// Beyond this many bindings nothing is gained.
pub(crate) const MAX_BINDINGS: u32 = 32;
/// Launches after which a batch is submitted: enough to make a submission's fixed cost small, few enough that the GPU starts
/// early.
const BATCH: u32 = 48;
/// Batches in the queue at which recording waits.
const IN_FLIGHT: usize = 16;
/// Bytes of launch parameters per batch, and of one launch, where they travel in a uniform buffer.
const RING: u64 = 128 * 1024;
const SLOT: u64 = 512;
/// Bind groups kept; beyond, those of past batches are dropped.
const BIND_GROUPS: usize = 8192;

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

/// A compiled kernel.
#[derive(Clone)]
pub struct Pipeline(Arc<Compiled>);

struct Compiled {
    label: Arc<str>,
    pipeline: wgpu::ComputePipeline,
    inner: std::sync::Weak<Inner>,
    bindings: usize,
    params_bytes: usize,
    param_space: ParamSpace,
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

/// A window on an allocation.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The memory.
    pub allocation: &'a Allocation,
    /// The window's first byte: a multiple of [`Limits::offset_alignment`](crate::Limits::offset_alignment).
    pub offset: u64,
    /// The window's bytes; rounded up to a multiple of 16 within the allocation's capacity.
    pub size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct BindKey {
    buffer: u32,
    offset: u64,
    size: u64,
}

/// What is recorded and not yet submitted.
pub(crate) struct Stream {
    // Dropped before the encoder that it borrows from.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    pub(crate) pending: u32,
    /// Address of the pipeline that the pass has set; only compared.
    current: usize,
    params: Vec<u8>,
    ring: wgpu::Buffer,
    ring_group: wgpu::BindGroup,
    layouts: Vec<wgpu::BindGroupLayout>,
    params_layout: wgpu::BindGroupLayout,
    pipeline_layouts: FxHashMap<(u32, u32, ParamSpace), wgpu::PipelineLayout>,
    bind_groups: FxHashMap<Box<[BindKey]>, (wgpu::BindGroup, u64)>,
    /// The key of the launch at hand, kept to spare an allocation.
    key: Vec<BindKey>,
    batch: u64,
    launches: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    pub(crate) recorder: Option<Recorder>,
}

impl Stream {
    pub(crate) fn new(device: &wgpu::Device, bindings: u32) -> Stream {
        let layouts = (0..=bindings)
            .map(|bindings| {
                let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..bindings)
                    .map(|binding| wgpu::BindGroupLayoutEntry {
                        binding,
                        visibility: wgpu::ShaderStages::COMPUTE,
                        ty: wgpu::BindingType::Buffer {
                            ty: wgpu::BufferBindingType::Storage { read_only: false },
                            has_dynamic_offset: false,
                            min_binding_size: None,
                        },
                        count: None,
                    })
                    .collect();
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some("kiln storage"),
                    entries: &entries,
                })
            })
            .collect();
        let params_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("kiln params"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: true,
                    min_binding_size: None,
                },
                count: None,
            }],
        });
        let ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("kiln params"),
            size: RING,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let ring_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("kiln params"),
            layout: &params_layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &ring,
                    offset: 0,
                    size: std::num::NonZeroU64::new(SLOT),
                }),
            }],
        });
        Stream {
            pass: None,
            encoder: None,
            pending: 0,
            current: 0,
            params: Vec::new(),
            ring,
            ring_group,
            layouts,
            params_layout,
            pipeline_layouts: FxHashMap::default(),
            bind_groups: FxHashMap::default(),
            key: Vec::new(),
            batch: 0,
            launches: 0,
            in_flight: VecDeque::new(),
            recorder: None,
        }
    }

    /// The open encoder, outside of any pass.
    pub(crate) fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.current = 0;
        self.encoder.get_or_insert_with(|| {
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("kiln batch") })
        })
    }

    /// The bind group of `self.key`.
    fn bind_group(&mut self, device: &wgpu::Device, bindings: &[Binding<'_>]) -> wgpu::BindGroup {
        if let Some((group, used)) = self.bind_groups.get_mut(self.key.as_slice()) {
            *used = self.batch;
            return group.clone();
        }
        if self.bind_groups.len() >= BIND_GROUPS {
            let batch = self.batch;
            self.bind_groups.retain(|_, (_, used)| *used + 8 >= batch);
        }
        let entries: Vec<wgpu::BindGroupEntry<'_>> = bindings
            .iter()
            .zip(&self.key)
            .enumerate()
            .map(|(index, (binding, key))| wgpu::BindGroupEntry {
                binding: index as u32,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &binding.allocation.buffer().buffer,
                    offset: key.offset,
                    size: std::num::NonZeroU64::new(key.size),
                }),
            })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("kiln storage"),
            layout: &self.layouts[bindings.len()],
            entries: &entries,
        });
        self.bind_groups.insert(self.key.as_slice().into(), (group.clone(), self.batch));
        group
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

    /// Compiles WGSL.
    ///
    /// # Errors
    /// [`GpuError::Validation`] with the compiler's message and the line, and any earlier fault.
    pub fn pipeline(&self, descriptor: &PipelineDescriptor<'_>) -> Result<Pipeline, GpuError> {
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
        let device = &self.inner().device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(descriptor.source.into()),
        });
        let mut stream = self.stream();
        let key = (descriptor.bindings, descriptor.params_bytes, descriptor.param_space);
        let Stream { pipeline_layouts, layouts, params_layout, .. } = &mut *stream;
        let layout = pipeline_layouts.entry(key).or_insert_with(|| {
            let storage = Some(&layouts[descriptor.bindings as usize]);
            let (groups, immediate_size) = match descriptor.param_space {
                _ if descriptor.params_bytes == 0 => (vec![storage], 0),
                ParamSpace::Immediate => (vec![storage], descriptor.params_bytes),
                ParamSpace::Uniform => (vec![storage, Some(&*params_layout)], 0),
            };
            device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("kiln"),
                bind_group_layouts: &groups,
                immediate_size,
            })
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.inner().pipelines.as_ref().map(|pipelines| &pipelines.cache),
        });
        drop(stream);
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(GpuError::from_wgpu(label, error));
        }
        Ok(Pipeline(Arc::new(Compiled {
            label: label.into(),
            pipeline,
            inner: Arc::downgrade(self.inner()),
            bindings: descriptor.bindings as usize,
            params_bytes: descriptor.params_bytes as usize,
            param_space: descriptor.param_space,
        })))
    }

    /// Queues a launch of `groups` workgroups. More than 65,535 are spread over the dispatch's dimensions, so a kernel numbers
    /// its group `wid.x + wid.y * num_workgroups.x` and returns where that is beyond its own count. No group, no launch.
    ///
    /// # Errors
    /// [`GpuError::Launch`] where bindings or parameters do not fit the pipeline, [`GpuError::BindingTooLarge`], and any earlier
    /// fault of the device.
    pub fn launch(
        &self,
        pipeline: &Pipeline,
        bindings: &[Binding<'_>],
        params: &[u8],
        groups: u64,
    ) -> Result<(), GpuError> {
        let compiled = &*pipeline.0;
        let error = |message: String| GpuError::Launch { label: compiled.label.to_string(), message };
        if !std::ptr::eq(compiled.inner.as_ptr(), Arc::as_ptr(self.inner())) {
            return Err(error("the pipeline belongs to another device; compile it on this one".to_string()));
        }
        if bindings.len() != compiled.bindings || params.len() != compiled.params_bytes {
            return Err(error(format!(
                "{} bindings and {} bytes of parameters; needs {} and {}",
                bindings.len(),
                params.len(),
                compiled.bindings,
                compiled.params_bytes
            )));
        }
        if groups == 0 {
            return Ok(());
        }
        let most = u64::from(self.info().limits.workgroups);
        let rows = groups.div_ceil(most);
        if rows > most {
            return Err(error(format!("{groups} workgroups; needs at most {}: split the launch", most * most)));
        }
        let columns = groups.div_ceil(rows);
        self.inner().faults.check()?;

        let device = &self.inner().device;
        let mut guard = self.stream();
        let stream = &mut *guard;
        stream.key.clear();
        for binding in bindings {
            stream.key.push(self.bind_key(compiled, binding)?);
        }
        if compiled.param_space == ParamSpace::Uniform && stream.params.len() as u64 + SLOT > RING {
            self.submit_stream(stream);
        }
        if let Some(recorder) = stream.recorder.as_mut() {
            // A pass of its own for each launch: timestamps at pass boundaries are what every adapter can take.
            stream.pass = None;
            let encoder = stream.encoder.get_or_insert_with(|| {
                device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("kiln profile") })
            });
            let pass = recorder.begin(device, encoder, &compiled.label, groups);
            stream.pass = Some(pass);
            stream.current = 0;
        } else if stream.pass.is_none() {
            let pass = stream
                .encoder(device)
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("kiln"), timestamp_writes: None })
                .forget_lifetime();
            stream.pass = Some(pass);
        }
        let group = stream.bind_group(device, bindings);
        let Some(pass) = stream.pass.as_mut() else { return Ok(()) };
        let address = Arc::as_ptr(&pipeline.0) as usize;
        if stream.current != address {
            pass.set_pipeline(&compiled.pipeline);
            stream.current = address;
        }
        pass.set_bind_group(0, &group, &[]);
        if !params.is_empty() {
            match compiled.param_space {
                ParamSpace::Immediate => pass.set_immediates(0, params),
                ParamSpace::Uniform => {
                    let at = stream.params.len();
                    stream.params.extend_from_slice(params);
                    stream.params.resize(at + SLOT as usize, 0);
                    pass.set_bind_group(1, &stream.ring_group, &[at as u32]);
                }
            }
        }
        pass.dispatch_workgroups(columns as u32, rows as u32, 1);
        stream.pending += 1;
        stream.launches += 1;
        if stream.pending >= BATCH {
            self.submit_stream(stream);
        }
        Ok(())
    }

    fn bind_key(&self, compiled: &Compiled, binding: &Binding<'_>) -> Result<BindKey, GpuError> {
        let allocation = binding.allocation;
        let limits = &self.info().limits;
        let capacity = allocation.capacity();
        let error = |message: String| GpuError::Launch { label: compiled.label.to_string(), message };
        if !allocation.belongs_to(self.inner()) {
            return Err(error("a binding's memory belongs to another device; copy it to this one".to_string()));
        }
        let size = binding.size.max(4).next_multiple_of(16).min(capacity.saturating_sub(binding.offset));
        if size == 0 || size < binding.size || !binding.offset.is_multiple_of(u64::from(limits.offset_alignment)) {
            return Err(error(format!(
                "a binding of {} bytes at {} of an allocation of {capacity}; needs to lie inside and start at a multiple of {}",
                binding.size, binding.offset, limits.offset_alignment
            )));
        }
        if binding.size > limits.binding_bytes {
            return Err(GpuError::BindingTooLarge {
                label: compiled.label.to_string(),
                bytes: binding.size,
                limit: limits.binding_bytes,
            });
        }
        Ok(BindKey {
            buffer: allocation.buffer().id,
            offset: allocation.offset() + binding.offset,
            size: size.min(limits.binding_bytes / 16 * 16),
        })
    }

    /// Sends what is recorded to the GPU, without waiting.
    ///
    /// # Errors
    /// The device's first fault.
    pub fn submit(&self) -> Result<(), GpuError> {
        self.submit_stream(&mut self.stream());
        self.inner().faults.check()
    }

    /// Waits until everything queued so far is done.
    ///
    /// # Errors
    /// The device's first fault.
    pub fn sync(&self) -> Result<(), GpuError> {
        let mut stream = self.stream();
        self.submit_stream(&mut stream);
        let last = stream.in_flight.back().cloned();
        stream.in_flight.clear();
        drop(stream);
        self.wait(last)
    }

    /// Launches queued since the device was opened.
    pub fn launches(&self) -> u64 {
        self.stream().launches
    }

    pub(crate) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        if submission.is_some() { self.poll(submission) } else { self.inner().faults.check() }
    }

    /// Waits for a submission, or for all, and runs the callbacks of what has come to its end.
    pub(crate) fn poll(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let waited = self.inner().device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        if let Err(error) = waited {
            self.inner().faults.check()?;
            return Err(GpuError::Internal { message: format!("waiting for the queue: {error}") });
        }
        self.inner().faults.check()
    }

    pub(crate) fn stream(&self) -> MutexGuard<'_, Stream> {
        self.inner().stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits the open batch, if there is one, and returns the last submission's number.
    pub(crate) fn submit_stream(&self, stream: &mut Stream) -> Option<wgpu::SubmissionIndex> {
        stream.pass = None;
        stream.current = 0;
        if let Some(mut encoder) = stream.encoder.take() {
            if let Some(recorder) = stream.recorder.as_mut() {
                recorder.resolve(&self.inner().device, &mut encoder);
            }
            if !stream.params.is_empty() {
                // The queue orders this write after earlier batches and before this one, so one ring serves all.
                self.inner().queue.write_buffer(&stream.ring, 0, &stream.params);
                stream.params.clear();
            }
            let index = self.inner().queue.submit([encoder.finish()]);
            stream.pending = 0;
            stream.batch += 1;
            stream.in_flight.push_back(index);
            if stream.in_flight.len() > IN_FLIGHT {
                let oldest = stream.in_flight.pop_front();
                // A failure shows in the fault cell, which the caller checks.
                let _ = self.wait(oldest);
            }
        }
        stream.in_flight.back().cloned()
    }

    /// Drops bind groups of buffers that were given back.
    pub(crate) fn forget_buffers(&self, gone: &[u32]) {
        if !gone.is_empty() {
            let mut stream = self.stream();
            stream.bind_groups.retain(|keys, _| keys.iter().all(|key| !gone.contains(&key.buffer)));
        }
    }
}
