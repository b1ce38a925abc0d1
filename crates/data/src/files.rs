//! Datasets of image files, whichever list names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::classes::{Classes, nfc};
use crate::dataset::{Dataset, Source};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::image_file::ImageFile;
use crate::splits::{Part, Splits};
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
    known: Option<Classes>,
}

impl ReadOptions {
    /// RGB images whose shorter side becomes `size` pixels and of which the `size` by `size` pixels in the middle are taken, unless
    /// [`Dataset::transforms`] says otherwise. Where there is no test part, a fifth of each class becomes it, by seed 0.
    pub fn new(size: usize) -> ReadOptions {
        ReadOptions { size, grey: false, test_fraction: 0.2, seed: 0, classes: None, known: None }
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
        self.classes = Some(classes.into_iter().map(|class| nfc(&class.into())).collect());
        self
    }

    /// The classes of a network that the set is to be measured with: labels are then theirs, found as [`Classes::among`] says. The
    /// set may have some of them only, even a single one, and needs no training part.
    ///
    /// ```no_run
    /// use kiln_data::{Classes, ReadOptions};
    /// let known = Classes::from(["cat", "dog", "owl"]);
    /// // Photos of owls: their label is 2.
    /// let owls = kiln_data::read_folder("photos", &ReadOptions::new(32).known_classes(&known).test_fraction(1.0))?.test;
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn known_classes(mut self, classes: &Classes) -> ReadOptions {
        self.known = Some(classes.clone());
        self
    }

    /// The classes that are wanted; `None`: all.
    pub(crate) fn wanted(&self) -> Option<&[String]> {
        self.classes.as_deref()
    }

    /// Whether these are classes that the set is to be measured with.
    pub(crate) fn knows(&self, class: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.iter().any(|name| name == class))
    }

    /// Whether the set is only measured.
    pub(crate) fn only_measures(&self) -> bool {
        self.known.is_some()
    }

    /// A dataset of these files.
    pub(crate) fn dataset(&self, files: Vec<(PathBuf, u32)>, classes: &Classes) -> Result<Dataset> {
        let channels = if self.grey { 1 } else { 3 };
        let transforms = Transforms::new().resize(self.size).center_crop(self.size);
        Dataset::of_any_size(Files { files, grey: self.grey }, channels, transforms, classes)
    }

    /// The set `what` out of the files of its parts. Its classes are those of the training part, by which all parts are labelled; of
    /// a set with a training part alone, some of it is held back.
    pub(crate) fn assemble(&self, what: &str, parts: Vec<PartFiles>, notes: Vec<String>) -> Result<Splits> {
        let decides = |part: &&PartFiles| self.known.is_some() || part.part == Part::Train;
        let names: BTreeSet<&String> = parts.iter().filter(decides).flat_map(|part| &part.classes).collect();
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        if parts.iter().all(|part| part.numbers) {
            sort_numbers(&mut names);
        }
        match names.as_slice() {
            [] => return Err(Error::NoTrainingPart { what: what.to_owned() }),
            [class] if self.known.is_none() => {
                return Err(Error::OneClass { what: what.to_owned(), class: class.clone() });
            }
            _ => {}
        }
        let classes = Classes::from(names);
        let [mut train, mut val, mut test] = [None, None, None];
        for PartFiles { part, folder, classes: own, files, .. } in parts {
            let data = self.dataset(files, &Classes::from(&own))?.match_classes(&classes).map_err(|error| match own
                .into_iter()
                .find(|class| !classes.contains(class))
            {
                Some(class) => Error::UnknownClass { folder, class },
                None => error,
            })?;
            match part {
                Part::Train => train = Some(data),
                Part::Val => val = Some(data),
                Part::Test | Part::HeldBack => test = Some(data),
            }
        }
        let (val, test, test_part) = match (val, test) {
            (Some(val), None) => (None, Some(val), Part::Val),
            (val, test) => (val, test, Part::Test),
        };
        let splits = match (train, test) {
            (Some(train), Some(test)) => Splits { train, val, test, test_part, notes },
            (None, Some(test)) => Splits { train: test.none(), val, test, test_part, notes },
            (Some(all), None) => {
                let (test, train) = all.split_by_class(self.test_fraction, self.seed)?;
                Splits { train, val, test, test_part: Part::HeldBack, notes }
            }
            (None, None) => return Err(Error::NoTrainingPart { what: what.to_owned() }),
        };
        match &self.known {
            Some(known) => splits.match_classes(known),
            None => Ok(splits),
        }
    }
}

/// The files of one part of a set.
pub(crate) struct PartFiles {
    pub(crate) part: Part,
    /// Where they are listed, for errors.
    pub(crate) folder: String,
    /// Names that differ, in normal form.
    pub(crate) classes: Vec<String>,
    /// Whether classes whose names are all whole numbers are ordered as such.
    pub(crate) numbers: bool,
    /// Each with its place in `classes`.
    pub(crate) files: Vec<(PathBuf, u32)>,
}

/// Brings names that are all whole numbers into their order: "10" comes after "9" only as a number.
fn sort_numbers(names: &mut [String]) {
    if names.iter().all(|name| name.parse::<u64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<u64>().ok());
    }
}

/// Reads the set at `path`, whichever it is: a CSV file ([`read_csv`](crate::read_csv)), or a folder with the files of CIFAR-10 or
/// CIFAR-100 ([`read_cifar10`](crate::read_cifar10), [`read_cifar100`](crate::read_cifar100)), with IDX files
/// ([`idx::read_folder`]), or with class folders ([`read_folder`](crate::read_folder)). The folders of CIFAR and IDX files are also
/// found where torchvision puts them below the path: `cifar-10-batches-bin`, `MNIST/raw`. The options are for image files, but for
/// [`ReadOptions::known_classes`].
///
/// # Errors
///
/// Those of the reader that was chosen, [`Error::PythonCifar`] for CIFAR's files for Python, [`Error::SeveralSets`].
pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Splits> {
    let path = path.as_ref();
    let splits = if path.is_file() {
        return csv_list::read_csv(path, options);
    } else if let Some(dir) = cifar::find_cifar10(path)? {
        cifar::read_cifar10(dir)?
    } else if let Some(dir) = cifar::find_cifar100(path)? {
        cifar::read_cifar100(dir)?
    } else if let Some(dir) = idx::find(path)? {
        idx::read_folder(dir)?
    } else {
        return folder::read_folder(path, options);
    };
    match &options.known {
        Some(known) => splits.match_classes(known),
        None => Ok(splits),
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
    options.dataset(paths.into_iter().map(|path| (path.into(), 0)).collect(), &Classes::from([""]))
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

    fn check(&self, index: usize) -> Result<()> {
        ImageFile::check(&self.files[index].0)
    }

    fn name(&self, index: usize) -> String {
        self.files[index].0.display().to_string()
    }
}
