//! The classes of a set or a network, and which of one are which of the other.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

/// The classes of a set or a network, of label 0 first: their names, or only how many there are.
///
/// Names are kept in Unicode's normal form NFC: file systems write the same name in different forms. Classes without names are
/// called "0", "1" and so on; [`are_named`](Classes::are_named) tells them from classes whose names are numbers.
///
/// ```
/// use kiln_data::Classes;
/// let classes = Classes::from(["cat", "dog"]);
/// assert_eq!((classes.len(), &classes[1], classes.are_named()), (2, &"dog".to_string(), true));
/// let digits = Classes::numbered(10);
/// assert_eq!((&digits[9], digits.are_named()), (&"9".to_string(), false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    names: Arc<[String]>,
    named: bool,
}

impl Classes {
    /// Classes without names.
    pub fn numbered(count: usize) -> Classes {
        Classes { names: (0..count).map(|label| label.to_string()).collect(), named: false }
    }

    /// Whether they have names.
    pub fn are_named(&self) -> bool {
        self.named
    }

    /// Which of `known` each of these classes is: by its name, or where one side has no names, by its place among equally many.
    ///
    /// ```
    /// use kiln_data::Classes;
    /// let known = Classes::from(["1", "2", "10"]);
    /// let given = Classes::from(["1", "10"]);
    /// assert_eq!(given.among(&known)?.labels, [0, 2]);
    /// assert!(!Classes::numbered(3).among(&known)?.by_name);
    /// assert!(Classes::numbered(2).among(&known).is_err());
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ClassesDiffer`] with the classes that are not known.
    pub fn among(&self, known: &Classes) -> Result<ClassMatch> {
        let places: HashMap<&str, u32> = known.iter().map(String::as_str).zip(0..).collect();
        let labels: Option<Vec<u32>> = self.iter().map(|name| places.get(name.as_str()).copied()).collect();
        match labels {
            Some(labels) => Ok(ClassMatch { labels, by_name: true }),
            None if !(self.named && known.named) && self.len() == known.len() => {
                Ok(ClassMatch { labels: places_of(self), by_name: false })
            }
            None => {
                let unknown: Vec<&str> =
                    self.iter().map(String::as_str).filter(|name| !places.contains_key(name)).collect();
                Err(Error::ClassesDiffer { unknown: listed(&unknown), known: listed(known) })
            }
        }
    }
}

/// 0, 1, 2 and so on: a class that has no name is its place.
fn places_of(classes: &Classes) -> Vec<u32> {
    (0..).zip(classes.iter()).map(|(place, _)| place).collect()
}

/// Some names in words, at most six.
fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [first @ .., _] if names.len() > 6 => format!("{}, ... ({})", first[..5].join(", "), names.len()),
        names => names.join(", "),
    }
}

impl Deref for Classes {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.names
    }
}

/// Names, of label 0 first.
impl<I: IntoIterator<Item = S>, S: Into<String>> From<I> for Classes {
    fn from(names: I) -> Classes {
        Classes { names: names.into_iter().map(|name| nfc(&name.into())).collect(), named: true }
    }
}

impl From<&Classes> for Classes {
    fn from(classes: &Classes) -> Classes {
        classes.clone()
    }
}

/// Where some classes are among others: the result of [`Classes::among`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMatch {
    /// For each of the classes, its label among the others.
    pub labels: Vec<u32>,
    /// Whether the names agree; otherwise the places do, and one side has no names.
    pub by_name: bool,
}

/// A name in normal form C.
pub(crate) fn nfc(name: &str) -> String {
    name.nfc().collect()
}
