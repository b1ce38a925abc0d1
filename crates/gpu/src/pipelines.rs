//! Compiled pipelines, kept from run to run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cache;
use crate::device::Device;
use crate::error::GpuError;

/// What a file of ours begins with; the number counts its forms.
const MAGIC: &[u8; 8] = b"KILNPSO1";
/// Magic and checksum.
const HEAD: usize = 12;
/// The most bytes that are kept. A driver that never forgets could otherwise fill the disk.
const MOST_BYTES: usize = 64 << 20;

/// wgpu's pipeline cache, which the driver reads compiled kernels from and adds new ones to.
pub(crate) struct PipelineCache {
    pub(crate) cache: wgpu::PipelineCache,
    file: PathBuf,
    /// The checksum of what the file holds.
    saved: Mutex<Option<u32>>,
}

impl PipelineCache {
    /// Starts from the file of this adapter and driver in the folder, where there is one.
    pub(crate) fn open(device: &wgpu::Device, adapter: &wgpu::AdapterInfo, folder: &Path) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.join(format!("{}.bin", wgpu::util::pipeline_cache_key(adapter)?));
        // Whatever is wrong with the file, the next one replaces it.
        let bytes = cache::read(&file, (HEAD + MOST_BYTES) as u64).ok().flatten();
        let data = bytes.as_deref().and_then(unpack);
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("kiln"), data, fallback: true };
        // SAFETY: the data must be what `get_data` returned, for this adapter. It is from a file that is named by the adapter, and
        // that begins with our mark and ends as its checksum says: what another program wrote, or a disk damaged, is left out.
        // wgpu compares its own header, with the adapter, the driver and the data's size, before the driver compares its own;
        // other data than theirs is then dropped (`fallback`).
        #[allow(unsafe_code)]
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineCache { cache, file, saved: Mutex::new(data.map(crc32fast::hash)) })
    }

    fn save(&self) -> io::Result<()> {
        let Some(data) = self.cache.get_data().filter(|data| data.len() <= MOST_BYTES) else { return Ok(()) };
        let sum = crc32fast::hash(&data);
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if *saved != Some(sum) {
            cache::write(&self.file, &[MAGIC, &sum.to_le_bytes()[..], &data].concat())?;
            *saved = Some(sum);
        }
        Ok(())
    }
}

/// The data of a file that is whole.
fn unpack(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, data) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    (crc32fast::hash(data) == u32::from_le_bytes(*sum)).then_some(data)
}

impl Device {
    /// Keeps the compiled kernels in the [cache folder](Device::cache_dir), for the next run to find: best called when all have run
    /// once, as after the first step. Does nothing where nothing new was compiled, or where the adapter keeps no pipelines
    /// ([`Features::pipeline_cache`](crate::Features::pipeline_cache)). At most 64 MiB are kept.
    ///
    /// # Errors
    /// [`GpuError::Cache`] where the file cannot be written.
    pub fn save_pipelines(&self) -> Result<(), GpuError> {
        let Some(pipelines) = self.inner().gpu.as_ref().and_then(|gpu| gpu.pipelines.as_ref()) else { return Ok(()) };
        pipelines.save().map_err(|error| GpuError::Cache { file: pipelines.file.clone(), message: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let data = b"compiled";
        let file = [MAGIC, &crc32fast::hash(data).to_le_bytes()[..], data].concat();
        assert_eq!(unpack(&file), Some(&data[..]));
        for byte in 0..file.len() {
            let mut damaged = file.clone();
            damaged[byte] ^= 1;
            assert_eq!((unpack(&damaged), unpack(&file[..byte])), (None, None), "byte {byte}");
        }
    }
}
