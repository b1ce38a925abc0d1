//! Which folders are parts, which are classes, and what in them is an image.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use kiln_data::{
    Classes, Dataset, Error, Part, ReadOptions, Splits, Unreadable, find_images, read, read_csv, read_folder,
};
use tempfile::TempDir;

/// A grey image of 2x2 pixels, of a brightness of its own.
fn write(path: &Path, grey: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, [b"P5 2 2 255 ", &[grey; 4][..]].concat()).unwrap();
}

/// A folder with these images.
fn folder(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (grey, name) in names.iter().enumerate() {
        write(&dir.path().join(name), grey as u8);
    }
    dir
}

fn options() -> ReadOptions {
    ReadOptions::new(2)
}

fn data(dir: &TempDir) -> Splits {
    read(dir.path(), &options()).unwrap()
}

fn message(dir: &TempDir, options: &ReadOptions) -> String {
    read(dir.path(), options).unwrap_err().to_string()
}

fn counts(data: &Splits) -> (usize, Option<usize>, usize, Part) {
    (data.train.len(), data.val.as_ref().map(Dataset::len), data.test.len(), data.test_part)
}

#[test]
fn parts_are_called_as_people_call_them() {
    for (train, val, test) in [
        ("Train", "Val", "Test"),
        ("Training", "VALID", "Testing"),
        ("train", "validation", "eval"),
        ("TRAINING", "dev", "test"),
    ] {
        let part = |part: &str, files: &[&str]| files.iter().map(|file| format!("{part}/{file}")).collect::<Vec<_>>();
        let mut names = part(train, &["cat/1.pgm", "cat/2.pgm", "dog/1.pgm", "owl/1.pgm"]);
        names.extend(part(test, &["dog/1.pgm", "owl/1.pgm"]));
        let dir = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(counts(&data(&dir)), (4, None, 2, Part::Test), "{test}");
        // A class may be missing in a part.
        write(&dir.path().join(val).join("owl/1.pgm"), 77);
        let three = data(&dir);
        assert_eq!(counts(&three), (4, Some(1), 2, Part::Test), "{val}");
        let (chooses, part) = three.validation();
        assert_eq!((chooses.get(0).unwrap().image[0], chooses.get(0).unwrap().label, part), (77, 2, Part::Val));
        assert_eq!(three.test.labels().collect::<Vec<_>>(), [1, 2]);
        fs::remove_dir_all(dir.path().join(test)).unwrap();
        let two = data(&dir);
        assert_eq!((counts(&two), two.validation().1), ((4, None, 1, Part::Val), Part::Val));
        fs::remove_dir_all(dir.path().join(val)).unwrap();
        assert_eq!(counts(&data(&dir)), (3, None, 1, Part::HeldBack));
        assert!(data(&dir).notes.is_empty());
    }
}

#[test]
fn parts_that_are_left_out_are_noted() {
    let dir = folder(&[
        "train/cat/1.pgm",
        "train/cat/2.pgm",
        "train/dog/1.pgm",
        "train/dog/2.pgm",
        "test/a.pgm",
        "test/b.pgm",
    ]);
    write(&dir.path().join("unlabeled/c.pgm"), 1);
    write(&dir.path().join("train/loose.pgm"), 1);
    let at = |name: &str| dir.path().join(name).display().to_string();
    let found = data(&dir);
    assert_eq!(counts(&found), (2, None, 2, Part::HeldBack));
    assert_eq!(
        found.notes,
        [
            format!("{}: left out, since it has no class folders: 2 images", at("test")),
            format!("{}: left out, since its name is of no part (train, val or test)", at("unlabeled")),
            format!("left out, since they lie in {} beside its folders: {}", at("train"), at("train/loose.pgm")),
        ]
    );

    write(&dir.path().join("Training/cat/1.pgm"), 1);
    let [first, second] = ["Training", "train"].map(at);
    assert_eq!(
        message(&dir, &options()),
        format!("{first} and {second} are both the train part; put them into one folder, or rename one")
    );
    let flat = folder(&["Train/1.pgm", "Test/1.pgm"]);
    assert!(matches!(read(flat.path(), &options()), Err(Error::NoClasses { .. })));
    let without = folder(&["val/cat/1.pgm", "val/dog/1.pgm"]);
    assert_eq!(
        message(&without, &options()),
        format!(
            "{}: has no training part; name the folder, or the split, of the training images train",
            without.path().display()
        )
    );
}

