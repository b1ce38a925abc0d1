//! Images of one size with their labels, whatever they come from.

use std::fmt;
use std::sync::Arc;

use crate::classes::Classes;
use crate::color::Adjust;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::loader::Loader;
use crate::random::SplitMix64;
use crate::stats::ChannelStats;
use crate::transform::Transforms;

/// Where a [`Dataset`]'s samples come from: memory, a folder of images, a database.
///
/// Labels are known without reading an image. [`read`](Source::read) is called from several threads at once. A source
/// holds every sample; which of them a dataset uses, and in which order, is not its concern.
///
/// ```
/// use kiln_data::{Dataset, Error, Image, Source};
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
///     fn read(&self, index: usize) -> Result<Image, Error> {
///         let grey = u8::try_from(index).map_err(|error| Error::source(format!("square {index}"), error))?;
///         Image::planar([1, 8, 8], &[grey; 64])
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

    /// Reads the image of sample `index`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the sample from being read; [`Error::source`] wraps errors of other kinds.
    fn read(&self, index: usize) -> Result<Image>;

    /// Looks whether sample `index` can be read at all, as far as that takes no more than a look at its first bytes.
    ///
    /// # Errors
    ///
    /// What [`read`](Source::read) would return.
    fn check(&self, _index: usize) -> Result<()> {
        Ok(())
    }

    /// What sample `index` is called in errors: its file, if it has one.
    fn name(&self, index: usize) -> String {
        format!("sample {index}")
    }
}

/// One image and its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The pixels: channel, row, column.
    pub image: Vec<u8>,
    /// The number of its class.
    pub label: u32,
    /// What the dataset's transforms leave to a GPU.
    pub adjust: Adjust,
}

/// `u8` images of one size, a label for each, and the classes.
///
/// A clone is cheap and shares the samples.
#[derive(Clone)]
pub struct Dataset {
    source: Arc<dyn Source>,
    /// The samples of the source that belong to this dataset; `None`: all, in order.
    selection: Option<Arc<[usize]>>,
    /// Of the source's images.
    channels: usize,
    /// The size [h, w] of all of the source's images; `None` where each has its own.
    size: Option<[usize; 2]>,
    transforms: Arc<Transforms>,
    /// After the transforms.
    shape: [usize; 3],
    classes: Classes,
    /// The label of each of the source's labels; `None`: the same.
    relabelled: Option<Arc<[u32]>>,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("classes", &&*self.classes)
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// A dataset over `source`, with images of `shape` [c, h, w] and the names of the classes, of label 0 first.
    ///
    /// # Errors
    ///
    /// [`Error::DatasetShape`] for a side of 0, [`Error::Label`] for a label without a class.
    pub fn new(source: impl Source + 'static, shape: [usize; 3], classes: impl Into<Classes>) -> Result<Dataset> {
        if pixels_of(&shape).is_none_or(|pixels| pixels == 0) {
            return Err(Error::DatasetShape { shape: shape.to_vec() });
        }
        let [channels, height, width] = shape;
        Dataset::over(Arc::new(source), channels, Some([height, width]), classes, Transforms::new())
    }

    /// A dataset over a source whose images have sizes of their own, each of `channels` channels. The transforms bring them to one
    /// size.
    ///
    /// # Errors
    ///
    /// [`Error::Transforms`] for transforms that leave sizes as they are or cannot be done, [`Error::Label`] for a label without a
    /// class.
    pub fn of_any_size(
        source: impl Source + 'static,
        channels: usize,
        transforms: Transforms,
        classes: impl Into<Classes>,
    ) -> Result<Dataset> {
        Dataset::over(Arc::new(source), channels, None, classes, transforms)
    }

    fn over(
        source: Arc<dyn Source>,
        channels: usize,
        size: Option<[usize; 2]>,
        classes: impl Into<Classes>,
        transforms: Transforms,
    ) -> Result<Dataset> {
        let classes = classes.into();
        for index in 0..source.len() {
            let label = source.label(index);
            if u64::from(label) >= classes.len() as u64 {
                return Err(Error::Label { index, label, classes: classes.len() });
            }
        }
        let shape = [channels, 0, 0];
        let untransformed = Dataset {
            source,
            selection: None,
            channels,
            size,
            transforms: Arc::default(),
            shape,
            classes,
            relabelled: None,
        };
        untransformed.transforms(transforms)
    }

