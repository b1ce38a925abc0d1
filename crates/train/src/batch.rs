//! Batches on the GPU.

use kiln_data::{Adjust, Batch, Dataset, Loader, Mix, Unreadable};
use kiln_tensor::ops::image::{ADJUST_LEN, ImageMix};
use kiln_tensor::{Device, Tensor};

use crate::error::{Error, Result, counted};

/// Puts a batch on a GPU. Pixels travel as bytes; converting, normalising and what the batch's transforms leave to a GPU happen
/// there, in one pass.
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

    /// As [`ToDevice::to`], with normalised images. Of a batch that is mixed, the labels are those of each image's own share:
    /// [`probabilities`](ToDevice::probabilities) tells of both.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the images have another number of channels, and those of the device.
    fn to_normalized(&self, device: &Device, normalize: &Normalize) -> Result<(Tensor, Tensor)>;

    /// The target of each image as `[n, classes]` of f32: 1 for its class, or the two shares where the batch is mixed.
    ///
    /// # Errors
    /// [`Error::Argument`] for a label beyond the classes, and those of the device.
    fn probabilities(&self, device: &Device, classes: usize) -> Result<Tensor>;
}

impl ToDevice for Batch {
    fn to_normalized(&self, device: &Device, normalize: &Normalize) -> Result<(Tensor, Tensor)> {
        let images = Tensor::from_slice(device, self.shape, &self.images)?;
        let images = match (self.adjust.as_slice(), self.mix) {
            ([], None) => normalize.apply(&images)?,
            (adjust, mix) => normalize.augment(&images, adjust, mix)?,
        };
        // Classes are counted from 0 in a dataset's list of names, far below the end of i32.
        let labels: Vec<i32> = self.labels.iter().map(|&label| label as i32).collect();
        Ok((images, Tensor::from_slice(device, labels.len(), &labels)?))
    }

    fn probabilities(&self, device: &Device, classes: usize) -> Result<Tensor> {
        if let Some(label) = self.labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::argument(
                "probabilities",
                format!("label {label} with {}; pass the number of the dataset's classes", counted(classes, "class")),
            ));
        }
        let own = self.mix.map_or(1.0, |mix| mix.own());
        let count = self.labels.len();
        let mut shares = vec![0.0f32; count * classes];
        for (place, &label) in self.labels.iter().enumerate() {
            let before = self.labels[(place + count - 1) % count];
            shares[place * classes + label as usize] += own;
            shares[place * classes + before as usize] += 1.0 - own;
        }
        Ok(Tensor::from_slice(device, [count, classes], &shares)?)
    }
}

/// From bytes to what a model takes: `(byte / 255 - mean) / std`, channel by channel. Without means, `byte / 255`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
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
        Ok(Normalize { mean: mean.to_vec(), std: std.to_vec() })
    }

    /// The mean of each channel; empty where nothing is taken off.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Normalises images `[n, c, h, w]` of u8: [`Tensor::normalize_image`].
    ///
    /// # Errors
    /// As [`ToDevice::to_normalized`].
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let (mean, std) = self.channels(images);
        Ok(images.normalize_image(&mean, &std)?)
    }

    /// Adjusts and mixes images, and normalises them: [`Tensor::augment_image`].
    fn augment(&self, images: &Tensor, adjust: &[Adjust], mix: Option<Mix>) -> Result<Tensor> {
        let count = images.dim(0)?;
        let mut table: Vec<f32> = Vec::with_capacity(count * ADJUST_LEN);
        for image in 0..count {
            // A batch that is only mixed has no adjustments.
            let Adjust { color, lighting, erase } = adjust.get(image).copied().unwrap_or(Adjust::NONE);
            table.extend(color.as_flattened());
            table.extend(lighting);
            table.push(0.0);
            // Sides of images are far below 2^24, up to which f32 holds every whole number.
            table.extend(erase.map(|edge| edge as f32));
        }
        let mix = match mix {
            None => ImageMix::NONE,
            Some(Mix::Blend { own }) => ImageMix { own, region: [0; 4] },
            Some(Mix::Paste { region, .. }) => ImageMix { own: 1.0, region },
        };
        let (mean, std) = self.channels(images);
        let table = Tensor::from_slice(images.device(), [count, ADJUST_LEN], &table)?;
        Ok(images.augment_image(&table, &mix, &mean, &std)?)
    }

    /// The means and deviations; 0 and 1 for each channel of the images where there are none.
    fn channels(&self, images: &Tensor) -> (Vec<f32>, Vec<f32>) {
        if !self.mean.is_empty() {
            return (self.mean.clone(), self.std.clone());
        }
        let channels = images.shape().dims().get(1).copied().unwrap_or(0);
        (vec![0.0; channels], vec![1.0; channels])
    }
}

/// How samples reach the model: which device, how many at a time, how normalised, by how many threads.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(crate) device: Device,
    pub(crate) batch: usize,
    pub(crate) workers: usize,
    pub(crate) normalize: Normalize,
    pub(crate) unreadable: Unreadable,
}

impl Feed {
    /// Batches of 64 from 0 to 1, read by one thread. A sample that cannot be read is an error.
    pub fn new(device: &Device) -> Feed {
        Feed {
            device: device.clone(),
            batch: 64,
            workers: 1,
            normalize: Normalize::default(),
            unreadable: Unreadable::Fail,
        }
    }

    /// A loader of a dataset with these settings.
    pub fn loader(&self, data: &Dataset) -> Loader {
        data.loader(self.batch).workers(self.workers).unreadable(self.unreadable)
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

    /// What is done about samples that cannot be read; see [`Loader::unreadable`].
    #[must_use]
    pub fn unreadable(mut self, unreadable: Unreadable) -> Feed {
        self.unreadable = unreadable;
        self
    }
}
