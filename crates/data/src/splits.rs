//! The parts that sets come in.

use std::fmt;

use crate::classes::Classes;
use crate::dataset::Dataset;
use crate::error::Result;

/// A part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What a network learns from.
    Train,
    /// What training is judged by, epoch by epoch.
    Val,
    /// What the trained network is measured with.
    Test,
    /// Samples that were held back from a set without parts, in place of a test part.
    HeldBack,
}

impl Part {
    /// The part that a folder or a `split` column means by a name, in any case: `train` and `training`; `val`, `valid`, `validation`
    /// and `dev`; `test`, `testing`, `eval` and `evaluation`.
    ///
    /// ```
    /// use kiln_data::Part;
    /// assert_eq!(Part::named("Training"), Some(Part::Train));
    /// assert_eq!(Part::named("trains"), None);
    /// ```
    pub fn named(name: &str) -> Option<Part> {
        match name.to_lowercase().as_str() {
            "train" | "training" => Some(Part::Train),
            "val" | "valid" | "validation" | "dev" => Some(Part::Val),
            "test" | "testing" | "eval" | "evaluation" => Some(Part::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "train",
            Part::Val => "val",
            Part::Test | Part::HeldBack => "test",
        })
    }
}

/// The parts of a set.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to learn from.
    pub train: Dataset,
    /// The samples that training is judged by, of a set that has a test part besides; otherwise `test` serves for both.
    pub val: Option<Dataset>,
    /// The samples to measure with.
    pub test: Dataset,
    /// What `test` is: [`Part::Test`], [`Part::Val`] of a set that has no test part, or [`Part::HeldBack`] of one without parts.
    pub test_part: Part,
    /// What was found beside the samples and left out, in sentences for a person.
    pub notes: Vec<String>,
}

impl Splits {
    /// A training and a test part.
    pub fn new(train: Dataset, test: Dataset) -> Splits {
        Splits { train, val: None, test, test_part: Part::Test, notes: Vec::new() }
    }

    /// The samples that training is judged by, and which part they are: `val`, or `test` where there is none.
    ///
    /// ```
    /// use kiln_data::{FashionMnist, Part, Splits};
    /// let data = FashionMnist::embedded()?;
    /// let mut splits = Splits::new(data.train().clone(), data.test().clone());
    /// assert_eq!(splits.validation().1, Part::Test);
    /// let (val, train) = splits.train.split_by_class(0.1, 42)?;
    /// splits = Splits { train, val: Some(val), ..splits };
    /// assert_eq!((splits.validation().0.len(), splits.validation().1), (1_000, Part::Val));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    pub fn validation(&self) -> (&Dataset, Part) {
        match &self.val {
            Some(val) => (val, Part::Val),
            None => (&self.test, self.test_part),
        }
    }

    /// The same samples with the labels of `known`: see [`Dataset::match_classes`]. Where names are missing, a note says so.
    ///
    /// # Errors
    ///
    /// [`Error::ClassesDiffer`](crate::Error::ClassesDiffer) for classes that are not among them.
    pub fn match_classes(&self, known: &Classes) -> Result<Splits> {
        let mut matched = self.try_map(|part| part.match_classes(known))?;
        if !self.train.classes().among(known)?.by_name {
            let (without, with) = if known.are_named() { ("data", "network") } else { ("network", "data") };
            matched
                .notes
                .push(format!("the {without}'s classes have no names; they are taken to be the {with}'s, in order"));
        }
        Ok(matched)
    }

    /// Every part, changed in the same way.
    ///
    /// # Errors
    ///
    /// The first of `change`.
    pub fn try_map(&self, change: impl Fn(&Dataset) -> Result<Dataset>) -> Result<Splits> {
        Ok(Splits {
            train: change(&self.train)?,
            val: self.val.as_ref().map(&change).transpose()?,
            test: change(&self.test)?,
            ..self.clone()
        })
    }
}