    /// The same samples with other transforms, instead of those that it has. Its images are then of another [`shape`](Self::shape).
    ///
    /// # Errors
    ///
    /// [`Error::Transforms`] for transforms that leave sizes as they are where each image has its own, or that cannot be done.
    pub fn transforms(&self, transforms: Transforms) -> Result<Dataset> {
        let Some([height, width]) = transforms.output(self.channels, self.size)? else {
            return Err(Error::Transforms {
                message: "images of different sizes keep them; end with a crop or with resize_to".to_owned(),
            });
        };
        let shape = [self.channels, height, width];
        if pixels_of(&shape).is_none_or(|pixels| pixels == 0) {
            return Err(Error::DatasetShape { shape: shape.to_vec() });
        }
        Ok(Dataset { transforms: Arc::new(transforms), shape, ..self.clone() })
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
        classes: impl Into<Classes>,
    ) -> Result<Dataset> {
        let [n, c, h, w] = shape;
        let needed = pixels_of(&shape).ok_or_else(|| Error::DatasetShape { shape: shape.to_vec() })?;
        if images.len() != needed {
            return Err(Error::DatasetLength { shape, what: "pixels", needed, given: images.len() });
        }
        if labels.len() != n {
            return Err(Error::DatasetLength { shape, what: "labels", needed: n, given: labels.len() });
        }
        Dataset::new(Memory { images, labels, shape: [c, h, w] }, [c, h, w], classes)
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

    /// The classes, of label 0 first: a slice of their names, which also tells whether these are more than numbers.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The name of the class with this label, if there is one.
    pub fn class_name(&self, label: u32) -> Option<&str> {
        self.classes.get(usize::try_from(label).ok()?).map(String::as_str)
    }

    /// What sample `index` is called: its file, if it has one. `None` beyond the end.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// assert_eq!(data.test().name(7).as_deref(), Some("sample 7"));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn name(&self, index: usize) -> Option<String> {
        (index < self.len()).then(|| self.source.name(self.in_source(index)))
    }

