//! Launches, batched into command buffers.
//!
//! Launches are recorded as data. They are encoded, into one compute pass, when something else is to follow them in the
//! command buffer or when the batch is submitted: when it holds [`BATCH`] launches, when its parameters fill the ring, before
//! a write, before a read, and at [`Device::submit`]. Only then do their pipelines have to be compiled. At most [`IN_FLIGHT`]
//! batches wait in the queue; recording then waits for the oldest, so a program that never reads anything cannot run away
//! from the GPU.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::compile::{Handle, Layouts, ParamSpace, Pipeline, SLOT, compile_all};
use crate::device::{Device, Gpu};
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
/// Bytes of launch parameters per batch where they travel in a uniform buffer, a slot for each launch.
const RING: u64 = 128 * 1024;
/// Bind groups kept; beyond, those of past batches are dropped.
const BIND_GROUPS: usize = 8192;

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

/// A launch that is not encoded yet.
struct Recorded {
    pipeline: Pipeline,
    group: wgpu::BindGroup,
    /// Where its parameters begin, in `immediates` or in `params`.
    params: usize,
    size: [u32; 2],
}

/// The buffer in which launch parameters travel, and its bind group.
pub(crate) struct Ring {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
}

impl Ring {
    pub(crate) fn new(device: &wgpu::Device, layouts: &Layouts) -> Ring {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("kiln params"),
            size: RING,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("kiln params"),
            layout: &layouts.params,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer,
                    offset: 0,
                    size: std::num::NonZeroU64::new(SLOT),
                }),
            }],
        });
        Ring { buffer, group }
    }
}

/// What is recorded and not yet submitted.
#[derive(Default)]
pub(crate) struct Stream {
    recorded: Vec<Recorded>,
    /// The recorded launches' parameters that go into the command stream.
    immediates: Vec<u8>,
    /// The batch's parameters that go into the ring.
    params: Vec<u8>,
    encoder: Option<wgpu::CommandEncoder>,
    /// Launches of the batch, encoded or not.
    pub(crate) pending: u32,
    bind_groups: FxHashMap<Box<[BindKey]>, (wgpu::BindGroup, u64)>,
    /// The key of the launch at hand, kept to spare an allocation.
    key: Vec<BindKey>,
    batch: u64,
    launches: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    pub(crate) recorder: Option<Recorder>,
}

impl Stream {
    /// The recorded launches' pipelines that nobody has compiled, each once.
    fn not_compiled(&self) -> Vec<Pipeline> {
        let mut new: Vec<Pipeline> = Vec::new();
        for Recorded { pipeline, .. } in &self.recorded {
            if pipeline.0.outcome().is_none() && !new.iter().any(|known| Arc::ptr_eq(&known.0, &pipeline.0)) {
                new.push(pipeline.clone());
            }
        }
        new
    }

    /// The bind group of `self.key`.
    fn bind_group(&mut self, gpu: &Gpu, bindings: &[Binding<'_>]) -> Result<wgpu::BindGroup, GpuError> {
        if let Some((group, used)) = self.bind_groups.get_mut(self.key.as_slice()) {
            *used = self.batch;
            return Ok(group.clone());
        }
        if self.bind_groups.len() >= BIND_GROUPS {
            let batch = self.batch;
            self.bind_groups.retain(|_, (_, used)| *used + 8 >= batch);
        }
        let mut entries = Vec::with_capacity(bindings.len());
        for (binding, key) in bindings.iter().zip(&self.key) {
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: binding.allocation.buffer("launch")?,
                offset: key.offset,
                size: std::num::NonZeroU64::new(key.size),
            });
            entries.push(wgpu::BindGroupEntry { binding: entries.len() as u32, resource });
        }
        let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("kiln storage"),
            layout: &gpu.layouts.storage[bindings.len()],
            entries: &entries,
        });
        self.bind_groups.insert(self.key.as_slice().into(), (group.clone(), self.batch));
        Ok(group)
    }
}

impl Gpu {
    fn new_encoder(&self) -> wgpu::CommandEncoder {
        let label = Some("kiln batch");
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label })
    }
}

impl Device {
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
        let handle = &*pipeline.0;
        let error = |message: String| GpuError::Launch { label: handle.label.to_string(), message };
        if !handle.is_of(self.inner()) {
            return Err(handle.belongs_elsewhere());
        }
        if bindings.len() != handle.bindings || params.len() != handle.params_bytes {
            return Err(error(format!(
                "{} bindings and {} bytes of parameters; needs {} and {}",
                bindings.len(),
                params.len(),
                handle.bindings,
                handle.params_bytes
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
        if let Some(Err(error)) = handle.outcome() {
            return Err(error.clone());
        }

        let mut stream = self.stream();
        if handle.param_space == ParamSpace::Uniform && stream.params.len() as u64 + SLOT > RING {
            drop(stream);
            stream = self.compiled_stream();
            self.submit_stream(&mut stream);
            self.inner().faults.check()?;
        }
        stream.key.clear();
        for binding in bindings {
            stream.key.push(self.bind_key(handle, binding)?);
        }
        let Some(gpu) = &self.inner().gpu else {
            stream.launches += 1;
            return Ok(());
        };
        let group = stream.bind_group(gpu, bindings)?;
        if let Some(recorder) = stream.recorder.as_mut() {
            recorder.note(&handle.label, groups);
        }
        let at = match handle.param_space {
            ParamSpace::Immediate => {
                let at = stream.immediates.len();
                stream.immediates.extend_from_slice(params);
                at
            }
            ParamSpace::Uniform => {
                let at = stream.params.len();
                if !params.is_empty() {
                    stream.params.extend_from_slice(params);
                    stream.params.resize(at + SLOT as usize, 0);
                }
                at
            }
        };
        let size = [columns as u32, rows as u32];
        stream.recorded.push(Recorded { pipeline: pipeline.clone(), group, params: at, size });
        stream.pending += 1;
        stream.launches += 1;
        if stream.pending >= BATCH {
            drop(stream);
            let mut stream = self.compiled_stream();
            // Another thread may have submitted it meanwhile.
            if stream.pending >= BATCH {
                self.submit_stream(&mut stream);
            }
            drop(stream);
            return self.inner().faults.check();
        }
        Ok(())
    }

    fn bind_key(&self, handle: &Handle, binding: &Binding<'_>) -> Result<BindKey, GpuError> {
        let allocation = binding.allocation;
        let limits = &self.info().limits;
        let capacity = allocation.capacity();
        let error = |message: String| GpuError::Launch { label: handle.label.to_string(), message };
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
                label: handle.label.to_string(),
                bytes: binding.size,
                limit: limits.binding_bytes,
            });
        }
        Ok(BindKey {
            buffer: allocation.buffer_id(),
            offset: allocation.offset() + binding.offset,
            size: size.min(limits.binding_bytes / 16 * 16),
        })
    }

