//! The IDX reader: good files, and every error with its whole message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_data::{FashionMnist, idx};

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let mut file = vec![0, 0, 8, 3];
    for dimension in [count, height, width] {
        file.extend(dimension.to_be_bytes());
    }
    file.extend((0..count * height * width).map(|i| (i * 7 % 251) as u8));
    file
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, 1];
    file.extend((labels.len() as u32).to_be_bytes());
    file.extend(labels);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn images_error(bytes: &[u8]) -> String {
    idx::images_from_bytes("f", bytes).unwrap_err().to_string()
}

fn labels_error(bytes: &[u8]) -> String {
    idx::labels_from_bytes("f", bytes).unwrap_err().to_string()
}

#[test]
fn images_are_read_plain_and_gzipped() {
    let plain = images(3, 2, 5);
    for file in [plain.clone(), gzip(&plain)] {
        let read = idx::images_from_bytes("f", &file).unwrap();
        assert_eq!((read.count, read.height, read.width), (3, 2, 5));
        assert_eq!(read.pixels, plain[16..]);
    }
}

#[test]
fn labels_are_read_plain_and_gzipped() {
    let plain = labels(&[3, 0, 255]);
    for file in [plain.clone(), gzip(&plain)] {
        assert_eq!(idx::labels_from_bytes("f", &file).unwrap(), [3, 0, 255]);
    }
}

#[test]
fn files_without_items_are_read() {
    let read = idx::images_from_bytes("f", &images(0, 28, 28)).unwrap();
    assert_eq!((read.count, read.height, read.width, read.pixels.len()), (0, 28, 28, 0));
    assert!(idx::labels_from_bytes("f", &gzip(&labels(&[]))).unwrap().is_empty());
}

#[test]
fn gzip_members_one_after_the_other_are_one_file() {
    let plain = images(2, 3, 3);
    let (first, second) = plain.split_at(20);
    let file = [gzip(first), gzip(second)].concat();
    assert_eq!(idx::images_from_bytes("f", &file).unwrap().pixels, plain[16..]);
}

#[test]
fn a_header_that_is_cut_off_is_named() {
    assert_eq!(
        images_error(&images(2, 3, 3)[..15]),
        "f: ends after 15 bytes, the header of an IDX images file takes 16; fetch the file again"
    );
    assert_eq!(
        images_error(&[]),
        "f: ends after 0 bytes, the header of an IDX images file takes 16; fetch the file again"
    );
    assert_eq!(
        labels_error(&gzip(&labels(&[1])[..7])),
        "f: ends after 7 bytes, the header of an IDX labels file takes 8; fetch the file again"
    );
}

#[test]
fn another_magic_number_is_named() {
    assert_eq!(
        images_error(&labels(&[1, 2, 3])),
        "f: starts with 0x00000801, an IDX images file starts with 0x00000803; this is a file of labels, pass the file of images"
    );
    assert_eq!(
        labels_error(&gzip(&images(1, 1, 1))),
        "f: starts with 0x00000803, an IDX labels file starts with 0x00000801; this is a file of images, pass the file of labels"
    );
    assert_eq!(
        images_error(b"hello world"),
        "f: starts with 0x68656c6c, an IDX images file starts with 0x00000803; pass an IDX file, plain or gzipped"
    );
}

#[test]
fn sizes_beyond_the_limits_are_refused_by_the_header_alone() {
    let header = |count: u32, height: u32, width: u32| {
        let mut file = images(0, height, width);
        file[4..8].copy_from_slice(&count.to_be_bytes());
        file
    };
    for (file, declared, limit) in [
        (header(1, 0, 5), "1 image of 0x5 pixels", "sides from 1 to 16384"),
        (header(1, 5, 16_385), "1 image of 5x16385 pixels", "sides from 1 to 16384"),
        (header(u32::MAX, 16_384, 16_384), "4294967295 images of 16384x16384 pixels", "at most 4294967296 bytes"),
        (header(u32::MAX, 1, 2), "4294967295 images of 1x2 pixels", "at most 4294967296 bytes"),
    ] {
        let needed = format!(
            "f: declares {declared}, the reader takes {limit}; the header is damaged or the file is not an IDX file"
        );
        assert_eq!(images_error(&file), needed);
        assert_eq!(images_error(&gzip(&file)), needed);
    }
}

