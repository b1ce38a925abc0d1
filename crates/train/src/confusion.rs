//! Which class is taken for which.

use crate::error::{Error, Result, counted};

/// Counts how often samples of each class were taken for each class.
///
/// The measures have scikit-learn's definitions, with `zero_division=0`:
///
/// - precision of class `c` = right predictions of `c` / all predictions of `c`
/// - recall of `c` = right predictions of `c` / all samples of `c`
/// - `f1 = 2 precision recall / (precision + recall)`
///
/// each 0 where its denominator is 0. Means are over the classes that have samples: of others nothing was measured.
///
/// ```
/// use kiln_train::ConfusionMatrix;
/// let mut matrix = ConfusionMatrix::new(2);
/// for (label, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
///     matrix.add(label, predicted)?;
/// }
/// assert_eq!(matrix.count(0, 1), 1);
/// assert_eq!(matrix.accuracy(), 0.75);
/// let [zero, one] = matrix.per_class()[..] else { unreachable!() };
/// assert_eq!((zero.precision, zero.recall, zero.support), (1.0, 2.0 / 3.0, 3));
/// assert_eq!((one.precision, one.recall, one.support), (0.5, 1.0, 1));
/// # Ok::<(), kiln_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// How well one class is told from the others, or the mean of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassMetrics {
    /// The part of the predictions of the class that are right, from 0 to 1.
    pub precision: f64,
    /// The part of the samples of the class that are found, from 0 to 1.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// The samples of the class; of a mean, all samples.
    pub support: u64,
}

impl ConfusionMatrix {
    /// Nothing yet, of so many classes.
    pub fn new(classes: usize) -> ConfusionMatrix {
        ConfusionMatrix { classes, counts: vec![0; classes * classes] }
    }

    /// Counts a sample of class `label` that was taken for `predicted`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a number beyond the classes.
    pub fn add(&mut self, label: usize, predicted: usize) -> Result<()> {
        if label >= self.classes || predicted >= self.classes {
            let classes = counted(self.classes, "class");
            let message = format!("label {label}, predicted {predicted} with {classes}; pass numbers below that");
            return Err(Error::argument("ConfusionMatrix", message));
        }
        self.counts[label * self.classes + predicted] += 1;
        Ok(())
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All counts, a row for each label.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many samples of class `label` were taken for `predicted`; 0 beyond the classes.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        if label < self.classes && predicted < self.classes { self.counts[label * self.classes + predicted] } else { 0 }
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The part of all samples that were taken for what they are; 0 without samples.
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|class| self.count(class, class)).sum(), self.samples())
    }

    /// The measures of each class.
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        (0..self.classes).map(|class| self.of_class(class)).collect()
    }

    fn of_class(&self, class: usize) -> ClassMetrics {
        let right = self.count(class, class);
        let support = (0..self.classes).map(|predicted| self.count(class, predicted)).sum();
        let predictions: u64 = (0..self.classes).map(|label| self.count(label, class)).sum();
        ClassMetrics {
            precision: ratio(right, predictions),
            recall: ratio(right, support),
            // The same as from precision and recall, and exact where these are rounded.
            f1: ratio(2 * right, support + predictions),
            support,
        }
    }

    /// The mean of the measures over the classes that have samples, each class alike.
    ///
    /// ```
    /// use kiln_train::ConfusionMatrix;
    /// let mut matrix = ConfusionMatrix::new(3);
    /// matrix.add(0, 0)?;
    /// matrix.add(1, 1)?;
    /// assert_eq!(matrix.macro_average().recall, 1.0);
    /// # Ok::<(), kiln_train::Error>(())
    /// ```
    pub fn macro_average(&self) -> ClassMetrics {
        self.average(|class| if class.support > 0 { 1.0 } else { 0.0 })
    }

    /// The mean of the classes' measures, each class by its samples.
    pub fn weighted_average(&self) -> ClassMetrics {
        self.average(|class| class.support as f64)
    }

    fn average(&self, weight: impl Fn(&ClassMetrics) -> f64) -> ClassMetrics {
        let classes = self.per_class();
        let all: f64 = classes.iter().map(&weight).sum();
        let mean = |measure: fn(&ClassMetrics) -> f64| {
            let sum: f64 = classes.iter().map(|class| weight(class) * measure(class)).sum();
            if all > 0.0 { sum / all } else { 0.0 }
        };
        ClassMetrics {
            precision: mean(|class| class.precision),
            recall: mean(|class| class.recall),
            f1: mean(|class| class.f1),
            support: self.samples(),
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