    /// Sends what is recorded to the GPU, without waiting.
    ///
    /// # Errors
    /// The device's first fault.
    pub fn submit(&self) -> Result<(), GpuError> {
        self.submit_stream(&mut self.compiled_stream());
        self.inner().faults.check()
    }

    /// Waits until everything queued so far is done.
    ///
    /// # Errors
    /// The device's first fault.
    pub fn sync(&self) -> Result<(), GpuError> {
        let mut stream = self.compiled_stream();
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
        let device = &self.gpu("poll")?.device;
        let waited = device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        if let Err(error) = waited {
            self.inner().faults.check()?;
            return Err(GpuError::Internal { message: format!("waiting for the queue: {error}") });
        }
        self.inner().faults.check()
    }

    pub(crate) fn stream(&self) -> MutexGuard<'_, Stream> {
        self.inner().stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream, for a caller that encodes or submits: the pipelines of what is recorded are compiled, without the lock.
    pub(crate) fn compiled_stream(&self) -> MutexGuard<'_, Stream> {
        loop {
            let stream = self.stream();
            // Without a GPU nothing is recorded.
            let Some(gpu) = &self.inner().gpu else { return stream };
            let new = if self.compiles_alone() { Vec::new() } else { stream.not_compiled() };
            if new.is_empty() {
                return stream;
            }
            drop(stream);
            compile_all(gpu, &new);
        }
    }

    /// The open encoder, behind everything recorded before.
    pub(crate) fn encoder<'s>(&self, gpu: &Gpu, stream: &'s mut Stream) -> &'s mut wgpu::CommandEncoder {
        self.encode(gpu, stream);
        stream.encoder.get_or_insert_with(|| gpu.new_encoder())
    }

    /// Encodes what is recorded, up to the first launch whose pipeline did not compile: that is a fault, and what follows may need
    /// its results.
    fn encode(&self, gpu: &Gpu, stream: &mut Stream) {
        if stream.recorded.is_empty() {
            return;
        }
        let Stream { recorded, immediates, encoder, recorder, .. } = stream;
        let encoder = encoder.get_or_insert_with(|| gpu.new_encoder());
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        let mut current: Option<&Handle> = None;
        for launch in recorded.iter() {
            let handle = &*launch.pipeline.0;
            let pipeline = match handle.compiled(gpu) {
                Ok(pipeline) => pipeline,
                Err(error) => {
                    self.inner().faults.record(error.clone());
                    break;
                }
            };
            if let Some(recorder) = recorder {
                // A pass of its own for each launch: timestamps at pass boundaries are what every adapter can take.
                drop(pass.take());
                pass = Some(recorder.begin(&gpu.device, encoder, &handle.label));
                current = None;
            }
            let pass = pass.get_or_insert_with(|| {
                let descriptor = wgpu::ComputePassDescriptor { label: Some("kiln"), timestamp_writes: None };
                encoder.begin_compute_pass(&descriptor).forget_lifetime()
            });
            if !current.is_some_and(|current| std::ptr::eq(current, handle)) {
                pass.set_pipeline(pipeline);
                current = Some(handle);
            }
            pass.set_bind_group(0, &launch.group, &[]);
            if handle.params_bytes > 0 {
                match handle.param_space {
                    ParamSpace::Immediate => {
                        pass.set_immediates(0, &immediates[launch.params..launch.params + handle.params_bytes]);
                    }
                    ParamSpace::Uniform => pass.set_bind_group(1, &gpu.ring.group, &[launch.params as u32]),
                }
            }
            pass.dispatch_workgroups(launch.size[0], launch.size[1], 1);
        }
        // The encoder is closed only after the pass.
        drop(pass);
        recorded.clear();
        immediates.clear();
    }

    /// Submits the open batch, if there is one, and returns the last submission's number. The stream is best had from
    /// [`compiled_stream`](Device::compiled_stream): what is not compiled is compiled here, one after the other.
    pub(crate) fn submit_stream(&self, stream: &mut Stream) -> Option<wgpu::SubmissionIndex> {
        let gpu = self.inner().gpu.as_ref()?;
        self.encode(gpu, stream);
        if let Some(mut encoder) = stream.encoder.take() {
            if let Some(recorder) = stream.recorder.as_mut() {
                recorder.resolve(&gpu.device, &mut encoder);
            }
            if !stream.params.is_empty() {
                // The queue orders this write after earlier batches and before this one, so one ring serves all.
                gpu.queue.write_buffer(&gpu.ring.buffer, 0, &stream.params);
                stream.params.clear();
            }
            let index = gpu.queue.submit([encoder.finish()]);
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
