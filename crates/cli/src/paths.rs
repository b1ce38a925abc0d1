//! Images as the command line names them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use glob::{MatchOptions, Pattern};
use kiln_data::{FoundImages, find_images};

/// The characters that make a path a pattern.
const SPECIAL: [char; 3] = ['*', '?', '['];

/// The files that are meant by files, folders and patterns, in the order of the command line. A file is taken whatever its name; of a
/// folder, and the folders in it, the images.
pub(crate) fn expand(given: &[OsString]) -> Result<FoundImages> {
    let mut images = FoundImages::default();
    for given in given {
        let path = Path::new(given);
        if path.is_dir() {
            let found = find_images(path)?;
            if found.files.is_empty() {
                bail!("{}: holds no images; pass another folder, or the files themselves", path.display());
            }
            images.files.extend(found.files);
            images.notes.extend(found.notes);
            continue;
        }
        match given.to_str() {
            Some(pattern) if !path.exists() && pattern.contains(SPECIAL) => images.files.extend(matching(pattern)?),
            // A file that is not there is told with those that cannot be read.
            _ => images.files.push(path.to_path_buf()),
        }
    }
    Ok(images)
}

/// The files that match a pattern. Folders that are there are meant literally, whatever characters their names have.
fn matching(text: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(text);
    let there = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new(""));
    let rest = path.strip_prefix(there).unwrap_or(path);
    let pattern = Path::new(&Pattern::escape(&there.to_string_lossy())).join(rest);
    // As in shells: hidden files are not meant.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found =
        glob::glob_with(&pattern.to_string_lossy(), options).with_context(|| format!("{text}: is no pattern"))?;
    let mut files = Vec::new();
    for path in found {
        let path = path?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{text}: no file matches this pattern; check the folder's name");
    }
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_folders_and_patterns_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b")).unwrap();
        for name in ["2.JPG", "1.png", "b/3.webp", "notes.txt", ".hidden.png"] {
            fs::write(at(name), "").unwrap();
        }
        let text = |name: &str| at(name).into_os_string();
        let found = expand(&[text("notes.txt"), text("")]).unwrap();
        assert_eq!(found.files, [at("notes.txt"), at("1.png"), at("2.JPG"), at("b/3.webp")]);
        assert_eq!(found.notes, [format!("left out, since they are no images: {}", at("notes.txt").display())]);
        let found = expand(&[text("*.[pj]*"), text("none.png")]).unwrap();
        assert_eq!(found.files, [at("1.png"), at("none.png")]);

        let told = |name: &str| expand(&[text(name)]).unwrap_err().to_string();
        assert_eq!(
            told("*.bmp"),
            format!("{}: no file matches this pattern; check the folder's name", at("*.bmp").display())
        );
        fs::remove_file(at("b/3.webp")).unwrap();
        assert!(told("b").ends_with("holds no images; pass another folder, or the files themselves"));
        // Brackets in the name of a folder that is there are no pattern.
        fs::create_dir_all(at("may [2020] *")).unwrap();
        for name in ["may [2020] */1.png", "may [2020] */2.png"] {
            fs::write(at(name), "").unwrap();
        }
        let found = expand(&[text("may [2020] */[2-9].png")]).unwrap();
        assert_eq!(found.files, [at("may [2020] */2.png")]);
    }
}
