//! Images of one size with their labels, whatever they come from.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::loader::Loader;
use crate::random::SplitMix64;

/// Where a [`Dataset`]'s samples come from: memory, a folder of images, a database.
///
/// Labels are known without reading an image. [`read`](Source::read) is called from several threads at once. A source
/// holds every sample; which of them a dataset uses, and in which order, is not its concern.
///
/// ```
/// use kiln_data::{Dataset, Error, Source};
///
/// /// Grey squares, as bright as their index.
/// struct Squares;
///
/// impl Source for Squares {
///     fn len(&self) -> usize {
///         200
///     }
///     fn label(&self, index: usize) -> u32 {
///         (index >= 100) as u32
///     }
///     fn read(&self, index: usize, image: &mut [u8]) -> Result<(), Error> {
///         image.fill(u8::try_from(index).map_err(|error| Error::source(format!("square {index}"), error))?);
///         Ok(())
///     }
/// }
///
/// let data = Dataset::new(Squares, [1, 8, 8], ["dark", "light"])?;
/// assert_eq!(data.get(120)?.image, [120; 64]);
/// # Ok::<(), Error>(())
/// ```
pub trait Source: Send + Sync {
    /// The number of samples; it must stay the same.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The label of sample `index`, which is below [`len`](Source::len).
    fn label(&self, index: usize) -> u32;

    /// Writes the pixels of sample `index` to `image`: channel, row, column; exactly the dataset's c * h * w bytes.
    ///
    /// # Errors
    ///
    /// Whatever keeps the sample from being read; [`Error::source`] wraps errors of other kinds.
    fn read(&self, index: usize, image: &mut [u8]) -> Result<()>;
}

/// One image and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The pixels: channel, row, column.
    pub image: Vec<u8>,
    /// The number of its class.
    pub label: u32,
}

/// The two parts that most sets come in.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to learn from.
    pub train: Dataset,
    /// The samples to measure with.
    pub test: Dataset,
}

/// Mean and standard deviation of each channel, of pixels scaled to 0..1 (`byte / 255`), as torchvision's `Normalize` takes
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStats {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, of the whole population (divided by the number of pixels).
    pub std: Vec<f32>,
}

