//! The memory pool: size classes, small allocations carved from shared buffers, freed memory kept for reuse.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use crate::census::Census;
use crate::device::{Device, Gpu, Inner};
use crate::error::GpuError;

/// Allocations up to this size share buffers.
const SMALL: u64 = 512 * 1024;
/// Size of a shared buffer.
const CHUNK: u64 = 4 * 1024 * 1024;
/// Every block's size and offset is a multiple: the largest offset alignment that WebGPU allows.
const GRAIN: u64 = 256;

/// A buffer of the driver, with a number that is never used twice on a device.
struct RawBuffer {
    id: u32,
    size: u64,
    /// `None` on a device for shapes only.
    buffer: Option<wgpu::Buffer>,
}

/// A piece of a buffer.
#[derive(Clone)]
struct Block {
    buffer: Arc<RawBuffer>,
    offset: u64,
    size: u64,
}

/// What one label holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The label given to [`Device::allocate`].
    pub label: &'static str,
    /// Bytes in live allocations.
    pub bytes: u64,
    /// Live allocations.
    pub count: u64,
}

/// The pool's figures, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// In live allocations, rounded up to size classes.
    pub in_use: u64,
    /// The most that `in_use` has been.
    pub peak: u64,
    /// Taken from the driver: in use, or kept for reuse.
    pub reserved: u64,
    /// Live allocations.
    pub allocations: u64,
    /// Who holds what, largest first.
    pub holders: Vec<Holder>,
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        writeln!(
            f,
            "in use {:.1} MiB in {} allocations, peak {:.1} MiB, reserved {:.1} MiB",
            mib(self.in_use),
            self.allocations,
            mib(self.peak),
            mib(self.reserved)
        )?;
        for holder in &self.holders {
            writeln!(f, "{:>10.2} MiB  {:>6}  {}", mib(holder.bytes), holder.count, holder.label)?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Pool {
    /// Free blocks by size class.
    free: BTreeMap<u64, Vec<Block>>,
    /// The shared buffer that is being carved, and how far.
    chunk: Option<(Arc<RawBuffer>, u64)>,
    next_id: u32,
    in_use: u64,
    peak: u64,
    reserved: u64,
    allocations: u64,
    labels: BTreeMap<&'static str, (u64, u64)>,
    /// Of a device for shapes only.
    pub(crate) census: Option<Census>,
}

/// The size of the block that serves `bytes`: steps of an eighth between powers of two, so at most 12.5 % is lost on large
/// blocks.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(1);
    let step = (bytes.next_power_of_two() / 16).max(GRAIN);
    bytes.div_ceil(step) * step
}

impl Pool {
    pub(crate) fn new(census: Option<Census>) -> Pool {
        Pool { census, ..Pool::default() }
    }

    /// A free block that serves the class, if there is one that wastes at most an eighth more.
    fn take_free(&mut self, class: u64) -> Option<Block> {
        let (&found, blocks) = self.free.range_mut(class..=class + class / 8).find(|(_, blocks)| !blocks.is_empty())?;
        let block = blocks.pop();
        if blocks.is_empty() {
            self.free.remove(&found);
        }
        block
    }

    fn carve(&mut self, class: u64) -> Option<Block> {
        let (buffer, used) = self.chunk.as_mut()?;
        if *used + class > CHUNK {
            return None;
        }
        let block = Block { buffer: buffer.clone(), offset: *used, size: class };
        *used += class;
        Some(block)
    }

    /// The allocation's number in the census; 0 without one.
    fn count_in(&mut self, label: &'static str, bytes: u64) -> u64 {
        self.in_use += bytes;
        let new_peak = self.in_use > self.peak;
        self.peak = self.peak.max(self.in_use);
        self.allocations += 1;
        let entry = self.labels.entry(label).or_default();
        entry.0 += bytes;
        entry.1 += 1;
        self.census.as_mut().map_or(0, |census| census.count_in(label, bytes, new_peak))
    }

