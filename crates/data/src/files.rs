//! Datasets of image files, whichever list names them.

use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Source, Splits};
use crate::error::Result;
use crate::image::Image;
use crate::image_file::ImageFile;
use crate::transform::Transforms;
use crate::{cifar, csv_list, folder, idx};

/// How a set of image files is read.
///
/// ```no_run
/// use kiln_data::{ReadOptions, Transforms};
/// let data = kiln_data::read_folder("photos", &ReadOptions::new(224).test_fraction(0.1))?;
/// let train = data.train.transforms(Transforms::imagenet_train(224))?;
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct ReadOptions {
    size: usize,
    grey: bool,
    test_fraction: f64,
    seed: u64,
    classes: Option<Vec<String>>,
}

impl ReadOptions {
    /// RGB images whose shorter side becomes `size` pixels and of which the `size` by `size` pixels in the middle are taken, unless
    /// [`Dataset::transforms`] says otherwise. Where there is no test part, a fifth of each class becomes it, by seed 0.
    pub fn new(size: usize) -> ReadOptions {
        ReadOptions { size, grey: false, test_fraction: 0.2, seed: 0, classes: None }
    }

    /// Grey images of one channel.
    pub fn grey(mut self) -> ReadOptions {
        self.grey = true;
        self
    }

    /// The part of each class, from 0 to 1, that becomes the test set where there is none.
    pub fn test_fraction(mut self, fraction: f64) -> ReadOptions {
        self.test_fraction = fraction;
        self
    }

    /// Decides which samples that part has.
    pub fn seed(mut self, seed: u64) -> ReadOptions {
        self.seed = seed;
        self
    }

    /// Of a folder of class folders, takes only these classes; the others are not looked at. All unless called.
    pub fn classes(mut self, classes: impl IntoIterator<Item = impl Into<String>>) -> ReadOptions {
        self.classes = Some(classes.into_iter().map(Into::into).collect());
        self
    }

    /// The classes that are wanted; `None`: all.
    pub(crate) fn wanted(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// A dataset of these files.
    pub(crate) fn dataset(&self, files: Vec<(PathBuf, u32)>, classes: &[String]) -> Result<Dataset> {
        let channels = if self.grey { 1 } else { 3 };
        let transforms = Transforms::new().resize(self.size).center_crop(self.size);
        Dataset::of_any_size(Files { files, grey: self.grey }, channels, transforms, classes)
    }

    /// Both parts of a set that has only one.
    pub(crate) fn split(&self, data: &Dataset) -> Result<Splits> {
        let (test, train) = data.split_by_class(self.test_fraction, self.seed)?;
        Ok(Splits { train, test })
    }
}

/// Reads the set at `path`, whichever it is: a CSV file ([`read_csv`](crate::read_csv)), or a folder with the files of CIFAR-10 or
/// CIFAR-100 ([`read_cifar10`](crate::read_cifar10), [`read_cifar100`](crate::read_cifar100)), with IDX files
/// ([`idx::read_folder`]), or with class folders ([`read_folder`](crate::read_folder)). The options are for image files.
///
/// # Errors
///
/// Those of the reader that was chosen.
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Splits> {
    let path = path.as_ref();
    let has = |name: &str| path.join(name).is_file();
    if path.is_file() {
        csv_list::read_csv(path, options)
    } else if has("data_batch_1.bin") {
        cifar::read_cifar10(path)
    } else if has("train.bin") {
        cifar::read_cifar100(path)
    } else if has("train-images-idx3-ubyte") || has("train-images-idx3-ubyte.gz") {
        idx::read_folder(path)
    } else {
        folder::read_folder(path, options)
    }
}

/// Image files without labels, to be named by a network: each has the label 0, of a single class without a name.
///
/// ```no_run
/// use kiln_data::{ReadOptions, Transforms, read_images};
/// let photos = read_images(["boot.jpg", "coat.png"], &ReadOptions::new(224))?;
/// let photos = photos.transforms(Transforms::imagenet_eval(224))?;
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Transforms`](crate::Error::Transforms) for a size that images cannot have. Files are opened when they are needed.
pub fn read_images(paths: impl IntoIterator<Item = impl Into<PathBuf>>, options: &ReadOptions) -> Result<Dataset> {
    options.dataset(paths.into_iter().map(|path| (path.into(), 0)).collect(), &[String::new()])
}

/// Image files with their labels.
struct Files {
    files: Vec<(PathBuf, u32)>,
    grey: bool,
}

impl Source for Files {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.files[index].1
    }

    fn read(&self, index: usize) -> Result<Image> {
        ImageFile::open(&self.files[index].0)?.into_image(self.grey)
    }

    fn name(&self, index: usize) -> String {
        self.files[index].0.display().to_string()
    }
}
