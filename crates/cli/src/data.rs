//! Datasets as the command line names them, and what happens to their images.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use clap_lex::OsStrExt;
use kiln_data::{Classes, Dataset, FashionMnist, Loader, Part, ReadOptions, Splits, Transforms, Unreadable, idx, read};
use serde::{Deserialize, Serialize};

use crate::ended::usage;
use crate::note::note;
use crate::os_text::OsText;

/// A dataset's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OsText", into = "OsText")]
pub(crate) enum DataName {
    /// The embedded part of Fashion-MNIST.
    FashionMnist,
    /// A folder with IDX files.
    Idx(PathBuf),
    /// Whatever lies there.
    Path(PathBuf),
}

impl DataName {
    /// Whether two names are of one set, however its path is written.
    pub(crate) fn is_same(&self, other: &DataName) -> bool {
        match (self, other) {
            (DataName::Path(a) | DataName::Idx(a), DataName::Path(b) | DataName::Idx(b)) => same_path(a, b),
            _ => self == other,
        }
    }
}

/// Whether two paths are equal or lead to the same place.
pub(crate) fn same_path(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl TryFrom<OsText> for DataName {
    type Error = &'static str;

    fn try_from(OsText(text): OsText) -> Result<DataName, &'static str> {
        match text.strip_prefix("idx:") {
            _ if text == "fashion-mnist" => Ok(DataName::FashionMnist),
            Some(folder) if folder.is_empty() => Err("needs idx:DIR with a folder of IDX files"),
            Some(folder) => Ok(DataName::Idx(folder.into())),
            None if text.is_empty() => Err("needs a path, or fashion-mnist"),
            None => Ok(DataName::Path(text.into())),
        }
    }
}

impl From<DataName> for OsText {
    fn from(name: DataName) -> OsText {
        OsText(match name {
            DataName::FashionMnist => "fashion-mnist".into(),
            DataName::Idx(folder) => {
                let mut text = OsString::from("idx:");
                text.push(folder);
                text
            }
            DataName::Path(path) => path.into(),
        })
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataName::FashionMnist => f.write_str("fashion-mnist"),
            DataName::Idx(folder) => write!(f, "idx:{}", folder.display()),
            DataName::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is done about images that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnreadableName {
    /// End with an error that names the file
    Fail,
    /// Leave them out, and say which
    Skip,
}

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartName {
    /// The training images
    Train,
    /// The images that training is judged by, or the test images where there are no others
    Val,
    /// The test images
    Test,
}

/// Which images, and in which size.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// The images: a folder with a folder of images for each class (or such folders in train, val and test), a CSV file with
    /// the columns path,label and, if wanted, split, a folder with the binary files of CIFAR-10 or CIFAR-100 or with IDX files,
    /// or fashion-mnist, which is built in (10,000 and 2,000 images)
    #[arg(
        long,
        value_name = "PATH|fashion-mnist|idx:DIR",
        value_parser = OsStringValueParser::new().try_map(|text| DataName::try_from(OsText(text)))
    )]
    pub(crate) data: Option<DataName>,
    /// The pixels a side that images are brought to [default: the model's]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) size: Option<usize>,
    /// Read image files as grey, in one channel [default: where the model is one for grey images]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) grey: Option<bool>,
    /// The part of each class that is held back for testing, where there is no test part [default: 0.2]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) test_fraction: Option<f64>,
    /// Use at most so many training images of each class
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// What to do about images that cannot be read [default: fail]
    #[arg(long, value_enum)]
    pub(crate) unreadable: Option<UnreadableName>,
    /// The threads that read images; they do not change the result [default: one for each core, at most 8]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// The configuration file that names the data, where it is not the command line.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) named_in: Option<PathBuf>,
}

/// Where the images of a set may lie.
const NEEDED: &str = "a folder with a folder of images for each class, a CSV file with the columns path,label, a folder of \
                      CIFAR or IDX files, or fashion-mnist";

/// Up to this side networks are for small images, which are not cut smaller.
const SMALL: usize = 64;

