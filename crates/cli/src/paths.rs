//! Images as the command line names them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use glob::MatchOptions;

/// The endings by which images are found in folders.
const ENDINGS: [&str; 14] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "webp", "pnm", "ppm", "pgm", "pbm", "tif", "tiff"];

/// Image files.
#[derive(Debug)]
pub(crate) struct Images {
    /// In the order of the command line, those of a folder or a pattern in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// Files in folders that are not named as images.
    pub(crate) left_out: usize,
}

/// The files that are meant by files, folders and patterns. A file is taken whatever its name; of a folder, and the folders in it,
/// those that are named as images.
pub(crate) fn expand(given: &[String]) -> Result<Images> {
    let mut images = Images { files: Vec::new(), left_out: 0 };
    for text in given {
        let path = Path::new(text);
        if path.is_dir() {
            let before = images.files.len();
            images.add_folder(path)?;
            if images.files.len() == before {
                bail!(
                    "{text}: holds no file that is named as an image, such as .jpg or .png; pass the files themselves"
                );
            }
        } else if path.exists() || !text.contains(['*', '?', '[']) {
            // A file that is not there is told with those that cannot be read.
            images.files.push(path.to_path_buf());
        } else {
            images.add_pattern(text)?;
        }
    }
    Ok(images)
}

impl Images {
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let unread = || format!("{}: cannot be listed", folder.display());
        let entries = std::fs::read_dir(folder).with_context(unread)?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().with_context(unread)?;
        paths.sort();
        for path in paths {
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            // A link to a folder may lead back up.
            if path.is_dir() && !hidden && !path.is_symlink() {
                self.add_folder(&path)?;
            } else if is_image(&path) && !hidden {
                self.files.push(path);
            } else if path.is_file() && !hidden {
                self.left_out += 1;
            }
        }
        Ok(())
    }

    fn add_pattern(&mut self, pattern: &str) -> Result<()> {
        // As in shells: hidden files are not meant.
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let found = glob::glob_with(pattern, options).with_context(|| format!("{pattern}: is no pattern"))?;
        let before = self.files.len();
        for path in found {
            let path = path?;
            if path.is_file() {
                self.files.push(path);
            }
        }
        if self.files.len() == before {
            bail!("{pattern}: no file matches this pattern; check the folder's name");
        }
        Ok(())
    }
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
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
        let text = |name: &str| at(name).to_str().unwrap().to_string();
        let found = expand(&[text("notes.txt"), text("")]).unwrap();
        assert_eq!(found.files, [at("notes.txt"), at("1.png"), at("2.JPG"), at("b/3.webp")]);
        assert_eq!(found.left_out, 1);
        let found = expand(&[text("*.[pj]*"), text("none.png")]).unwrap();
        assert_eq!(found.files, [at("1.png"), at("none.png")]);

        let told = |name: &str| expand(&[text(name)]).unwrap_err().to_string();
        assert_eq!(told("*.bmp"), format!("{}: no file matches this pattern; check the folder's name", text("*.bmp")));
        fs::remove_file(at("b/3.webp")).unwrap();
        assert!(
            told("b")
                .ends_with("holds no file that is named as an image, such as .jpg or .png; pass the files themselves")
        );
    }
}
