//! GPU time per launch, from timestamp queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::device::Device;
use crate::error::GpuError;

/// Launches per query set.
const QUERIES: u32 = 2048;

/// One launch, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The layer, from the scopes open at the launch, outermost first, joined by `.`; empty outside of any.
    pub layer: String,
    /// The pipeline's label.
    pub op: String,
    /// Workgroups.
    pub groups: u64,
    /// Start, in microseconds since the profile's first launch.
    pub start_us: f64,
    /// GPU time, in microseconds.
    pub duration_us: f64,
}

/// The launches between [`Device::start_profile`] and [`Device::finish_profile`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// In the order in which they ran.
    pub events: Vec<Event>,
}

impl Profile {
    /// GPU time of all launches, in microseconds.
    pub fn total_us(&self) -> f64 {
        self.events.iter().map(|event| event.duration_us).sum()
    }

    /// A table of GPU time by layer and op, the largest first.
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<(&str, &str), (u64, f64)> = BTreeMap::new();
        for event in &self.events {
            let row = rows.entry((&event.layer, &event.op)).or_default();
            row.0 += 1;
            row.1 += event.duration_us;
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        let total = self.total_us();
        let layer_width = rows.iter().map(|((layer, _), _)| layer.len()).max().unwrap_or(0).max(5);
        let op_width = rows.iter().map(|((_, op), _)| op.len()).max().unwrap_or(0).max(5);
        let mut text = format!(
            "{:<layer_width$}  {:<op_width$}  {:>8}  {:>12}  {:>12}  {:>6}\n",
            "layer", "op", "launches", "total us", "mean us", "share"
        );
        for ((layer, op), (count, time)) in rows {
            let share = if total > 0.0 { 100.0 * time / total } else { 0.0 };
            let _ = writeln!(
                text,
                "{layer:<layer_width$}  {op:<op_width$}  {count:>8}  {time:>12.1}  {:>12.1}  {share:>5.1}%",
                time / count as f64
            );
        }
        let _ = writeln!(text, "{:<layer_width$}  {:<op_width$}  {:>8}  {total:>12.1}", "total", "", self.events.len());
        text
    }

    /// The launches in Chrome's trace format, for `chrome://tracing` and Perfetto.
    pub fn chrome_trace(&self) -> String {
        let events: Vec<serde_json::Value> = self
            .events
            .iter()
            .map(|event| {
                serde_json::json!({
                    "name": event.op, "cat": if event.layer.is_empty() { "op" } else { &event.layer }, "ph": "X",
                    "ts": event.start_us, "dur": event.duration_us, "pid": 1, "tid": 1,
                    "args": { "layer": event.layer, "groups": event.groups },
                })
            })
            .collect();
        serde_json::json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string()
    }
}

struct QueryBatch {
    set: wgpu::QuerySet,
    used: u32,
    resolved: u32,
    resolve: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// Collects timestamps while a profile is open.
pub(crate) struct Recorder {
    scopes: Vec<String>,
    launches: Vec<(String, Arc<str>, u64)>,
    batches: Vec<QueryBatch>,
}

impl Recorder {
    /// Takes down a launch, under the scopes that are open now.
    pub(crate) fn note(&mut self, label: &Arc<str>, groups: u64) {
        self.launches.push((self.scopes.join("."), label.clone(), groups));
    }

    /// Opens the pass of the next launch that was taken down.
    pub(crate) fn begin(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        label: &str,
    ) -> wgpu::ComputePass<'static> {
        if self.batches.last().is_none_or(|batch| batch.used + 2 > 2 * QUERIES) {
            let size = u64::from(2 * QUERIES) * 8;
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("kiln timestamps"),
                    size,
                    usage,
                    mapped_at_creation: false,
                })
            };
            self.batches.push(QueryBatch {
                set: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("kiln timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: 2 * QUERIES,
                }),
                used: 0,
                resolved: 0,
                resolve: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            });
        }
        let at = self.batches.len() - 1;
        let batch = &mut self.batches[at];
        let first = batch.used;
        batch.used += 2;
        encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(label),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &batch.set,
                    beginning_of_pass_write_index: Some(first),
                    end_of_pass_write_index: Some(first + 1),
                }),
            })
            .forget_lifetime()
    }

    /// Records the copy of timestamps that are new in this batch of launches.
    pub(crate) fn resolve(&mut self, _device: &wgpu::Device, encoder: &mut wgpu::CommandEncoder) {
        for batch in &mut self.batches {
            if batch.resolved < batch.used {
                // A resolve's destination is aligned to 256 bytes, so the whole set is resolved from its start.
                encoder.resolve_query_set(&batch.set, 0..batch.used, &batch.resolve, 0);
                encoder.copy_buffer_to_buffer(&batch.resolve, 0, &batch.staging, 0, u64::from(batch.used) * 8);
                batch.resolved = batch.used;
            }
        }
    }
}

