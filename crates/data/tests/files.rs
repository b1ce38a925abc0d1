//! Sets of files: class folders, CSV lists, CIFAR's binary files; and every error with its whole message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use kiln_data::{
    Dataset, ReadOptions, Splits, Unreadable, read, read_cifar10, read_cifar100, read_csv, read_folder, read_images,
};

/// An even image; the format is the ending's, PNG for none.
fn write(path: &Path, colour: [u8; 3], width: u32, height: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let format = ImageFormat::from_path(path).unwrap_or(ImageFormat::Png);
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb(colour)).write_to(&mut bytes, format).unwrap();
    fs::write(path, bytes.into_inner()).unwrap();
}

/// `count` images of each class.
fn write_classes(dir: &Path, classes: &[&str], count: usize) {
    for (label, class) in classes.iter().enumerate() {
        for i in 0..count {
            write(&dir.join(class).join(format!("{i}.png")), [40 * label as u8, i as u8, 9], 20, 10);
        }
    }
}

fn options() -> ReadOptions {
    ReadOptions::new(8)
}

fn labels(data: &Dataset) -> Vec<u32> {
    data.labels().collect()
}

fn message(result: kiln_data::Result<Splits>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_folder_of_class_folders_is_split() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["cat", "dog", "owl"], 10);
    let data = read_folder(dir.path(), &options()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.shape()), (24, 6, [3, 8, 8]));
    assert_eq!(data.train.classes()[..], ["cat", "dog", "owl"]);
    assert_eq!(labels(&data.test), [0, 0, 1, 1, 2, 2]);
    let sample = data.train.get(23).unwrap();
    assert_eq!((sample.label, sample.image[0], sample.image[128]), (2, 80, 9));

    let seeds: Vec<u8> = (0..8)
        .map(|seed| read_folder(dir.path(), &options().seed(seed)).unwrap().test.get(0).unwrap().image[64])
        .collect();
    assert!(seeds.iter().any(|&first| first != seeds[0]), "{seeds:?}");
    let half = read_folder(dir.path(), &options().test_fraction(0.5).grey()).unwrap();
    assert_eq!((half.test.len(), half.test.shape()), (15, [1, 8, 8]));
    assert_eq!(
        message(read_folder(dir.path(), &options().test_fraction(2.0))),
        "split: the fraction is 2; pass a number from 0 to 1"
    );
    assert_eq!(
        message(read_folder(dir.path(), &ReadOptions::new(0))),
        "transforms: Resize(0) cannot be done; pass sides from 1 to 4096 pixels, and ranges above 0 with the smaller number first, \
         of the area at most 1"
    );
}

#[test]
fn files_have_names_and_a_class_may_be_cut() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["cat", "dog"], 6);
    let data = read_folder(dir.path(), &options().test_fraction(0.0)).unwrap().train;
    assert_eq!(data.name(7), Some(dir.path().join("dog").join("1.png").display().to_string()));
    assert_eq!(data.name(12), None);

    let few = data.take_per_class(2, 1);
    assert_eq!(labels(&few), [0, 0, 1, 1]);
    let names = |data: &Dataset| (0..data.len()).map(|index| data.name(index).unwrap()).collect::<Vec<_>>();
    assert!(names(&few).is_sorted() && names(&few) == names(&data.take_per_class(2, 1)));
    assert!((2..9).any(|seed| names(&data.take_per_class(2, seed)) != names(&few)));
    assert_eq!(data.take_per_class(100, 1).len(), 12);

    // The same files without labels; a third is not there.
    let paths =
        [dir.path().join("dog").join("1.png"), dir.path().join("none.png"), dir.path().join("cat").join("3.png")];
    let images = read_images(&paths, &options().grey()).unwrap();
    assert_eq!((images.shape(), labels(&images), &images.classes()[..]), ([1, 8, 8], vec![0; 3], &[String::new()][..]));
    let loader = images.loader(2).unreadable(Unreadable::Skip);
    let mut batches = loader.epoch(0);
    assert_eq!(batches.by_ref().map(|batch| batch.unwrap().labels.len()).sum::<usize>(), 2);
    assert_eq!(batches.skipped().map(|skipped| skipped.sample).collect::<Vec<_>>(), [1]);
    let stats = loader.workers(2).channel_stats().unwrap();
    assert_eq!(stats, read_images([&paths[0], &paths[2]], &options().grey()).unwrap().channel_stats().unwrap());
}