#[test]
fn a_class_may_be_called_like_a_part() {
    // Vehicles; among them a folder of folders.
    let dir = folder(&["bus/1.pgm", "car/1.pgm", "train/1.pgm", "train/2.pgm"]);
    assert_eq!(data(&dir).train.classes()[..], ["bus", "car", "train"]);
    let dir = folder(&["bus/red/1.pgm", "car/blue/1.pgm", "train/steam/1.pgm"]);
    assert_eq!(data(&dir).train.classes()[..], ["bus", "car", "train"]);
    let dir = folder(&["cat/1.pgm", "test/1.pgm"]);
    assert_eq!(data(&dir).train.classes()[..], ["cat", "test"]);
    // The same classes in both: a part that is not known.
    let dir = folder(&["train/cat/1.pgm", "train/dog/1.pgm", "extra/cat/1.pgm"]);
    assert_eq!(data(&dir).train.classes()[..], ["cat", "dog"]);
    assert_eq!(data(&dir).notes.len(), 1);
    // A network that knows the class decides.
    let dir = folder(&["train/1.pgm", "test/1.pgm"]);
    let known = options().known_classes(&Classes::from(["bus", "test", "train"])).test_fraction(0.0);
    assert_eq!(read(dir.path(), &known).unwrap().train.labels().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_list_has_three_parts_too() {
    let dir = folder(&["1.pgm", "2.pgm", "3.pgm", "4.pgm", "5.pgm"]);
    let list = dir.path().join("list.csv");
    let rows = "path,label,split\n1.pgm,10,Train\n2.pgm,9,training\n3.pgm,10,dev\n4.pgm,9,TEST\n5.pgm,9,test\n";
    fs::write(&list, rows).unwrap();
    let found = read_csv(&list, &options()).unwrap();
    assert_eq!(
        (counts(&found), &found.train.classes()[..]),
        ((2, Some(1), 2, Part::Test), &["9".into(), "10".into()][..])
    );
    assert_eq!(found.val.unwrap().labels().collect::<Vec<_>>(), [1]);
    // Only measured: by the network's labels, and without a training part.
    fs::write(&list, "path,label,split\n4.pgm,9,test\n5.pgm,9,test\n").unwrap();
    let known = Classes::from(["10", "2", "9"]);
    let found = read_csv(&list, &options().known_classes(&known)).unwrap();
    assert_eq!((counts(&found), found.test.labels().collect::<Vec<_>>()), ((0, None, 2, Part::Test), vec![2, 2]));
    assert_eq!(
        read_csv(&list, &options()).unwrap_err().to_string(),
        format!("{}, line 1: there are no training images below this line; add some", list.display())
    );
}

#[test]
fn some_of_the_known_classes_are_enough() {
    let known = Classes::from(["cat", "dog", "owl"]);
    let whole = options().known_classes(&known).test_fraction(0.0);
    let dir = folder(&["owl/1.pgm", "owl/2.pgm"]);
    let found = read(dir.path(), &whole).unwrap();
    assert_eq!((found.train.labels().collect::<Vec<_>>(), found.train.classes()), (vec![2, 2], &known));
    // A folder without images is a class without images.
    fs::create_dir(dir.path().join("cat")).unwrap();
    let found = read(dir.path(), &whole).unwrap();
    assert_eq!(
        (found.train.len(), found.notes),
        (2, vec![format!("{}: holds no images", dir.path().join("cat").display())])
    );
    write(&dir.path().join("emu/1.pgm"), 0);
    assert_eq!(
        message(&dir, &whole),
        "no class is named emu; the known classes are cat, dog, owl; rename the others, or leave them out"
    );
}

#[test]
fn a_name_in_two_normal_forms_is_one_class() {
    let (nfc, nfd) = ("\u{c4}pfel", "A\u{308}pfel");
    let dir = folder(&[&format!("train/{nfc}/1.pgm"), "train/dog/1.pgm", &format!("test/{nfd}/1.pgm")]);
    let found = data(&dir);
    assert_eq!((&found.train.classes()[..], found.test.len()), (&["dog".to_string(), nfc.to_string()][..], 1));
    // Beside each other, where the file system keeps both.
    write(&dir.path().join("train").join(nfd).join("2.pgm"), 3);
    assert_eq!((data(&dir).train.len(), data(&dir).train.classes().len()), (3, 2));
    assert_eq!(read_folder(dir.path().join("train"), &options().classes([nfd, "dog"])).unwrap().train.len(), 2);
}

#[test]
fn what_systems_leave_is_passed_over() {
    let dir = folder(&["cat/1.pgm", "dog/1.pgm"]);
    for litter in [
        "__MACOSX/cat/._1.pgm",
        ".ipynb_checkpoints/1.pgm",
        "@eaDir/cat/1.pgm",
        "$RECYCLE.BIN/1.pgm",
        "lost+found/1.pgm",
        "System Volume Information/1.pgm",
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._1.pgm",
        "cat/THUMBS.DB",
        "cat/Desktop.ini",
        "cat/@eaDir/1.pgm",
        "dog/.ipynb_checkpoints/1-checkpoint.pgm",
    ] {
        write(&dir.path().join(litter), 0);
    }
    let found = read(dir.path(), &options().test_fraction(0.0)).unwrap();
    assert_eq!((found.train.len(), found.train.classes().len(), found.notes), (2, 2, Vec::<String>::new()));
}

#[test]
fn files_that_are_no_images_are_named_once() {
    let dir = folder(&["cat/1.pgm", "dog/1.pgm", "dog/without an ending"]);
    let at = |name: &str| dir.path().join(name);
    for name in ["README.md", "cat/1.json", "cat/1.txt", "cat/1.xml", "dog/list", "dog/movie.mp4"] {
        fs::write(at(name), "Dear all,").unwrap();
    }
    // By their names these are images.
    for name in ["dog/damaged.jpg", "dog/phone.HEIC"] {
        fs::write(at(name), "Dear all,").unwrap();
    }
    let found = read(dir.path(), &options().test_fraction(0.0)).unwrap();
    assert_eq!(found.train.labels().collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
    let listed =
        ["README.md", "cat/1.json", "cat/1.txt", "cat/1.xml", "dog/list"].map(|name| at(name).display().to_string());
    assert_eq!(found.notes, [format!("left out, since they are no images: {} and 1 more", listed.join(", "))]);

    let loader = |unreadable| found.train.loader(1).workers(2).unreadable(unreadable);
    let skipped = loader(Unreadable::Skip).check().unwrap();
    assert_eq!(skipped.iter().map(|skipped| skipped.sample).collect::<Vec<_>>(), [2, 3]);
    let error = loader(Unreadable::Fail).check().unwrap_err();
    assert!(error.is_unreadable_sample());
    assert_eq!(error.to_string(), format!("2 of 5 images cannot be read, the first because: {}", skipped[0].reason));
    fs::remove_file(at("dog/damaged.jpg")).unwrap();
    fs::write(at("dog/phone.HEIC"), [b"P5 2 2 255 ", &[0; 4][..]].concat()).unwrap();
    let error = loader(Unreadable::Fail).check().unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("{}: cannot be read: ", at("dog/damaged.jpg").display())),
        "{error}"
    );
    let (none, rest) = found.train.split_by_class(0.0, 0).unwrap();
    assert!(none.loader(1).check().unwrap().is_empty() && rest.loader(1).check().is_err());
}

#[test]
fn many_files_are_all_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..400 {
        write(&dir.path().join(["a", "b"][i % 2]).join(format!("{i:03}.pgm")), 0);
    }
    for i in [7, 200, 399] {
        fs::write(dir.path().join(["a", "b"][i % 2]).join(format!("{i:03}.pgm")), "").unwrap();
    }
    let data = read(dir.path(), &options().test_fraction(0.0)).unwrap().train;
    for workers in [0, 1, 3] {
        let skipped = data.loader(8).workers(workers).unreadable(Unreadable::Skip).check().unwrap();
        assert_eq!(skipped.iter().map(|skipped| skipped.sample).collect::<Vec<_>>(), [100, 203, 399], "{workers}");
    }
    for entry in fs::read_dir(dir.path().join("a")).unwrap().chain(fs::read_dir(dir.path().join("b")).unwrap()) {
        fs::write(entry.unwrap().path(), "no").unwrap();
    }
    let error = data.loader(8).workers(2).unreadable(Unreadable::Skip).check().unwrap_err();
    assert!(error.to_string().starts_with("loader: none of 400 samples could be read, "), "{error}");
}