/// Names the launches made while it lives: see [`Device::scope`].
#[must_use = "the scope ends when this is dropped"]
pub struct Scope(Option<Device>);

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(device) = &self.0
            && let Some(recorder) = device.stream().recorder.as_mut()
        {
            recorder.scopes.pop();
        }
    }
}

impl Device {
    /// Starts measuring the GPU time of every launch. Launches are then slower, each being a pass of its own.
    ///
    /// # Errors
    /// [`GpuError::NoTimestamps`] where the adapter cannot, [`GpuError::ShapesOnly`] where there is no GPU, and any earlier fault.
    pub fn start_profile(&self) -> Result<(), GpuError> {
        self.gpu("start_profile")?;
        if !self.info().features.timestamps {
            return Err(GpuError::NoTimestamps { adapter: self.info().name.clone() });
        }
        let mut stream = self.compiled_stream();
        self.submit_stream(&mut stream);
        stream.recorder = Some(Recorder { scopes: Vec::new(), launches: Vec::new(), batches: Vec::new() });
        drop(stream);
        self.inner().faults.check()
    }

    /// Puts the launches until the returned value is dropped under the name of a layer. Scopes nest. Costs nothing to speak of
    /// when no profile is open.
    pub fn scope(&self, layer: &str) -> Scope {
        let mut stream = self.stream();
        match stream.recorder.as_mut() {
            Some(recorder) => {
                recorder.scopes.push(layer.to_string());
                drop(stream);
                Scope(Some(self.clone()))
            }
            None => Scope(None),
        }
    }

    /// The layer that the open scopes name, for code that runs a layer's work later, as backward does. `None` when no profile is
    /// open or no scope is.
    pub fn current_scope(&self) -> Option<String> {
        let stream = self.stream();
        let scopes = &stream.recorder.as_ref()?.scopes;
        (!scopes.is_empty()).then(|| scopes.join("."))
    }

    /// Waits for the measured launches and returns them. Without [`Device::start_profile`] before, an empty profile.
    ///
    /// # Errors
    /// The device's first fault.
    pub fn finish_profile(&self) -> Result<Profile, GpuError> {
        let mut stream = self.compiled_stream();
        let last = self.submit_stream(&mut stream);
        let Some(recorder) = stream.recorder.take() else { return Ok(Profile { events: Vec::new() }) };
        drop(stream);
        let internal = |message: String| GpuError::Internal { message: format!("reading timestamps: {message}") };
        for batch in &recorder.batches {
            batch.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        }
        // Even where nothing new was submitted: the maps need a poll to be called back.
        self.poll(last)?;
        let period = f64::from(self.gpu("finish_profile")?.queue.get_timestamp_period()) / 1000.0;
        let mut ticks = Vec::new();
        for batch in &recorder.batches {
            let view = batch.staging.get_mapped_range(..).map_err(|error| internal(error.to_string()))?;
            ticks.extend(bytemuck::pod_collect_to_vec::<u8, u64>(&view[..batch.used as usize * 8]));
        }
        let origin = ticks.first().copied().unwrap_or(0);
        let events = recorder
            .launches
            .into_iter()
            .zip(ticks.chunks_exact(2))
            .map(|((layer, op, groups), pair)| Event {
                layer,
                op: op.to_string(),
                groups,
                start_us: pair[0].saturating_sub(origin) as f64 * period,
                duration_us: pair[1].saturating_sub(pair[0]) as f64 * period,
            })
            .collect();
        Ok(Profile { events })
    }
}