/// `u8` images of one size, a label for each, and the names of the classes.
///
/// A clone is cheap and shares the samples.
#[derive(Clone)]
pub struct Dataset {
    source: Arc<dyn Source>,
    /// The samples of the source that belong to this dataset; `None`: all, in order.
    selection: Option<Arc<[usize]>>,
    shape: [usize; 3],
    classes: Arc<[String]>,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// A dataset over `source`, with images of `shape` [c, h, w] and the names of the classes, of label 0 first.
    ///
    /// # Errors
    ///
    /// [`Error::DatasetShape`] for a side of 0, [`Error::Label`] for a label without a class.
    pub fn new(
        source: impl Source + 'static,
        shape: [usize; 3],
        classes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Dataset> {
        if pixels_of(&shape).is_none_or(|pixels| pixels == 0) {
            return Err(Error::DatasetShape { shape: shape.to_vec() });
        }
        let classes: Arc<[String]> = classes.into_iter().map(Into::into).collect();
        for index in 0..source.len() {
            let label = source.label(index);
            if u64::from(label) >= classes.len() as u64 {
                return Err(Error::Label { index, label, classes: classes.len() });
            }
        }
        Ok(Dataset { source: Arc::new(source), selection: None, shape, classes })
    }

    /// A dataset of images in memory: `images` holds n * c * h * w bytes in this order, `shape` is [n, c, h, w].
    ///
    /// ```
    /// use kiln_data::Dataset;
    /// let data = Dataset::from_memory(vec![0, 10, 20, 30], [2, 1, 1, 2], vec![1, 0], ["no", "yes"])?;
    /// assert_eq!(data.get(0)?.image, [0, 10]);
    /// assert_eq!(data.class_name(1), Some("yes"));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DatasetLength`] if there are too few or too many pixels or labels, and what [`Dataset::new`] returns.
    pub fn from_memory(
        images: Vec<u8>,
        shape: [usize; 4],
        labels: Vec<u32>,
        classes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Dataset> {
        let [n, c, h, w] = shape;
        let needed = pixels_of(&shape).ok_or_else(|| Error::DatasetShape { shape: shape.to_vec() })?;
        if images.len() != needed {
            return Err(Error::DatasetLength { shape, what: "pixels", needed, given: images.len() });
        }
        if labels.len() != n {
            return Err(Error::DatasetLength { shape, what: "labels", needed: n, given: labels.len() });
        }
        Dataset::new(Memory { images, labels }, [c, h, w], classes)
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.selection.as_ref().map_or_else(|| self.source.len(), |selection| selection.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape [c, h, w] of each image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The names of the classes, of label 0 first.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The name of the class with this label, if there is one.
    pub fn class_name(&self, label: u32) -> Option<&str> {
        self.classes.get(usize::try_from(label).ok()?).map(String::as_str)
    }

    /// The labels of all samples, in order. No image is read.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// assert_eq!(data.test().labels().filter(|&label| label == 3).count(), 200);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn labels(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|index| self.source.label(self.in_source(index)))
    }

    /// Reads one sample.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] beyond the end, [`Error::Memory`] for an image that does not fit, and what the source returns.
    pub fn get(&self, index: usize) -> Result<Sample> {
        if index >= self.len() {
            return Err(Error::Index { index, len: self.len() });
        }
        let mut image = self.image_buffer()?;
        let label = self.read(index, &mut image)?;
        Ok(Sample { image, label })
    }

    /// Two datasets out of this one: the first gets `round(fraction * len)` samples, chosen by `seed`, the second the others.
    /// Both keep the order of this one and share its images.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// let (train, validation) = data.train().split(0.9, 42)?;
    /// assert_eq!((train.len(), validation.len()), (9_000, 1_000));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Fraction`] unless `fraction` is from 0 to 1.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::Fraction { fraction });
        }
        let mut order: Vec<usize> = (0..self.len()).map(|index| self.in_source(index)).collect();
        let first = ((order.len() as f64 * fraction).round() as usize).min(order.len());
        SplitMix64::new(seed).shuffle(&mut order);
        // Selections are ascending, so sorting by the place in the source is sorting by the place in this dataset.
        let mut second = order.split_off(first);
        order.sort_unstable();
        second.sort_unstable();
        Ok((self.select(order), self.select(second)))
    }

    /// Mean and standard deviation of each channel, computed exactly in whole numbers over every pixel.
    ///
    /// ```
    /// let stats = kiln_data::FashionMnist::embedded()?.train().channel_stats()?;
    /// assert!((stats.mean[0] - 0.286).abs() < 0.002 && (stats.std[0] - 0.353).abs() < 0.002);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without samples, [`Error::Memory`] for images that do not fit, and what the source returns.
    pub fn channel_stats(&self) -> Result<ChannelStats> {
        if self.is_empty() {
            return Err(Error::Empty { operation: "channel_stats" });
        }
        let [channels, height, width] = self.shape;
        let mut sums = vec![(0u128, 0u128); channels];
        let mut image = self.image_buffer()?;
        for index in 0..self.len() {
            self.read(index, &mut image)?;
            for (channel, (sum, squares)) in image.chunks_exact(height * width).zip(&mut sums) {
                // A plane has fewer than 2^47 bytes on any machine: 2^16 times that fits in 64 bits.
                *sum += u128::from(channel.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                *squares += u128::from(channel.iter().map(|&byte| u64::from(byte) * u64::from(byte)).sum::<u64>());
            }
        }
        let count = self.len() as u128 * (height * width) as u128;
        let mean = sums.iter().map(|&(sum, _)| (sum as f64 / count as f64 / 255.0) as f32).collect();
        // count^2 times the variance, without cancellation since it is a whole number.
        let spread = |&(sum, squares): &(u128, u128)| (count * squares - sum * sum) as f64;
        let std = sums.iter().map(|sums| (spread(sums).sqrt() / count as f64 / 255.0) as f32).collect();
        Ok(ChannelStats { mean, std })
    }

    /// Batches of `batch_size` samples; see [`Loader`] for shuffling, workers and epochs.
    pub fn loader(&self, batch_size: usize) -> Loader {
        Loader::new(self.clone(), batch_size)
    }

    /// Bytes of one image.
    pub(crate) fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }

    /// Memory for one image.
    fn image_buffer(&self) -> Result<Vec<u8>> {
        let bytes = self.image_bytes();
        let mut image = Vec::new();
        image.try_reserve_exact(bytes).map_err(|_| Error::Memory {
            what: format!("dataset: an image of {:?}", self.shape),
            bytes: bytes as u64,
        })?;
        image.resize(bytes, 0);
        Ok(image)
    }

    /// The place in the source of sample `index`, which is below the length.
    pub(crate) fn in_source(&self, index: usize) -> usize {
        self.selection.as_ref().map_or(index, |selection| selection[index])
    }

    /// Reads the pixels of sample `index`, which is below the length, and returns its label.
    pub(crate) fn read(&self, index: usize, image: &mut [u8]) -> Result<u32> {
        let index = self.in_source(index);
        self.source.read(index, image)?;
        Ok(self.source.label(index))
    }

    fn select(&self, selection: Vec<usize>) -> Dataset {
        Dataset { selection: Some(selection.into()), ..self.clone() }
    }
}

/// All pixels side by side.
struct Memory {
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize, image: &mut [u8]) -> Result<()> {
        let start = index * image.len();
        image.copy_from_slice(&self.images[start..start + image.len()]);
        Ok(())
    }
}

fn pixels_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))
}