#[test]
fn a_file_that_ends_early_is_named() {
    let needed =
        "f: holds 33 bytes, its header declares 2 images of 3x3 pixels: 34 in all; fetch the file again".to_string();
    let cut = &images(2, 3, 3)[..33];
    assert_eq!(images_error(cut), needed);
    assert_eq!(images_error(&gzip(cut)), needed);
    assert_eq!(
        labels_error(&labels(&[1, 2, 3])[..8]),
        "f: holds 8 bytes, its header declares 3 labels: 11 in all; fetch the file again"
    );
}

#[test]
fn a_file_that_goes_on_is_named() {
    let long = [images(2, 3, 3), vec![0; 5]].concat();
    assert_eq!(
        images_error(&long),
        "f: holds 39 bytes, its header declares 2 images of 3x3 pixels: 34 in all; fetch the file again"
    );
    assert_eq!(
        images_error(&gzip(&long)),
        "f: holds 35 bytes or more, its header declares 2 images of 3x3 pixels: 34 in all; fetch the file again"
    );
    assert_eq!(
        labels_error(&[labels(&[1, 2]), vec![3]].concat()),
        "f: holds 11 bytes, its header declares 2 labels: 10 in all; fetch the file again"
    );
}

#[test]
fn damaged_gzip_streams_are_named() {
    let file = gzip(&images(2, 3, 3));
    assert_eq!(
        images_error(&file[..file.len() - 3]),
        "f: the gzip stream is damaged: unexpected end of file; fetch the file again"
    );
    let mut other_sum = file.clone();
    *other_sum.iter_mut().rev().nth(5).unwrap() ^= 1;
    assert_eq!(
        images_error(&other_sum),
        "f: the gzip stream is damaged: corrupt gzip stream does not have a matching checksum; fetch the file again"
    );
    assert_eq!(
        labels_error(&[gzip(&labels(&[1])), b"the rest of another file".to_vec()].concat()),
        "f: the gzip stream is damaged: invalid gzip header; fetch the file again"
    );
}

fn write_set(dir: &Path, train: (Vec<u8>, Vec<u8>), test: (Vec<u8>, Vec<u8>)) {
    fs::write(dir.join("train-images-idx3-ubyte"), train.0).unwrap();
    fs::write(dir.join("train-labels-idx1-ubyte.gz"), gzip(&train.1)).unwrap();
    fs::write(dir.join("t10k-images-idx3-ubyte.gz"), gzip(&test.0)).unwrap();
    fs::write(dir.join("t10k-labels-idx1-ubyte"), test.1).unwrap();
}

#[test]
fn a_folder_is_read_whether_its_files_are_plain_or_gzipped() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), (images(3, 2, 4), labels(&[0, 2, 1])), (images(1, 2, 4), labels(&[4])));
    let data = idx::read_folder(dir.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (3, 1));
    assert_eq!(data.train.shape(), [1, 2, 4]);
    assert_eq!(data.train.classes()[..], ["0", "1", "2", "3", "4"]);
    assert_eq!(data.test.classes(), data.train.classes());
    assert_eq!(data.train.get(1).unwrap().image, images(3, 2, 4)[24..32]);
    assert_eq!(data.train.labels().collect::<Vec<_>>(), [0, 2, 1]);
}

