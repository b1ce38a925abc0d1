//! A folder with a folder of images for each class, as `torchvision.datasets.ImageFolder` has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::classes::nfc;
use crate::error::{Error, Result, counted};
use crate::files::{PartFiles, ReadOptions};
use crate::splits::{Part, Splits};
use crate::walk::{Listing, Notes, images_below};

/// Reads a folder that holds a folder of images for each class, or parts that hold such folders: `train` with `val`, `test` or both,
/// under the names that [`Part::named`] knows. Without another part, some images of each class are held back.
///
/// Classes are the names of the folders in alphabetical order (of their bytes), those of the training part. The images of a class
/// are those in its folder and the folders below it, linked ones included: files with the name of an image, whatever they hold, and
/// files that start as an image does. What cannot be read is an error when its turn comes, or skipped
/// ([`Loader::unreadable`](crate::Loader::unreadable)); [`Loader::check`](crate::Loader::check) looks before. Hidden files and what
/// systems leave (`Thumbs.db`, `__MACOSX` and the like) are passed over. All else that is left out is in [`Splits::notes`]. Images
/// are decoded when they are needed.
///
/// A class may be called `train` or `test`: beside folders of other names, such folders are parts only where `train` holds folders.
///
/// # Errors
///
/// [`Error::NoClasses`], [`Error::OneClass`], [`Error::EmptyClass`], [`Error::UnknownClass`], [`Error::MissingClass`],
/// [`Error::ClassName`], [`Error::SeveralParts`], [`Error::NoTrainingPart`], [`Error::ClassesDiffer`], [`Error::Io`] for a folder that
/// cannot be listed, [`Error::Transforms`] for a size that images cannot have, [`Error::Fraction`].
pub fn read_folder(dir: impl AsRef<Path>, options: &ReadOptions) -> Result<Splits> {
    let dir = dir.as_ref();
    let mut notes = Notes::default();
    let listing = Listing::of(dir, &mut notes)?;
    let parts = match parts_of(dir, &listing, options, &mut notes)? {
        Some(parts) => parts,
        None => vec![(Part::Train, dir.to_path_buf(), listing)],
    };
    let files = parts.into_iter().map(|(part, dir, listing)| part_files(part, &dir, listing, options, &mut notes));
    let files = files.collect::<Result<_>>()?;
    options.assemble(&dir.display().to_string(), files, notes.into_texts())
}

type Parts = Vec<(Part, PathBuf, Listing)>;

/// The parts that a folder's folders are, with what lies in them; `None` where they are classes.
fn parts_of(dir: &Path, listing: &Listing, options: &ReadOptions, notes: &mut Notes) -> Result<Option<Parts>> {
    let named = |(name, _): &&(String, PathBuf)| Part::named(name).is_some();
    let (parts, others): (Vec<_>, Vec<_>) = listing.folders.iter().partition(named);
    let is_class =
        |name: &String| options.knows(&nfc(name)) || options.wanted().is_some_and(|wanted| wanted.contains(name));
    if parts.is_empty() || parts.iter().any(|(name, _)| is_class(name)) {
        return Ok(None);
    }
    // What lies in them is told when they are read.
    let list = |folders: Vec<&(String, PathBuf)>| -> Result<Vec<(String, PathBuf, Listing)>> {
        let list = |(name, path): &(String, PathBuf)| {
            Ok((name.clone(), path.clone(), Listing::of(path, &mut Notes::default())?))
        };
        folders.into_iter().map(list).collect()
    };
    let (parts, mut others) = (list(parts)?, list(others)?);
    others.retain(|(_, _, listing)| !listing.folders.is_empty() || !listing.images.is_empty());
    if !others.is_empty() && !parts_beside_others(&parts, &others) {
        return Ok(None);
    }

    let mut found = Parts::new();
    for (name, path, listing) in parts {
        let Some(part) = Part::named(&name) else { continue };
        if let Some((_, other, _)) = found.iter().find(|(known, ..)| *known == part) {
            let [first, second] = [other, &path].map(|path| path.display().to_string());
            return Err(Error::SeveralParts { part, first, second });
        }
        if listing.folders.is_empty() && part != Part::Train {
            let images = listing.images.len();
            let images = counted(images, "image");
            notes.add(format!("{}: left out, since it has no class folders: {images}", path.display()));
        } else {
            found.push((part, path, listing));
        }
    }
    for (_, path, _) in others {
        notes.add(format!("{}: left out, since its name is of no part (train, val or test)", path.display()));
    }
    notes_of_loose_images(dir, listing, notes);
    Ok(Some(found))
}