#[cfg(unix)]
#[test]
fn linked_folders_are_followed_and_loops_are_told() {
    use std::os::unix::fs::symlink;

    let dir = folder(&["cat/1.pgm", "dog/1.pgm", "dog/deep/2.pgm"]);
    let elsewhere = folder(&["more/2.pgm", "more/3.pgm", "owls/1.pgm"]);
    symlink(elsewhere.path().join("more"), dir.path().join("cat/linked")).unwrap();
    symlink(elsewhere.path().join("owls"), dir.path().join("owl")).unwrap();
    symlink(dir.path().join("dog/1.pgm"), dir.path().join("dog/3.pgm")).unwrap();
    let whole = options().test_fraction(0.0);
    let found = read(dir.path(), &whole).unwrap();
    assert_eq!(found.train.labels().collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1, 2]);
    assert!(found.notes.is_empty());

    let looped = dir.path().join("dog/deep/up");
    symlink(dir.path().join("dog"), &looped).unwrap();
    let lost = dir.path().join("cat/lost.pgm");
    symlink(dir.path().join("nowhere"), &lost).unwrap();
    let found = read(dir.path(), &whole).unwrap();
    let told = format!(
        "{}: left out, since this link leads back to {}; remove it",
        looped.display(),
        dir.path().join("dog").display()
    );
    assert_eq!((found.train.len(), &found.notes), (8, &vec![told]));
    let error = found.train.loader(1).check().unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}: cannot be read: ", lost.display())), "{error}");
    let images = find_images(dir.path()).unwrap();
    assert_eq!((images.files.len(), images.notes), (8, found.notes));
}