#[test]
fn classes_that_are_not_wanted_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["cat", "dog", "owl"], 4);
    fs::create_dir(dir.path().join("empty")).unwrap();
    let data = read_folder(dir.path(), &options().classes(["owl", "cat"])).unwrap();
    assert_eq!((&data.train.classes()[..], data.train.len()), (&["cat".to_string(), "owl".to_string()][..], 6));
    assert_eq!(labels(&data.test), [0, 1]);
    assert_eq!(
        message(read_folder(dir.path(), &options().classes(["owl", "bat"]))),
        format!("{}: has no folder \"bat\"; its classes are cat, dog, empty, owl", dir.path().display())
    );
}

#[test]
fn parts_that_are_there_are_taken() {
    for test in ["val", "valid", "validation", "test"] {
        let dir = tempfile::tempdir().unwrap();
        write_classes(&dir.path().join("train"), &["cat", "dog", "owl"], 3);
        // A class may be missing in the test part; its number stays the training part's.
        write_classes(&dir.path().join(test), &["dog", "owl"], 2);
        let data = read(dir.path(), &options()).unwrap();
        assert_eq!((data.train.len(), labels(&data.test)), (9, vec![1, 1, 2, 2]));
        assert_eq!(data.test.classes()[..], ["cat", "dog", "owl"]);
    }
    let dir = tempfile::tempdir().unwrap();
    write_classes(&dir.path().join("train"), &["cat", "dog"], 5);
    let data = read_folder(dir.path(), &options()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (8, 2));
}

#[test]
fn names_may_be_in_any_script_and_folders_within_classes() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["Äpfel", "りんご", "🍎 red"], 2);
    write(&dir.path().join("りんご/さらに/深い/画像.webp"), [1, 2, 3], 9, 9);
    fs::write(dir.path().join("notes.txt"), "not in a class folder").unwrap();
    fs::write(dir.path().join("Äpfel/.DS_Store"), "litter").unwrap();
    fs::write(dir.path().join("Äpfel/Thumbs.db"), "litter").unwrap();
    let data = read_folder(dir.path(), &options().test_fraction(0.0)).unwrap();
    assert_eq!(data.train.classes()[..], ["Äpfel", "りんご", "🍎 red"]);
    assert_eq!(labels(&data.train), [0, 0, 1, 1, 1, 2, 2]);
    for batch in data.train.loader(3).workers(2).epochs(1) {
        batch.unwrap();
    }
}

#[test]
fn folders_without_what_a_set_needs_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    assert_eq!(
        message(read_folder(dir.path(), &options())),
        format!(
            "{folder}: has no class folders; pass a folder that holds a folder of images for each class, or such in train and val \
             or test"
        )
    );
    write_classes(dir.path(), &["cat"], 2);
    assert_eq!(
        message(read_folder(dir.path(), &options())),
        format!("{folder}: has only one class, \"cat\"; pass at least two")
    );
    fs::create_dir(dir.path().join("dog")).unwrap();
    assert_eq!(
        message(read_folder(dir.path(), &options())),
        format!("{folder}/dog: this class has no images; put some into its folder, or remove it")
    );
    let absent = dir.path().join("absent");
    assert!(message(read_folder(&absent, &options())).starts_with(&format!("{folder}/absent: cannot be read: ")));

    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    write_classes(&dir.path().join("train"), &["cat", "dog"], 1);
    write_classes(&dir.path().join("val"), &["cat", "emu"], 1);
    assert_eq!(
        message(read_folder(dir.path(), &options())),
        format!("{folder}/val: the training part has no class \"emu\"; give both parts the same classes")
    );
}

