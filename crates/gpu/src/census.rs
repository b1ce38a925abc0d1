//! Which allocations are live, and which were at the peak. Only a device for shapes only keeps account of each.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::device::Device;
use crate::pool::Pool;

/// A live allocation of a device for shapes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Its number: later allocations have higher ones.
    pub id: u64,
    /// The label given to [`Device::allocate`].
    pub label: &'static str,
    /// Its bytes, rounded up to its size class.
    pub bytes: u64,
}

#[derive(Default)]
pub(crate) struct Census {
    next: u64,
    live: BTreeMap<u64, Live>,
    at_peak: Vec<Live>,
    /// Whether what is live now is the peak.
    at_top: bool,
}

impl Census {
    /// Takes down a new allocation, which makes a new peak or not.
    pub(crate) fn count_in(&mut self, label: &'static str, bytes: u64, new_peak: bool) -> u64 {
        self.next += 1;
        self.live.insert(self.next, Live { id: self.next, label, bytes });
        self.at_top |= new_peak;
        self.next
    }

    pub(crate) fn count_out(&mut self, id: u64) {
        self.keep_peak();
        self.live.remove(&id);
    }

    /// Between a new peak and the next allocation that ends, what is added makes a higher peak: the list is needed only then.
    fn keep_peak(&mut self) {
        if std::mem::take(&mut self.at_top) {
            self.at_peak = self.live.values().copied().collect();
        }
    }

    pub(crate) fn reset_peak(&mut self) {
        self.at_top = true;
    }
}

impl Device {
    /// The live allocations by their numbers; `None` unless the device is [for shapes only](Device::shapes_only).
    pub fn live(&self) -> Option<Vec<Live>> {
        self.census(|census| census.live.values().copied().collect())
    }

    /// The allocations that were live when [`MemoryReport::peak`](crate::MemoryReport::peak) was reached first; `None` unless
    /// the device is [for shapes only](Device::shapes_only).
    ///
    /// ```
    /// use kiln_gpu::{AdapterInfo, Device};
    /// # fn main() -> Result<(), kiln_gpu::GpuError> {
    /// let device = Device::shapes_only(AdapterInfo::software());
    /// let weights = device.allocate(1024, "weights")?;
    /// drop(device.allocate(4096, "patches")?);
    /// let more = device.allocate(256, "more")?;
    /// let held: Vec<_> = device.live_at_peak().unwrap_or_default().iter().map(|live| (live.label, live.bytes)).collect();
    /// assert_eq!(held, [("weights", 1024), ("patches", 4096)]);
    /// # drop((weights, more));
    /// # Ok(())
    /// # }
    /// ```
    pub fn live_at_peak(&self) -> Option<Vec<Live>> {
        self.census(|census| {
            census.keep_peak();
            census.at_peak.clone()
        })
    }

    fn census<T>(&self, read: impl FnOnce(&mut Census) -> T) -> Option<T> {
        let mut pool = self.inner().pool.lock().unwrap_or_else(PoisonError::into_inner);
        let Pool { census, .. } = &mut *pool;
        census.as_mut().map(read)
    }
}