    fn count_out(&mut self, label: &'static str, bytes: u64, id: u64) {
        if let Some(census) = &mut self.census {
            census.count_out(id);
        }
        self.in_use -= bytes;
        self.allocations -= 1;
        if let Some(entry) = self.labels.get_mut(label) {
            entry.0 -= bytes;
            entry.1 -= 1;
            if entry.1 == 0 {
                self.labels.remove(label);
            }
        }
    }

    pub(crate) fn report(&self) -> MemoryReport {
        let mut holders: Vec<Holder> =
            self.labels.iter().map(|(&label, &(bytes, count))| Holder { label, bytes, count }).collect();
        holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.label.cmp(b.label)));
        MemoryReport {
            in_use: self.in_use,
            peak: self.peak,
            reserved: self.reserved,
            allocations: self.allocations,
            holders,
        }
    }

    /// Gives every buffer without a live allocation back to the driver; returns the numbers of those buffers.
    fn trim(&mut self) -> Vec<u32> {
        let mut free_bytes: BTreeMap<u32, u64> = BTreeMap::new();
        for block in self.free.values().flatten() {
            *free_bytes.entry(block.buffer.id).or_default() += block.size;
        }
        if let Some((buffer, used)) = &self.chunk {
            *free_bytes.entry(buffer.id).or_default() += CHUNK - used;
        }
        let mut gone = Vec::new();
        let mut freed = 0;
        let mut consider = |buffer: &Arc<RawBuffer>| {
            if free_bytes.get(&buffer.id) == Some(&buffer.size) && !gone.contains(&buffer.id) {
                gone.push(buffer.id);
                freed += buffer.size;
            }
        };
        self.free.values().flatten().for_each(|block| consider(&block.buffer));
        if let Some((buffer, _)) = &self.chunk {
            consider(buffer);
        }
        self.free.retain(|_, blocks| {
            blocks.retain(|block| !gone.contains(&block.buffer.id));
            !blocks.is_empty()
        });
        self.chunk.take_if(|(buffer, _)| gone.contains(&buffer.id));
        self.reserved -= freed;
        gone
    }
}

/// Memory on the GPU. Clones share it; the last one dropped returns it to the pool at once, since work that still uses it was
/// queued before whatever uses it next.
///
/// Its contents are undefined until written. Up to the next multiple of 256 bytes may be read and written.
#[derive(Clone)]
pub struct Allocation(Arc<Held>);

struct Held {
    inner: Arc<Inner>,
    block: Block,
    bytes: u64,
    label: &'static str,
    /// Its number in the census.
    id: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut pool = self.inner.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.count_out(self.label, self.block.size, self.id);
        pool.free.entry(self.block.size).or_default().push(self.block.clone());
    }
}

impl Allocation {
    /// The size that was asked for, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The bytes that may be touched: `bytes` rounded up.
    pub fn capacity(&self) -> u64 {
        self.0.block.size
    }

    /// Who asked for it.
    pub fn label(&self) -> &'static str {
        self.0.label
    }

    /// Whether both are the same memory.
    pub fn same(&self, other: &Allocation) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many handles share it.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The number of its buffer.
    pub(crate) fn buffer_id(&self) -> u32 {
        self.0.block.buffer.id
    }

    /// The driver's buffer, for `action`.
    pub(crate) fn buffer(&self, action: &'static str) -> Result<&wgpu::Buffer, GpuError> {
        self.0.block.buffer.buffer.as_ref().ok_or(GpuError::ShapesOnly { action })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.0.block.offset
    }

    pub(crate) fn belongs_to(&self, inner: &Arc<Inner>) -> bool {
        Arc::ptr_eq(&self.0.inner, inner)
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation").field("label", &self.0.label).field("bytes", &self.0.bytes).finish()
    }
}

