//! What lies in folders of images: the images, what systems leave beside them, and the rest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Result};
use crate::image_file::is_image_start;

/// What systems and programs leave in folders; in lower case. Hidden names (`.` first) are left out too.
const LITTER: [&str; 13] = [
    "__macosx",
    "__pycache__",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",
];

/// The endings of image files, also of formats that are not read: such an image is an error, not something else.
const ENDINGS: [&str; 33] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "webp", "pnm", "ppm", "pgm", "pbm", "pam", "tif",
    "tiff", "heic", "heif", "avif", "jxl", "jp2", "j2k", "tga", "ico", "hdr", "exr", "psd", "svg", "dng", "cr2", "nef",
    "arw",
];

/// How many names a note lists.
const LISTED: usize = 5;

/// Image files that were found in a folder: the result of [`find_images`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundImages {
    /// In the order of their names.
    pub files: Vec<PathBuf>,
    /// What was left out, in sentences for a person.
    pub notes: Vec<String>,
}

/// The image files in a folder and the folders in it, linked ones included. A file is an image by the ending of its name or by its
/// first bytes. Hidden files and what systems leave (`Thumbs.db`, `__MACOSX` and the like) are passed over; all else is noted.
///
/// ```no_run
/// let found = kiln_data::find_images("holiday")?;
/// found.notes.iter().for_each(|note| eprintln!("{note}"));
/// println!("{} images", found.files.len());
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Io`] for a folder that cannot be listed.
pub fn find_images(folder: impl AsRef<Path>) -> Result<FoundImages> {
    let mut notes = Notes::default();
    let files = images_below(folder.as_ref(), &mut notes)?;
    Ok(FoundImages { files, notes: notes.into_texts() })
}

/// What was left out so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    texts: Vec<String>,
    /// The first files that are no images, and the number of all of them.
    others: Vec<String>,
    count: usize,
}

impl Notes {
    pub(crate) fn add(&mut self, text: String) {
        self.texts.push(text);
    }

    /// A file that is no image.
    fn other(&mut self, path: &Path) {
        self.count += 1;
        if self.others.len() < LISTED {
            self.others.push(path.display().to_string());
        }
    }

    pub(crate) fn into_texts(mut self) -> Vec<String> {
        if self.count > 0 {
            let more = match self.count - self.others.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.texts.push(format!("left out, since they are no images: {}{more}", self.others.join(", ")));
        }
        self.texts
    }
}

/// What lies in a folder, in the order of the names, without litter.
pub(crate) struct Listing {
    /// With their names.
    pub(crate) folders: Vec<(String, PathBuf)>,
    pub(crate) images: Vec<PathBuf>,
}

impl Listing {
    /// What lies directly in a folder.
    pub(crate) fn of(dir: &Path, notes: &mut Notes) -> Result<Listing> {
        Listing::to_depth(dir, 1, notes)
    }

    fn to_depth(dir: &Path, depth: usize, notes: &mut Notes) -> Result<Listing> {
        let mut listing = Listing { folders: Vec::new(), images: Vec::new() };
        let entries = WalkDir::new(dir).max_depth(depth).follow_links(true).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(|entry| !is_litter(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    if entry.depth() > 0 {
                        listing.folders.push((entry.file_name().to_string_lossy().into_owned(), entry.into_path()));
                    }
                }
                Ok(entry) if is_image(&entry) => listing.images.push(entry.into_path()),
                Ok(entry) => notes.other(entry.path()),
                Err(error) => match (error.loop_ancestor(), error.path()) {
                    (Some(ancestor), Some(path)) => {
                        let (path, ancestor) = (path.display(), ancestor.display());
                        notes.add(format!("{path}: left out, since this link leads back to {ancestor}; remove it"));
                    }
                    // A link that leads nowhere: an image that cannot be read, or something else.
                    (None, Some(path)) if path.is_symlink() && error.depth() > 0 => match has_image_ending(path) {
                        true => listing.images.push(path.to_path_buf()),
                        false => notes.other(path),
                    },
                    _ => {
                        let file = error.path().unwrap_or(dir).display().to_string();
                        let source = error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links"));
                        return Err(Error::Io { file, source });
                    }
                },
            }
        }
        Ok(listing)
    }
}

/// All images in a folder and below it, in the order of their names.
pub(crate) fn images_below(dir: &Path, notes: &mut Notes) -> Result<Vec<PathBuf>> {
    Ok(Listing::to_depth(dir, usize::MAX, notes)?.images)
}

/// Whether a system or a program left it there. The folder that was asked for is wanted, whatever it is called.
fn is_litter(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() > 0 && (name.starts_with('.') || LITTER.contains(&name.to_lowercase().as_str()))
}

/// Whether a file is an image, or is called one.
fn is_image(entry: &DirEntry) -> bool {
    has_image_ending(entry.path()) || entry.file_type().is_file() && starts_as_image(entry.path())
}

fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn starts_as_image(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && is_image_start(&start)
}