/// The most images whose channels are measured; of files, each of these is decoded once more.
const MEASURED: usize = 5_000;

/// A set as a network sees it.
pub(crate) struct Images {
    /// Its name.
    pub(crate) name: String,
    /// Its parts, with the transforms of evaluations.
    pub(crate) splits: Splits,
    /// The shape of the images in their own size; `None` where each has its own.
    pub(crate) own: Option<[usize; 3]>,
    /// What is done about those that cannot be read.
    pub(crate) unreadable: Unreadable,
    /// The threads that read.
    pub(crate) workers: usize,
}

impl DataArgs {
    /// These settings, and where there are none, those of `other`.
    pub(crate) fn or(&self, other: &DataArgs) -> DataArgs {
        DataArgs {
            data: self.data.clone().or_else(|| other.data.clone()),
            size: self.size.or(other.size),
            grey: self.grey.or(other.grey),
            test_fraction: self.test_fraction.or(other.test_fraction),
            limit: self.limit.or(other.limit),
            unreadable: self.unreadable.or(other.unreadable),
            workers: self.workers.or(other.workers),
            named_in: if self.data.is_some() { &self.named_in } else { &other.named_in }.clone(),
        }
    }

    /// With defaults where nothing is given, for a model that takes such images.
    pub(crate) fn resolve(&self, [channels, height, _]: [usize; 3]) -> DataArgs {
        let defaults = DataArgs {
            data: None,
            size: Some(height),
            grey: Some(channels == 1),
            test_fraction: Some(0.2),
            limit: None,
            unreadable: Some(UnreadableName::Fail),
            workers: Some(workers()),
            named_in: None,
        };
        self.or(&defaults)
    }

    /// Opens the set, whose settings are resolved. Images are brought to the size as evaluations want them. Labels are those of
    /// `known`, the classes of a network that the set is to be measured with. Says what is left out.
    pub(crate) fn open(&self, known: Option<&Classes>) -> Result<Images> {
        let Some(name) = &self.data else { return Err(usage(format!("no data; pass --data with {NEEDED}"))) };
        let size = self.size.unwrap_or(SMALL);
        let mut options = ReadOptions::new(size).test_fraction(self.test_fraction.unwrap_or(0.2));
        if self.grey == Some(true) {
            options = options.grey();
        }
        if let Some(known) = known {
            options = options.known_classes(known);
        }
        let built_in = |splits: Splits| match known {
            Some(known) => splits.match_classes(known),
            None => Ok(splits),
        };
        let splits = match name {
            DataName::FashionMnist => {
                let data = FashionMnist::embedded()?;
                built_in(Splits::new(data.train().clone(), data.test().clone()))?
            }
            DataName::Idx(folder) => {
                self.check_exists(folder)?;
                built_in(idx::read_folder(folder)?)?
            }
            DataName::Path(path) => {
                self.check_exists(path)?;
                check_kind(path)?;
                read(path, &options)?
            }
        };
        splits.notes.iter().for_each(note);
        // Without transforms, images of different sizes are refused.
        let own = splits.train.transforms(Transforms::new()).ok().map(|data| data.shape());
        let shown = shown(own, size);
        let mut splits = splits.try_map(|part| part.transforms(shown.clone()))?;
        if let Some(limit) = self.limit {
            splits.train = splits.train.take_per_class(limit, 0);
        }
        let (unreadable, workers) = (self.unreadable(), self.workers.unwrap_or(1));
        Ok(Images { name: name.to_string(), splits, own, unreadable, workers })
    }

    /// The settings to look at all images of a set without parts, unless a part is asked for.
    pub(crate) fn whole(&self) -> DataArgs {
        DataArgs { test_fraction: self.test_fraction.or(Some(0.0)), ..self.clone() }
    }