#[test]
fn files_that_are_no_images_are_named_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["cat", "dog"], 4);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("cat/letter.jpg"), "Dear all,").unwrap();
    write(&at("dog/cut.jpg"), [200, 10, 10], 64, 64);
    let jpeg = fs::read(at("dog/cut.jpg")).unwrap();
    fs::write(at("dog/cut.jpg"), &jpeg[..jpeg.len() / 2]).unwrap();
    let mut png = Cursor::new(Vec::new());
    GrayImage::new(30_000, 1).write_to(&mut png, ImageFormat::Png).unwrap();
    fs::write(at("dog/wide.png"), png.into_inner()).unwrap();

    let data = read_folder(dir.path(), &options().test_fraction(0.0)).unwrap().train;
    let path = |name: &str| at(name).display().to_string();
    let reasons = [
        format!(
            "{}: starts with \"Dear all,\", which is no known image format; pass a PNG, JPEG, GIF, BMP, WebP, PNM or TIFF file",
            path("cat/letter.jpg")
        ),
        format!("{}: the JPEG file has no end marker, it is cut off; fetch it again", path("dog/cut.jpg")),
        format!(
            "{}: the image is 30000x1 pixels and takes 30000 bytes decoded, the limits are 16384 pixels a side and 268435456 \
             bytes; scale it down",
            path("dog/wide.png")
        ),
    ];
    for workers in [0, 2] {
        let loader = data.loader(4).workers(workers);
        let error = loader.epochs(1).find_map(Result::err).unwrap();
        assert_eq!(error.to_string(), reasons[0]);

        let mut batches = loader.unreadable(Unreadable::Skip).epochs(3);
        let samples: usize = batches.by_ref().map(|batch| batch.unwrap().labels.len()).sum();
        assert_eq!(samples, 3 * 8);
        let given: Vec<_> = batches.skipped().map(|skipped| (skipped.sample, skipped.reason.as_str())).collect();
        assert_eq!(given, [4, 9, 10].into_iter().zip(reasons.iter().map(String::as_str)).collect::<Vec<_>>());
    }
}

fn csv(dir: &Path, text: &str) -> kiln_data::Result<Splits> {
    let path = dir.join("list.csv");
    fs::write(&path, text).unwrap();
    read_csv(path, &options())
}

#[test]
fn a_list_of_paths_and_labels_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write_classes(dir.path(), &["a", "b"], 4);
    // A byte order mark, columns in another order, quotes, another column.
    let text = "\u{feff}Label,note,Path\ndog,x,a/0.png\n\"cat, small\",,\"a/1.png\"\n dog , y , b/2.png\r\n\"cat, small\",,b/3.png\n";
    let data = csv(dir.path(), text).unwrap();
    assert_eq!(data.train.classes()[..], ["cat, small", "dog"]);
    // Two of each class: one of each for either part.
    let sorted =
        |data: &Dataset| data.labels().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    assert_eq!((data.train.len(), sorted(&data.train), sorted(&data.test)), (2, vec![0, 1], vec![0, 1]));
    assert_eq!(data.train.get(0).unwrap().image.len(), 192);

    // Numbers are ordered as such.
    let data = csv(dir.path(), "path,label,split\na/0.png,10,train\na/1.png,9,train\nb/0.png,10,val\nb/1.png,9,test\n");
    let data = data.unwrap();
    assert_eq!(data.train.classes()[..], ["9", "10"]);
    assert_eq!((labels(&data.train), labels(&data.test)), (vec![1, 0], vec![0]));
    assert_eq!(read(dir.path().join("list.csv"), &options()).unwrap().train.len(), 2);
}