impl Device {
    /// Takes `bytes` bytes from the pool. The label names the holder in reports and errors.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] where the adapter can never hold it, [`GpuError::OutOfMemory`] where it is full now (the
    /// device stays usable), and any earlier fault.
    pub fn allocate(&self, bytes: u64, label: &'static str) -> Result<Allocation, GpuError> {
        self.inner().faults.check()?;
        let limit = self.info().limits.buffer_bytes;
        // The class may exceed the limit where the request does not.
        let class = if bytes <= limit { size_class(bytes).min(limit / GRAIN * GRAIN) } else { bytes };
        if class < bytes || bytes > limit {
            return Err(GpuError::TooLarge { label, bytes, limit });
        }
        let mut pool = self.inner().pool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut block = pool.take_free(class);
        if block.is_none() && class <= SMALL {
            block = pool.carve(class);
        }
        let block = match block {
            Some(block) => block,
            None => {
                let small = class <= SMALL && CHUNK <= limit;
                let size = if small { CHUNK } else { class };
                let buffer = match self.create_buffer(&mut pool, size) {
                    Ok(buffer) => buffer,
                    Err(error) => {
                        self.inner().faults.check()?;
                        // What is kept for reuse may be what is missing.
                        let gone = pool.trim();
                        self.forget_buffers(&gone);
                        self.create_buffer(&mut pool, size).map_err(|_| match error {
                            wgpu::Error::OutOfMemory { .. } => {
                                let report = pool.report();
                                GpuError::OutOfMemory {
                                    label,
                                    bytes,
                                    in_use: report.in_use,
                                    reserved: report.reserved,
                                    holders: report.holders,
                                }
                            }
                            other => GpuError::from_wgpu(label, other),
                        })?
                    }
                };
                if small {
                    // The old chunk's rest becomes a free block, so that nothing is lost.
                    if let Some((old, used)) = pool.chunk.take()
                        && used < CHUNK
                    {
                        let rest = Block { buffer: old, offset: used, size: CHUNK - used };
                        pool.free.entry(rest.size).or_default().push(rest);
                    }
                    pool.chunk = Some((buffer.clone(), class));
                }
                Block { buffer, offset: 0, size: class }
            }
        };
        let id = pool.count_in(label, block.size);
        drop(pool);
        Ok(Allocation(Arc::new(Held { inner: self.inner().clone(), block, bytes, label, id })))
    }

    fn create_buffer(&self, pool: &mut Pool, size: u64) -> Result<Arc<RawBuffer>, wgpu::Error> {
        let buffer = match &self.inner().gpu {
            None => None,
            Some(Gpu { device, .. }) => {
                let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
                let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
                let buffer = device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("kiln pool"),
                    size,
                    usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                let invalid = pollster::block_on(validation.pop());
                if let Some(error) = pollster::block_on(memory.pop()).or(invalid) {
                    return Err(error);
                }
                Some(buffer)
            }
        };
        pool.next_id += 1;
        pool.reserved += size;
        Ok(Arc::new(RawBuffer { id: pool.next_id, size, buffer }))
    }

    /// The pool's figures now.
    pub fn memory(&self) -> MemoryReport {
        self.inner().pool.lock().unwrap_or_else(PoisonError::into_inner).report()
    }

    /// Sets [`MemoryReport::peak`] to what is in use now.
    pub fn reset_peak(&self) {
        let mut pool = self.inner().pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.peak = pool.in_use;
        if let Some(census) = &mut pool.census {
            census.reset_peak();
        }
    }

    /// Gives memory that is kept for reuse back to the driver.
    pub fn trim(&self) {
        let gone = self.inner().pool.lock().unwrap_or_else(PoisonError::into_inner).trim();
        self.forget_buffers(&gone);
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn classes_hold_the_request_and_waste_little() {
        for bytes in (1..70_000).chain([1 << 20, (1 << 20) + 1, 100_000_001, 2_147_483_647]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256), "{bytes} -> {class}");
            assert!(class - bytes < 256 || class - bytes <= bytes / 8, "{bytes} -> {class}");
            assert_eq!(size_class(class), class, "a class serves itself");
        }
    }
}
