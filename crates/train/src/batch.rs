//! Batches on the GPU.

use std::sync::OnceLock;

use kiln_data::Batch;
use kiln_tensor::{DType, Device, Tensor};

use crate::error::{Error, Result};

/// Puts a batch on a GPU. Pixels travel as bytes; converting and normalising happen there.
///
/// ```
/// # use kiln_tensor::Device;
/// use kiln_data::FashionMnist;
/// use kiln_train::ToDevice;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::open_default()?;
/// let data = FashionMnist::embedded()?;
/// let batch = data.test().loader(32).epochs(1).next().unwrap()?;
/// let (images, labels) = batch.to(&device)?;
/// assert_eq!(images.dims::<4>()?, [32, 1, 28, 28]);
/// assert_eq!(labels.to_vec::<i32>()?[..], batch.labels.iter().map(|&label| label as i32).collect::<Vec<_>>());
/// # Ok(()) }
/// ```
pub trait ToDevice {
    /// The images as `[n, c, h, w]` of f32 from 0 to 1 (`byte / 255`), and the labels as `[n]` of i32.
    ///
    /// # Errors
    /// Those of the device.
    fn to(&self, device: &Device) -> Result<(Tensor, Tensor)> {
        self.to_normalized(device, &Normalize::default())
    }

    /// As [`ToDevice::to`], with normalised images.
    ///
    /// # Errors
    /// [`Error::Argument`] where the images have another number of channels, and those of the device.
    fn to_normalized(&self, device: &Device, normalize: &Normalize) -> Result<(Tensor, Tensor)>;
}

impl ToDevice for Batch {
    fn to_normalized(&self, device: &Device, normalize: &Normalize) -> Result<(Tensor, Tensor)> {
        let images = normalize.apply(&Tensor::from_slice(device, self.shape, &self.images)?)?;
        // Classes are counted from 0 in a dataset's list of names, far below the end of i32.
        let labels: Vec<i32> = self.labels.iter().map(|&label| label as i32).collect();
        Ok((images, Tensor::from_slice(device, labels.len(), &labels)?))
    }
}

/// From bytes to what a model takes: `(byte / 255 - mean) / std`, channel by channel. Without means, `byte / 255`.
#[derive(Debug, Default)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
    /// `1 / (255 std)` and `-mean / std` as `[c, 1, 1]`, on the device that was first used.
    factors: OnceLock<(Tensor, Tensor)>,
}

impl Normalize {
    /// Normalises with a mean and a standard deviation for each channel, of pixels scaled to 0..1.
    ///
    /// # Errors
    /// [`Error::Argument`] unless both have as many, finite, and the deviations above 0.
    pub fn new(mean: &[f32], std: &[f32]) -> Result<Normalize> {
        let finite = mean.iter().chain(std).all(|value| value.is_finite());
        if mean.len() != std.len() || !finite || std.iter().any(|&std| std <= 0.0) {
            return Err(Error::argument(
                "Normalize",
                format!("mean {mean:?} and std {std:?}; needs one of each for every channel, finite, std above 0"),
            ));
        }
        Ok(Normalize { mean: mean.to_vec(), std: std.to_vec(), factors: OnceLock::new() })
    }

    /// The mean of each channel; empty where nothing is taken off.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Normalises images `[n, c, h, w]` of u8.
    ///
    /// # Errors
    /// As [`ToDevice::to_normalized`].
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let [_, channels, _, _] = images.dims()?;
        let pixels = images.to_dtype(DType::F32)?;
        match (self.mean.as_slice(), self.std.as_slice()) {
            ([], []) => Ok(pixels.mul_scalar(1.0 / 255.0)?),
            (mean, std) if mean.len() != channels => Err(Error::argument(
                "Normalize",
                format!(
                    "images of {channels} channels with mean {mean:?} and std {std:?}; needs one of each for every channel"
                ),
            )),
            ([mean], [std]) => {
                let (mean, std) = (f64::from(*mean), f64::from(*std));
                Ok(pixels.mul_scalar(1.0 / (255.0 * std))?.add_scalar(-mean / std)?)
            }
            _ => {
                let (scale, shift) = self.factors(images.device())?;
                Ok(pixels.mul(&scale)?.add(&shift)?)
            }
        }
    }

    fn factors(&self, device: &Device) -> Result<(Tensor, Tensor)> {
        if let Some((scale, shift)) = self.factors.get()
            && scale.device().same(device)
        {
            return Ok((scale.clone(), shift.clone()));
        }
        let shape = [self.mean.len(), 1, 1];
        let scale: Vec<f32> = self.std.iter().map(|std| 1.0 / (255.0 * std)).collect();
        let shift: Vec<f32> = self.mean.iter().zip(&self.std).map(|(mean, std)| -mean / std).collect();
        let factors = (Tensor::from_slice(device, shape, &scale)?, Tensor::from_slice(device, shape, &shift)?);
        Ok(self.factors.get_or_init(|| factors.clone()).clone()).map(|kept| {
            // Another device was first: its factors stay, these serve this call.
            if kept.0.device().same(device) { kept } else { factors }
        })
    }
}

/// How samples reach the model: which device, how many at a time, how normalised, by how many threads.
#[derive(Debug)]
pub struct Feed {
    pub(crate) device: Device,
    pub(crate) batch: usize,
    pub(crate) workers: usize,
    pub(crate) normalize: Normalize,
}

impl Feed {
    /// Batches of 64 from 0 to 1, read by one thread.
    pub fn new(device: &Device) -> Feed {
        Feed { device: device.clone(), batch: 64, workers: 1, normalize: Normalize::default() }
    }

    /// The samples in a batch.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Feed {
        self.batch = batch;
        self
    }

    /// The threads that read samples; see [`Loader::workers`](kiln_data::Loader::workers). They do not change the order.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Feed {
        self.workers = workers;
        self
    }

    /// How pixels are normalised.
    #[must_use]
    pub fn normalize(mut self, normalize: Normalize) -> Feed {
        self.normalize = normalize;
        self
    }
}
