//! Measuring GPU time in the middle of a run.

use kiln_gpu::{Device, GpuError, Profile};
use kiln_train::{Error, Flow, Hook, Result};

/// The first step that is measured: before it, kernels are compiled and memory is found.
const FIRST: u64 = 3;
/// How many steps are measured.
const STEPS: u64 = 20;

/// Measures some steps of a run.
pub(crate) struct Profiled {
    device: Device,
    open: bool,
    profile: Option<Profile>,
}

impl Profiled {
    /// Fails where the adapter cannot measure time.
    pub(crate) fn new(device: &Device) -> std::result::Result<Profiled, GpuError> {
        if !device.info().features.timestamps {
            return Err(GpuError::NoTimestamps { adapter: device.info().name.clone() });
        }
        Ok(Profiled { device: device.clone(), open: false, profile: None })
    }

    /// What was measured, whether or not the run was long enough for all of it.
    pub(crate) fn into_profile(mut self) -> std::result::Result<Option<Profile>, GpuError> {
        self.close()?;
        Ok(self.profile)
    }

    fn close(&mut self) -> std::result::Result<(), GpuError> {
        if self.open {
            self.open = false;
            self.profile = Some(self.device.finish_profile()?);
        }
        Ok(())
    }
}

impl Hook for Profiled {
    fn before_step(&mut self, step: u64) -> Result<Flow> {
        let gpu = |error: GpuError| Error::Tensor(error.into());
        if step == FIRST {
            self.device.start_profile().map_err(gpu)?;
            self.open = true;
        } else if step == FIRST + STEPS {
            self.close().map_err(gpu)?;
        }
        Ok(Flow::Continue)
    }
}