#[test]
fn lists_that_are_not_understood_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.csv").display().to_string();
    for (text, needed) in [
        ("", format!("{file}, line 1: the columns are []; name them in the first line: path,label")),
        (
            "a.png,cat\n",
            format!("{file}, line 1: the columns are [\"a.png\", \"cat\"]; name them in the first line: path,label"),
        ),
        ("path,label\n", format!("{file}, line 1: there are no training images below this line; add some")),
        ("path,label\na.png,cat\n", format!("{file}: has only one class, \"cat\"; pass at least two")),
        (
            "path,label\na.png,cat\nb.png,\n",
            format!("{file}, line 3: the label is empty; give each image a path and a label"),
        ),
        ("path,label\n,cat\n", format!("{file}, line 2: the path is empty; give each image a path and a label")),
        (
            "path,label\na.png,cat\nb.png\n",
            format!(
                "{file}, line 3: CSV error: record 2 (line: 3, byte: 21): found record with 1 fields, but the previous record has 2 \
                 fields; save it as a CSV file of UTF-8 text with a path and a label in each line"
            ),
        ),
        (
            "path,label,split\na.png,cat,holdout\n",
            format!("{file}, line 2: the split is \"holdout\"; needs train, val or test"),
        ),
        (
            "path,label,split\na.png,cat,train\nb.png,dog,train\nc.png,emu,test\n",
            format!("{file}: the training part has no class \"emu\"; give both parts the same classes"),
        ),
    ] {
        assert_eq!(message(csv(dir.path(), text)), needed, "{text}");
    }
    assert_eq!(
        message(read_csv(dir.path(), &options())),
        format!("{}: is not a regular file; pass the path of a file", dir.path().display())
    );
    // A file that is not there is an error of its sample.
    let data = csv(dir.path(), "path,label,split\nabsent.png,cat,train\nb.png,dog,train\n").unwrap();
    let absent = dir.path().join("absent.png").display().to_string();
    assert!(data.train.get(0).unwrap_err().to_string().starts_with(&format!("{absent}: cannot be read: ")));
}

/// Records of CIFAR; the first byte of a plane is the channel, the others the sample.
fn records(labels: &[&[u8]]) -> Vec<u8> {
    let plane = |i: usize, channel: usize| {
        let mut plane = vec![i as u8; 1024];
        plane[0] = channel as u8;
        plane
    };
    let record = |(i, own): (usize, &&[u8])| [own.to_vec(), plane(i, 0), plane(i, 1), plane(i, 2)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

#[test]
fn cifar_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for batch in 1..=5 {
        fs::write(dir.path().join(format!("data_batch_{batch}.bin")), records(&[&[batch], &[9]])).unwrap();
    }
    fs::write(dir.path().join("test_batch.bin"), records(&[&[3]])).unwrap();
    let data = read(dir.path(), &options()).unwrap();
    assert_eq!(labels(&data.train), [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
    assert_eq!((data.train.shape(), data.test.class_name(3)), ([3, 32, 32], Some("cat")));
    let image = data.train.get(3).unwrap().image;
    assert_eq!((image[0], image[1], image[1024], image[2048], image[3071]), (0, 1, 1, 2, 1));

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train.bin"), records(&[&[7, 1], &[7, 0]])).unwrap();
    fs::write(dir.path().join("test.bin"), records(&[&[7, 1]])).unwrap();
    fs::write(dir.path().join("fine_label_names.txt"), "apple\naquarium_fish\n").unwrap();
    let data = read(dir.path(), &options()).unwrap();
    assert_eq!((labels(&data.train), data.test.class_name(1)), (vec![1, 0], Some("aquarium_fish")));
}

#[test]
fn cifar_files_that_are_damaged_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    assert_eq!(
        message(read_cifar10(dir.path())),
        format!("{folder}: has no data_batch_1.bin; pass the folder that holds the files of the set's binary version")
    );
    let good = records(&[&[1]]);
    for (bytes, given) in [(&good[..3072], 3072), (&[][..], 0)] {
        fs::write(dir.path().join("data_batch_1.bin"), bytes).unwrap();
        assert_eq!(
            message(read_cifar10(dir.path())),
            format!(
                "{folder}/data_batch_1.bin: holds {given} bytes, needs a multiple of 3073, at least one and at most 1073741824 \
                 bytes; fetch the file again"
            )
        );
    }
    for name in ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"] {
        fs::write(dir.path().join(name), &good).unwrap();
    }
    fs::write(dir.path().join("data_batch_4.bin"), records(&[&[1], &[10]])).unwrap();
    assert_eq!(
        message(read_cifar10(dir.path())),
        "dataset: sample 4 has label 10 of 10 classes; labels go from 0 to one less than the number of classes"
    );
    // Without contents: the size is all that the file system keeps.
    fs::File::create(dir.path().join("train.bin")).unwrap().set_len(2 << 30).unwrap();
    fs::write(dir.path().join("fine_label_names.txt"), "apple\n").unwrap();
    assert_eq!(
        message(read_cifar100(dir.path())),
        format!(
            "{folder}/train.bin: holds 2147483648 bytes, needs a multiple of 3073, at least one and at most 1073741824 bytes; fetch \
             the file again"
        )
    );
}