#[test]
fn paths_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    assert_eq!(
        idx::read_images(dir.path()).unwrap_err().to_string(),
        format!("{folder}: is not a regular file; pass the path of a file")
    );
    assert_eq!(
        idx::read_labels(dir.path()).unwrap_err().to_string(),
        format!("{folder}: is not a regular file; pass the path of a file")
    );
    let absent = dir.path().join("absent");
    for error in [idx::read_images(&absent).unwrap_err(), idx::read_labels(&absent).unwrap_err()] {
        let kiln_data::Error::Io { file, source } = &error else { panic!("{error:?}") };
        assert_eq!(*file, absent.display().to_string());
        assert_eq!(
            error.to_string(),
            format!("{}: cannot be read: {source}; check the path and its permissions", absent.display())
        );
    }
}

#[test]
fn a_truncated_file_is_named_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gz");
    fs::write(&path, gzip(&images(2, 3, 3)[..30])).unwrap();
    assert_eq!(
        idx::read_images(&path).unwrap_err().to_string(),
        format!(
            "{}: holds 30 bytes, its header declares 2 images of 3x3 pixels: 34 in all; fetch the file again",
            path.display()
        )
    );
}

#[test]
fn folders_that_are_no_set_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display();
    let path = |name| dir.path().join(name).display().to_string();
    assert_eq!(
        idx::read_folder(dir.path()).unwrap_err().to_string(),
        format!(
            "{folder}: has neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz; pass the folder that holds the four IDX files of the set"
        )
    );

    write_set(dir.path(), (images(3, 2, 4), labels(&[0, 2])), (images(1, 2, 4), labels(&[4])));
    assert_eq!(
        idx::read_folder(dir.path()).unwrap_err().to_string(),
        format!(
            "{} holds 3 images and {} holds 2 labels; pass the two files of one set",
            path("train-images-idx3-ubyte"),
            path("train-labels-idx1-ubyte.gz")
        )
    );

    write_set(dir.path(), (images(2, 2, 4), labels(&[0, 2])), (images(1, 4, 2), labels(&[4])));
    assert_eq!(
        idx::read_folder(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: the images are 4x2, the 2x4 of {} is needed; take both parts from one set",
            path("t10k-images-idx3-ubyte.gz"),
            path("train-images-idx3-ubyte")
        )
    );
}

#[test]
fn the_embedded_part_is_balanced_and_small() {
    let data = FashionMnist::embedded().unwrap();
    for (part, len, each) in [(data.train(), 10_000, 1_000), (data.test(), 2_000, 200)] {
        assert_eq!((part.len(), part.shape()), (len, [1, 28, 28]));
        assert_eq!(part.classes()[..], FashionMnist::CLASSES);
        for label in 0..10 {
            assert_eq!(part.labels().filter(|&given| given == label).count(), each);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fashion-mnist");
    let bytes: u64 = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 6_000_000, "{bytes}");
    // The folder of the embedded files is a folder like any other.
    let from_dir = FashionMnist::from_dir(&folder).unwrap();
    assert_eq!(from_dir.train().get(9_999).unwrap(), data.train().get(9_999).unwrap());
    assert_eq!(from_dir.test().len(), 2_000);
}

#[test]
fn sets_that_are_not_fashion_mnist_are_named() {
    let dir = tempfile::tempdir().unwrap();
    write_set(dir.path(), (images(2, 2, 4), labels(&[0, 2])), (images(1, 2, 4), labels(&[4])));
    assert_eq!(
        FashionMnist::from_dir(dir.path()).unwrap_err().to_string(),
        format!(
            "{}: the images are 2x4, 28x28 is needed; read another set than Fashion-MNIST with idx::read_folder",
            dir.path().join("train-images-idx3-ubyte").display()
        )
    );
    write_set(dir.path(), (images(2, 28, 28), labels(&[0, 10])), (images(1, 28, 28), labels(&[4])));
    assert_eq!(
        FashionMnist::from_dir(dir.path()).unwrap_err().to_string(),
        "dataset: sample 1 has label 10 of 10 classes; labels go from 0 to one less than the number of classes"
    );
}