/// Whether folders that are called like parts are parts, with other folders beside them. The folder of a class holds images.
fn parts_beside_others(parts: &[(String, PathBuf, Listing)], others: &[(String, PathBuf, Listing)]) -> bool {
    let is_train = |(name, ..): &&(String, PathBuf, Listing)| Part::named(name) == Some(Part::Train);
    // A picture or two may lie beside the folders of classes.
    let holds_classes = |listing: &Listing| listing.folders.len() > listing.images.len();
    let Some((_, _, train)) = parts.iter().find(is_train) else { return false };
    // Of classes that are folders of folders, one may be called train: nothing in it is called as in the others.
    let shares =
        |other: &Listing| other.folders.iter().any(|(name, _)| train.folders.iter().any(|(own, _)| own == name));
    let other_parts = parts.iter().any(|(_, _, listing)| !std::ptr::eq(listing, train) && holds_classes(listing));
    holds_classes(train) && (other_parts || others.iter().all(|(_, _, other)| !holds_classes(other) || shares(other)))
}

fn notes_of_loose_images(dir: &Path, listing: &Listing, notes: &mut Notes) {
    if let (Some(first), count) = (listing.images.first(), listing.images.len()) {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let dir = dir.display();
        notes.add(format!("left out, since they lie in {dir} beside its folders: {}{more}", first.display()));
    }
}

/// The files of a part that lies in a folder.
fn part_files(part: Part, dir: &Path, listing: Listing, options: &ReadOptions, notes: &mut Notes) -> Result<PartFiles> {
    let folder = dir.display().to_string();
    if listing.folders.is_empty() {
        return Err(Error::NoClasses { folder });
    }
    notes_of_loose_images(dir, &listing, notes);
    // The same name in two normal forms is one class.
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (name, path) in listing.folders {
        let readable = path.file_name().is_some_and(|name| name.to_str().is_some());
        let paths = folders.entry(nfc(&name)).or_default();
        // What replaces unreadable characters may be the same in two names.
        if !readable && !paths.is_empty() {
            return Err(Error::ClassName { folder: path.display().to_string() });
        }
        paths.push(path);
    }
    if let Some(wanted) = options.wanted() {
        if let Some(class) = wanted.iter().find(|class| part == Part::Train && !folders.contains_key(*class)) {
            let known = folders.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::MissingClass { folder, class: class.clone(), known });
        }
        folders.retain(|name, _| wanted.contains(name));
    }
    if part == Part::Train
        && !options.only_measures()
        && let (Some(class), 1) = (folders.keys().next(), folders.len())
    {
        return Err(Error::OneClass { what: folder, class: class.clone() });
    }
    let (mut classes, mut files) = (Vec::new(), Vec::new());
    for (label, (class, paths)) in (0..).zip(folders) {
        let before = files.len();
        for path in &paths {
            files.extend(images_below(path, notes)?.into_iter().map(|file| (file, label)));
        }
        if files.len() == before {
            let path = paths.first().map_or_else(String::new, |path| path.display().to_string());
            if part == Part::Train && !options.only_measures() {
                return Err(Error::EmptyClass { folder: path });
            }
            notes.add(format!("{path}: holds no images"));
        }
        classes.push(class);
    }
    if files.is_empty() {
        return Err(Error::NoClasses { folder });
    }
    Ok(PartFiles { part, folder, classes, numbers: false, files })
}