    /// Fails for a path at which nothing lies, in words for a person who may have meant a name, or who runs it from another
    /// folder or machine than the run that the path is from.
    fn check_exists(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Ok(());
        }
        let Some(file) = &self.named_in else {
            bail!("{}: there is no such file or folder; pass {NEEDED}", path.display());
        };
        let folder = std::env::current_dir().ok().filter(|_| path.is_relative());
        let folder = folder.map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
        bail!(
            "{}: there is no such file or folder{folder}; {} names it as the data: pass --data with {NEEDED}",
            path.display(),
            file.display()
        )
    }

    pub(crate) fn unreadable(&self) -> Unreadable {
        match self.unreadable {
            Some(UnreadableName::Skip) => Unreadable::Skip,
            _ => Unreadable::Fail,
        }
    }
}

/// Fails for a file that is no set.
fn check_kind(path: &Path) -> Result<()> {
    let csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if path.is_file() && !csv {
        bail!("{}: is a single file and no .csv; pass {NEEDED}", path.display());
    }
    Ok(())
}

/// An error with the option that leaves out what cannot be read, where it is about that.
pub(crate) fn with_advice(error: anyhow::Error) -> anyhow::Error {
    let of_train = error.downcast_ref().and_then(|error| match error {
        kiln_train::Error::Data(error) => Some(error),
        _ => None,
    });
    let of_sample = error.downcast_ref().or(of_train).is_some_and(kiln_data::Error::is_unreadable_sample);
    match of_sample {
        true => anyhow::anyhow!("{error}; or leave such files out by --unreadable skip"),
        false => error,
    }
}

/// How images are shown to a network that is asked, not trained.
pub(crate) fn shown(own: Option<[usize; 3]>, size: usize) -> Transforms {
    match own {
        Some([_, height, width]) if [height, width] == [size, size] => Transforms::new(),
        _ if size < SMALL => Transforms::new().resize(size).center_crop(size),
        _ => Transforms::imagenet_eval(size),
    }
}

/// Whether images of this side are small.
pub(crate) fn is_small(size: usize) -> bool {
    size < SMALL
}

/// One for each core, with a limit: decoding seldom needs more.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8))
}

impl Images {
    /// The part that a trained network is looked at with, unless another is asked for, and what it is in words: the test part, or
    /// all images of a set without parts of which none are held back.
    pub(crate) fn part(&self, asked: Option<PartName>) -> (&Dataset, String) {
        let Splits { train, test, test_part, .. } = &self.splits;
        let (data, part) = match asked {
            Some(PartName::Train) => (train, Part::Train),
            Some(PartName::Val) => self.splits.validation(),
            Some(PartName::Test) => (test, *test_part),
            None if test.is_empty() => return (train, format!("all of {}", self.name)),
            None => (test, *test_part),
        };
        match part {
            Part::HeldBack => (data, format!("those of {} that training holds back", self.name)),
            part => (data, format!("the {part} part of {}", self.name)),
        }
    }

    /// Looks whether the images of all parts can be read, before anything is begun.
    pub(crate) fn check(&self) -> Result<()> {
        let Splits { train, val, test, .. } = &self.splits;
        for part in [Some(train), val.as_ref(), Some(test)].into_iter().flatten() {
            self.loader(part, 1).check().map_err(|error| with_advice(error.into()))?;
        }
        Ok(())
    }

    /// A loader of one of the parts.
    pub(crate) fn loader(&self, data: &Dataset, batch: usize) -> Loader {
        data.loader(batch).workers(self.workers).unreadable(self.unreadable)
    }

    /// Mean and deviation of each channel of the training images, or of some of them where there are very many. A channel that is
    /// the same everywhere has the deviation 1.
    pub(crate) fn channel_stats(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let train = &self.splits.train;
        let measured = match train.len() {
            many if many > MEASURED && self.own.is_none() => train.split(MEASURED as f64 / many as f64, 0)?.0,
            _ => train.clone(),
        };
        let stats = self.loader(&measured, 16).channel_stats().map_err(|error| with_advice(error.into()))?;
        Ok((stats.mean, stats.std.iter().map(|&std| if std > 0.0 { std } else { 1.0 }).collect()))
    }
}
