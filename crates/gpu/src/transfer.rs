//! Bytes to the GPU and back.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytemuck::Pod;

use crate::device::Device;
use crate::error::GpuError;
use crate::pool::Allocation;

/// A copy to the host that is under way.
#[derive(Default)]
struct Arrival {
    state: Mutex<(Option<Mapped>, Option<Waker>)>,
}

type Mapped = Result<(), wgpu::BufferAsyncError>;

impl Arrival {
    fn complete(&self, result: Mapped) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// Waits for an [`Arrival`].
struct Arrived(Arc<Arrival>);

impl Future for Arrived {
    type Output = Mapped;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A queued copy: the staging buffer, its arrival, and the submission that fills it.
struct Download {
    staging: wgpu::Buffer,
    arrival: Arc<Arrival>,
    submission: Option<wgpu::SubmissionIndex>,
    bytes: u64,
}

fn check_range(action: &'static str, allocation: &Allocation, offset: u64, bytes: u64) -> Result<(), GpuError> {
    let size = allocation.capacity();
    let end = offset.saturating_add(bytes);
    if end > size || !offset.is_multiple_of(4) || !bytes.is_multiple_of(4) {
        return Err(GpuError::Range { action, offset, end, size });
    }
    Ok(())
}

impl Device {
    /// Queues a copy of `data` into the allocation, from byte `offset`. Launches queued before still see the old contents.
    ///
    /// A length that is no multiple of 4 bytes is filled up with zeros, inside the allocation's capacity.
    ///
    /// # Errors
    /// [`GpuError::Range`], and any earlier fault.
    pub fn write<T: Pod>(&self, allocation: &Allocation, offset: u64, data: &[T]) -> Result<(), GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let whole = bytes.len() as u64 / 4 * 4;
        check_range("write", allocation, offset, (bytes.len() as u64).next_multiple_of(4))?;
        let Some(gpu) = self.inner().gpu.as_ref().filter(|_| !bytes.is_empty()) else {
            return self.inner().faults.check();
        };
        let mut stream = self.compiled_stream();
        if stream.pending > 0 {
            // A write takes effect before the next submission; what is recorded must see the memory as it was.
            self.submit_stream(&mut stream);
        }
        let raw = allocation.buffer("write")?;
        let start = allocation.offset() + offset;
        if whole > 0 {
            gpu.queue.write_buffer(raw, start, &bytes[..whole as usize]);
        }
        let rest = &bytes[whole as usize..];
        if !rest.is_empty() {
            let mut last = [0u8; 4];
            last[..rest.len()].copy_from_slice(rest);
            gpu.queue.write_buffer(raw, start + whole, &last);
        }
        drop(stream);
        self.inner().faults.check()
    }

    /// Reads `count` values from byte `offset`, after everything queued before.
    ///
    /// The future resolves without a runtime: a thread waits for the GPU and wakes it.
    ///
    /// # Errors
    /// [`GpuError::Range`], [`GpuError::ShapesOnly`] where there is no GPU, and any fault up to then.
    pub fn read<T: Pod>(
        &self,
        allocation: &Allocation,
        offset: u64,
        count: usize,
    ) -> impl Future<Output = Result<Vec<T>, GpuError>> + Send + use<T> {
        let started = self.start_download(allocation, offset, (count * size_of::<T>()) as u64);
        let device = self.clone();
        async move {
            let download = started?;
            if download.submission.is_some() {
                let waiter = device.clone();
                let submission = download.submission.clone();
                let spawned = std::thread::Builder::new().name("kiln-read".to_string()).spawn(move || {
                    // A failure arrives through the map callback and the fault cell.
                    let _ = waiter.wait(submission);
                });
                if spawned.is_err() {
                    device.wait(download.submission.clone())?;
                }
            }
            device.finish_download(download, count).await
        }
    }

    /// Reads `count` values from byte `offset` and waits for them.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub fn read_blocking<T: Pod>(
        &self,
        allocation: &Allocation,
        offset: u64,
        count: usize,
    ) -> Result<Vec<T>, GpuError> {
        let download = self.start_download(allocation, offset, (count * size_of::<T>()) as u64)?;
        self.wait(download.submission.clone())?;
        pollster::block_on(self.finish_download(download, count))
    }

    fn start_download(&self, allocation: &Allocation, offset: u64, bytes: u64) -> Result<Download, GpuError> {
        // A u8 tensor's last word may be partly used.
        let bytes = bytes.next_multiple_of(4);
        check_range("read", allocation, offset, bytes)?;
        self.inner().faults.check()?;
        let gpu = self.gpu("read")?;
        let device = &gpu.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("kiln read"),
            size: bytes.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            let report = self.memory();
            return Err(GpuError::OutOfMemory {
                label: "read",
                bytes,
                in_use: report.in_use,
                reserved: report.reserved,
                holders: report.holders,
            });
        }
        let arrival = Arc::new(Arrival::default());
        let mut stream = self.compiled_stream();
        if bytes > 0 {
            self.encoder(gpu, &mut stream).copy_buffer_to_buffer(
                allocation.buffer("read")?,
                allocation.offset() + offset,
                &staging,
                0,
                bytes,
            );
        }
        let submission = self.submit_stream(&mut stream);
        let callback = arrival.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |result| callback.complete(result));
        Ok(Download { staging, arrival, submission, bytes })
    }

    async fn finish_download<T: Pod>(&self, download: Download, count: usize) -> Result<Vec<T>, GpuError> {
        if download.bytes == 0 {
            return self.inner().faults.check().map(|()| Vec::new());
        }
        let mapped = Arrived(download.arrival.clone()).await;
        self.inner().faults.check()?;
        mapped.map_err(|error| GpuError::Internal { message: format!("reading back: {error}") })?;
        let view = download
            .staging
            .get_mapped_range(..)
            .map_err(|error| GpuError::Internal { message: format!("reading back: {error}") })?;
        Ok(bytemuck::pod_collect_to_vec(&view[..count * size_of::<T>()]))
    }
}