/// A file of IDX with its header, for `count` labels or images of 1x1 pixels.
fn idx(path: PathBuf, images: bool, count: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let header: &[u8] =
        if images { &[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 1, 0, 0, 0, 1] } else { &[0, 0, 8, 1, 0, 0, 0, count] };
    fs::write(path, [header, &vec![1; usize::from(count)]].concat()).unwrap();
}

#[test]
fn sets_are_found_where_torchvision_puts_them() {
    let dir = tempfile::tempdir().unwrap();
    for set in ["MNIST", "FashionMNIST"] {
        for (part, count) in [("train", 3), ("t10k", 2)] {
            let raw = dir.path().join(set).join("raw");
            idx(raw.join(format!("{part}-images-idx3-ubyte")), true, count);
            idx(raw.join(format!("{part}-labels-idx1-ubyte")), false, count);
        }
        for path in [dir.path().join(set), dir.path().join(set).join("raw")] {
            let found = read(&path, &options()).unwrap();
            assert_eq!((counts(&found), found.train.classes().are_named()), ((3, None, 2, Part::Test), false));
        }
        if set == "MNIST" {
            assert_eq!(data(&dir).train.len(), 3);
        }
    }
    let [mnist, fashion] = ["MNIST", "FashionMNIST"].map(|set| dir.path().join(set).join("raw").display().to_string());
    assert_eq!(
        message(&dir, &options()),
        format!("{}: holds several sets, {mnist} and {fashion}; pass the path of one", dir.path().display())
    );

    let python = folder(&["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/test_batch"]);
    let below = python.path().join("cifar-10-batches-py");
    let told = format!(
        "{}: holds CIFAR's files for Python, which are not read; fetch the binary version, cifar-10-binary.tar.gz, from \
         https://www.cs.toronto.edu/~kriz/cifar.html",
        below.display()
    );
    assert_eq!(message(&python, &options()), told);
    assert_eq!(read(&below, &options()).unwrap_err().to_string(), told);
    let python = folder(&["train", "test", "meta"]);
    assert!(message(&python, &options()).contains("cifar-100-binary.tar.gz"));
    // The archive of the binary version as it is unpacked.
    let binary = tempfile::tempdir().unwrap();
    let below = binary.path().join("cifar-10-batches-bin");
    fs::create_dir(&below).unwrap();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        fs::write(below.join(format!("{name}.bin")), [1; 3073]).unwrap();
    }
    assert_eq!(data(&binary).train.len(), 5);
}
