//! Folders as people have them: every fault with its whole message, and what is done about it.

use std::fs;
use std::path::Path;

use image::RgbImage;
use tempfile::TempDir;

use crate::{done, err, failed, kiln, out, photos, text};

/// Photos of two classes, to be spoiled.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path(), &["cat", "dog"], 6);
    folder
}

/// What training on this folder ends with.
fn told(data: &Path) -> String {
    let results = tempfile::tempdir().unwrap();
    let said =
        failed(&["train", "--model", "mlp", "--data", text(data), "--epochs", "1", "--out", text(results.path())]);
    // Nothing was begun.
    assert_eq!(fs::read_dir(results.path()).unwrap().count(), 0);
    said
}

/// Writes a file that is no image, in one of three ways, and says what is told about it.
fn spoil(class: &Path, way: usize) -> String {
    let (path, message) = match way {
        0 => {
            let path = class.join("note.jpg");
            fs::write(&path, "This is no picture.").unwrap();
            let needed = "pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file";
            (path, format!("starts with \"This is no pictu\", which is no known image format; {needed}"))
        }
        1 => {
            let path = class.join("cut.jpg");
            RgbImage::new(64, 64).save(&path).unwrap();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 30]).unwrap();
            (path, "the JPEG file has no end marker, it is cut off; fetch it again".to_string())
        }
        _ => {
            let path = class.join("wide.png");
            RgbImage::new(30_000, 2).save(&path).unwrap();
            let limits = "the limits are 16384 pixels a side and 268435456 bytes; scale it down";
            (path, format!("the image is 30000x2 pixels and takes 180000 bytes decoded, {limits}"))
        }
    };
    format!("{}: {message}", path.display())
}

#[test]
fn a_file_that_is_no_image_is_named() {
    for way in 0..3 {
        let folder = folder();
        let message = spoil(&folder.path().join("dog"), way);
        assert_eq!(told(folder.path()), format!("error: {message}; or leave such files out by --unreadable skip"));
    }
}

#[test]
fn files_that_are_no_images_are_left_out_and_named() {
    let folder = folder();
    let messages = [0, 1, 2].map(|way| spoil(&folder.path().join("dog"), way));
    let results = tempfile::tempdir().unwrap();
    let args =
        ["train", "--model", "mlp", "--data", text(folder.path()), "--epochs", "1", "--out", text(results.path())];
    let output = kiln(&[&args[..], &["--test-fraction", "0.4", "--unreadable", "skip"]].concat());
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    let said = err(&output);
    for message in messages {
        assert_eq!(said.matches(&format!("left out: {message}\n")).count(), 1, "{said}");
    }
}

#[test]
fn folders_without_what_a_set_needs_are_told() {
    let folder = folder();
    let owl = folder.path().join("owl");
    fs::create_dir(&owl).unwrap();
    assert_eq!(
        told(folder.path()),
        format!("error: {}: this class has no images; put some into its folder, or remove it", owl.display())
    );
    fs::remove_dir(&owl).unwrap();
    fs::remove_dir_all(folder.path().join("dog")).unwrap();
    assert_eq!(
        told(folder.path()),
        format!("error: {}: has only one class, \"cat\"; pass at least two", folder.path().display())
    );
    // Photos that lie there without classes, and no photos.
    let no_classes = |folder: &Path| {
        format!(
            "error: {}: has no class folders; pass a folder that holds a folder of images for each class, or such in train and val \
             or test",
            folder.display()
        )
    };
    let cat = folder.path().join("cat");
    assert_eq!(told(&cat), no_classes(&cat));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(told(empty.path()), no_classes(empty.path()));

    let needed = "pass a folder with a folder of images for each class, a CSV file with the columns path,label, a folder of CIFAR \
                  or IDX files, or fashion-mnist";
    let photo = cat.join("0.png");
    assert_eq!(told(&photo), format!("error: {}: is a single file and no .csv; {needed}", photo.display()));
    let missing = folder.path().join("missing");
    assert_eq!(told(&missing), format!("error: {}: there is no such file or folder; {needed}", missing.display()));
    assert_eq!(told(Path::new("cifar")), format!("error: cifar: there is no such file or folder; {needed}"));
}

#[test]
fn names_may_be_in_any_script() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("Bilder für 犬");
    photos(&data, &["Äpfel grün", "いぬ"], 10);
    let results = folder.path().join("läuft");
    done(&["train", "--model", "mlp", "--data", text(&data), "--epochs", "2", "--batch", "4", "--out", text(&results)]);
    let table = done(&["eval", "--weights", text(&results)]);
    assert!(table.contains("\nÄpfel grün ") && table.contains("\nいぬ "), "{table}");
    let photo = data.join("いぬ").join("3.png");
    let said = done(&["predict", "--weights", text(&results), "--top", "1", text(&photo)]);
    assert!(said.starts_with(&format!("{}  ", photo.display())) && said.trim_end().ends_with(" %"), "{said}");
}