    /// The labels of all samples, in order. No image is read.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// assert_eq!(data.test().labels().filter(|&label| label == 3).count(), 200);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn labels(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|index| self.label(self.in_source(index)))
    }

    /// The label of a sample of the source.
    fn label(&self, in_source: usize) -> u32 {
        let label = self.source.label(in_source);
        self.relabelled.as_ref().map_or(label, |labels| labels[label as usize])
    }

    /// The same samples with the labels of `known`, in which classes are found as [`Classes::among`] says. `known` may have more
    /// classes than this dataset.
    ///
    /// ```
    /// use kiln_data::{Classes, Dataset};
    /// let data = Dataset::from_memory(vec![0, 9], [2, 1, 1, 1], vec![0, 1], ["dog", "cat"])?;
    /// let data = data.match_classes(&Classes::from(["cat", "cow", "dog"]))?;
    /// assert_eq!(data.labels().collect::<Vec<_>>(), [2, 0]);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ClassesDiffer`] for classes that are not among them.
    pub fn match_classes(&self, known: &Classes) -> Result<Dataset> {
        let places = self.classes.among(known)?.labels;
        let labels = match &self.relabelled {
            Some(labels) => labels.iter().map(|&label| places[label as usize]).collect(),
            None => places.into(),
        };
        Ok(Dataset { relabelled: Some(labels), classes: known.clone(), ..self.clone() })
    }

    /// Reads one sample. Of random transforms it is what the first epoch of an unshuffled loader gives.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] beyond the end, [`Error::Memory`] for an image that does not fit, and what the source returns.
    pub fn get(&self, index: usize) -> Result<Sample> {
        if index >= self.len() {
            return Err(Error::Index { index, len: self.len() });
        }
        let mut image = self.image_buffer()?;
        let (label, adjust) = self.read(index, (0, 0), &mut image)?;
        Ok(Sample { image, label, adjust })
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

    /// As [`split`](Self::split), but class by class: the first dataset gets `round(fraction * count)` of each class, and where a
    /// class has two samples or more, both get at least one.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// let (_, validation) = data.train().split_by_class(0.9, 42)?;
    /// assert_eq!(validation.labels().filter(|&label| label == 3).count(), 100);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Fraction`] unless `fraction` is from 0 to 1.
    pub fn split_by_class(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::Fraction { fraction });
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (class, mut members) in self.by_class().into_iter().enumerate() {
            SplitMix64::stream(seed, class as u64).shuffle(&mut members);
            let inner = fraction > 0.0 && fraction < 1.0 && members.len() > 1;
            let share = (members.len() as f64 * fraction).round() as usize;
            let share = if inner { share.clamp(1, members.len() - 1) } else { share.min(members.len()) };
            second.extend(members.split_off(share));
            first.extend(members);
        }
        first.sort_unstable();
        second.sort_unstable();
        Ok((self.select(first), self.select(second)))
    }

    /// At most `count` samples of each class, chosen by `seed`, in the order of this dataset.
    ///
    /// ```
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// let few = data.train().take_per_class(50, 42);
    /// assert_eq!(few.labels().filter(|&label| label == 3).count(), 50);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn take_per_class(&self, count: usize, seed: u64) -> Dataset {
        let mut taken = Vec::new();
        for (class, mut members) in self.by_class().into_iter().enumerate() {
            SplitMix64::stream(seed, class as u64).shuffle(&mut members);
            members.truncate(count);
            taken.extend(members);
        }
        taken.sort_unstable();
        self.select(taken)
    }

    /// The places in the source of each class's samples.
    fn by_class(&self) -> Vec<Vec<usize>> {
        let mut of_class = vec![Vec::new(); self.classes.len()];
        for (index, label) in self.labels().enumerate() {
            of_class[label as usize].push(self.in_source(index));
        }
        of_class
    }

    /// Mean and standard deviation of each channel, computed exactly in whole numbers over every pixel, after the dataset's
    /// transforms but without what these leave to a GPU.
    ///
    /// ```
    /// let stats = kiln_data::FashionMnist::embedded()?.train().channel_stats()?;
    /// assert!((stats.mean[0] - 0.286).abs() < 0.002 && (stats.std[0] - 0.353).abs() < 0.002);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without samples, [`Error::BatchMemory`] for images that do not fit, and what the source returns.
    pub fn channel_stats(&self) -> Result<ChannelStats> {
        // Small batches: the memory that they take stays small for large images.
        self.loader(16).workers(0).channel_stats()
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

    /// Whether the transforms leave something to a GPU.
    pub(crate) fn adjusts(&self) -> bool {
        self.transforms.adjusts()
    }

    /// Writes sample `index`, which is below the length, as channel, row, column. What is random in its transforms follows from
    /// the seed, the epoch and the sample's place in the source.
    pub(crate) fn read(&self, index: usize, (seed, epoch): (u64, u64), planes: &mut [u8]) -> Result<(u32, Adjust)> {
        let index = self.in_source(index);
        let image = self.source.read(index)?;
        let shape = image.shape();
        let expected = self.size.map_or([self.channels, shape[1], shape[2]], |[h, w]| [self.channels, h, w]);
        if shape != expected {
            return Err(Error::ImageShape {
                what: self.source.name(index),
                given: format!("{shape:?} (channels, height, width)"),
                needed: format!("{expected:?}"),
                advice: "let the source give what the dataset was made with",
            });
        }
        let mut random = SplitMix64::sample(seed, epoch, index as u64);
        let drawn = self.transforms.apply(image, &mut random, &|| self.source.name(index))?;
        drawn.image.write_planes(drawn.geometry.flips(), planes);
        Ok((self.label(index), drawn.adjust))
    }

    /// Whether sample `index`, which is below the length, looks readable: see [`Source::check`].
    pub(crate) fn check(&self, index: usize) -> Result<()> {
        self.source.check(self.in_source(index))
    }

    /// None of the samples.
    pub(crate) fn none(&self) -> Dataset {
        self.select(Vec::new())
    }

    fn select(&self, selection: Vec<usize>) -> Dataset {
        Dataset { selection: Some(selection.into()), ..self.clone() }
    }
}

/// All pixels side by side.
struct Memory {
    images: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize) -> Result<Image> {
        let bytes: usize = self.shape.iter().product();
        Image::planar(self.shape, &self.images[index * bytes..(index + 1) * bytes])
    }
}

fn pixels_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side))
}
