//! A CSV file that names image files and their classes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use csv::StringRecord;

use crate::classes::nfc;
use crate::error::{Error, Result};
use crate::files::{PartFiles, ReadOptions};
use crate::splits::{Part, Splits};

/// The columns; the last may be missing.
const COLUMNS: [&str; 3] = ["path", "label", "split"];

/// Reads a CSV file with the columns `path` and `label`, named in its first line, and if there is one, `split` with the names of
/// parts that [`Part::named`] knows: `train`, `val`, `test`. Without it some images of each class are held back for testing. Other
/// columns are not looked at.
///
/// Paths are relative to the CSV file's folder. Classes are the labels' texts in alphabetical order, or in the order of their
/// numbers if all are whole numbers; they are the training part's. Images are decoded when they are needed.
///
/// ```no_run
/// // path,label
/// // images/0001.jpg,cat
/// // images/0002.jpg,dog
/// let data = kiln_data::read_csv("pets.csv", &kiln_data::ReadOptions::new(224))?;
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Io`] and [`Error::NotAFile`] for the path, [`Error::Csv`] with the line that is not understood, [`Error::OneClass`],
/// [`Error::UnknownClass`], [`Error::ClassesDiffer`], [`Error::Transforms`] for a size that images cannot have, [`Error::Fraction`].
pub fn read_csv(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Splits> {
    let path = path.as_ref();
    let file = path.display().to_string();
    let failed = |source| Error::Io { file: file.clone(), source };
    // Asked before opening: opening a pipe that nobody writes to would wait.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile { file });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let bad = |line: u64, message: String| Error::Csv { file: file.clone(), line, message };
    let unread = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        bad(line, format!("{error}; save it as a CSV file of UTF-8 text with a path and a label in each line"))
    };

    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(unread)?;
    let header = reader.headers().map_err(unread)?;
    let place = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let [Some(path_column), Some(label_column), split_column] = COLUMNS.map(place) else {
        let given: Vec<&str> = header.iter().collect();
        return Err(bad(1, format!("the columns are {given:?}; name them in the first line: path,label")));
    };

    let mut rows: BTreeMap<Part, Vec<(PathBuf, String)>> = BTreeMap::new();
    for record in reader.records() {
        let record: StringRecord = record.map_err(unread)?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: usize, name: &str| match record.get(column) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(bad(line, format!("the {name} is empty; give each image a path and a label"))),
        };
        let sample = (folder.join(field(path_column, "path")?), nfc(field(label_column, "label")?));
        let part = match split_column.map(|column| record.get(column).unwrap_or("")) {
            None => Part::Train,
            Some(split) => Part::named(split)
                .ok_or_else(|| bad(line, format!("the split is {split:?}; needs train, val or test")))?,
        };
        rows.entry(part).or_default().push(sample);
    }
    if !rows.contains_key(&Part::Train) && !options.only_measures() {
        return Err(bad(1, "there are no training images below this line; add some".to_owned()));
    }
    // All samples are of parts that the file names: none are held back.
    if split_column.is_some() && !rows.contains_key(&Part::Val) {
        rows.entry(Part::Test).or_default();
    }
    let parts = rows.into_iter().map(|(part, samples)| part_files(part, &file, samples)).collect();
    options.assemble(&file, parts, Vec::new())
}

/// The files of a part, with the texts of their labels.
fn part_files(part: Part, file: &str, samples: Vec<(PathBuf, String)>) -> PartFiles {
    let names: BTreeSet<&str> = samples.iter().map(|(_, class)| class.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(String::from).collect();
    let labels: BTreeMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let files = samples.into_iter().filter_map(|(path, class)| Some((path, *labels.get(class.as_str())?))).collect();
    PartFiles { part, folder: file.to_owned(), classes, numbers: true, files }
}
