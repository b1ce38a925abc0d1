//! Datasets: shapes, labels, parts and statistics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use kiln_data::{Dataset, Error, Image, Source};

/// `n` images of 2 channels and 1x2 pixels; the first pixel is the index.
fn numbered(n: usize) -> Dataset {
    let images = (0..n).flat_map(|i| [i as u8, 1, 2, 3]).collect();
    Dataset::from_memory(images, [n, 2, 1, 2], (0..n).map(|i| i as u32 % 3).collect(), ["a", "b", "c"]).unwrap()
}

fn indices(data: &Dataset) -> Vec<u8> {
    (0..data.len()).map(|i| data.get(i).unwrap().image[0]).collect()
}

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn samples_come_as_they_were_given() {
    let data = numbered(5);
    assert_eq!((data.len(), data.is_empty(), data.shape()), (5, false, [2, 1, 2]));
    let sample = data.get(4).unwrap();
    assert_eq!((sample.image, sample.label), (vec![4, 1, 2, 3], 1));
    assert_eq!(data.labels().collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
    assert_eq!((data.class_name(2), data.class_name(3)), (Some("c"), None));
    assert_eq!(format!("{data:?}"), r#"Dataset { len: 5, shape: [2, 1, 2], classes: ["a", "b", "c"], .. }"#);
}

#[test]
fn lengths_that_do_not_fill_the_shape_are_refused() {
    assert_eq!(
        message(Dataset::from_memory(vec![0; 7], [2, 1, 2, 2], vec![0, 0], ["a"])),
        "dataset: shape [2, 1, 2, 2] needs pixels: 8, given: 7; pass as many as the shape says"
    );
    assert_eq!(
        message(Dataset::from_memory(vec![0; 8], [2, 1, 2, 2], vec![0], ["a"])),
        "dataset: shape [2, 1, 2, 2] needs labels: 2, given: 1; pass as many as the shape says"
    );
}

#[test]
fn shapes_without_pixels_or_beyond_the_machine_are_refused() {
    assert_eq!(
        message(Dataset::from_memory(vec![], [2, 1, 0, 2], vec![0, 0], ["a"])),
        "dataset: [1, 0, 2] is no usable shape; every side of an image must be at least 1 and all pixels addressable"
    );
    let huge = usize::MAX / 2;
    assert_eq!(
        message(Dataset::from_memory(vec![], [3, 1, huge, 1], vec![], ["a"])),
        format!(
            "dataset: [3, 1, {huge}, 1] is no usable shape; every side of an image must be at least 1 and all pixels addressable"
        )
    );
    assert_eq!(
        message(Dataset::new(Striped { fails_at: None }, [1, 3, huge], ["a", "b"])),
        format!(
            "dataset: [1, 3, {huge}] is no usable shape; every side of an image must be at least 1 and all pixels addressable"
        )
    );
}

#[test]
fn labels_without_a_class_are_refused() {
    assert_eq!(
        message(Dataset::from_memory(vec![0; 3], [3, 1, 1, 1], vec![0, 1, 2], ["a", "b"])),
        "dataset: sample 2 has label 2 of 2 classes; labels go from 0 to one less than the number of classes"
    );
    assert_eq!(
        message(Dataset::new(Striped { fails_at: None }, [1, 1, 2], ["a"])),
        "dataset: sample 1 has label 1 of 1 class; labels go from 0 to one less than the number of classes"
    );
}

#[test]
fn samples_beyond_the_end_are_refused() {
    assert_eq!(
        message(numbered(5).get(5)),
        "dataset: no sample 5 in a set of length 5; indices go from 0 to one less than the length"
    );
    let (part, _) = numbered(5).split(0.4, 0).unwrap();
    assert_eq!(
        message(part.get(2)),
        "dataset: no sample 2 in a set of length 2; indices go from 0 to one less than the length"
    );
}

#[test]
fn split_gives_every_sample_to_one_part() {
    let data = numbered(10);
    let (first, second) = data.split(0.7, 42).unwrap();
    assert_eq!((first.len(), second.len()), (7, 3));
    let (a, b) = (indices(&first), indices(&second));
    assert!(a.is_sorted() && b.is_sorted(), "{a:?} {b:?}");
    let mut all = [a.clone(), b].concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<u8>>());
    assert_eq!(first.labels().collect::<Vec<_>>(), a.iter().map(|&i| u32::from(i) % 3).collect::<Vec<_>>());

    assert_eq!(indices(&data.split(0.7, 42).unwrap().0), a);
    assert!((0..5).any(|seed| indices(&data.split(0.7, seed).unwrap().0) != a));
}

#[test]
fn a_part_can_be_split_again() {
    let (part, rest) = numbered(20).split(0.5, 1).unwrap();
    let (first, second) = part.split(0.5, 2).unwrap();
    let mut all = [indices(&first), indices(&second), indices(&rest)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<u8>>());
}

#[test]
fn split_takes_the_whole_range_of_fractions() {
    let data = numbered(3);
    assert_eq!(data.split(0.0, 0).unwrap().0.len(), 0);
    assert_eq!(data.split(1.0, 0).unwrap().1.len(), 0);
    assert_eq!(data.split(0.5, 0).unwrap().0.len(), 2);
    assert_eq!(numbered(0).split(0.5, 0).unwrap().0.len(), 0);
    assert_eq!(message(data.split(1.5, 0)), "split: the fraction is 1.5; pass a number from 0 to 1");
    assert_eq!(message(data.split(f64::NAN, 0)), "split: the fraction is NaN; pass a number from 0 to 1");
}

#[test]
fn statistics_are_those_of_each_channel() {
    // Channel 0: 0, 255, 0, 255. Channel 1: 51 everywhere.
    let images = vec![0, 255, 51, 51, 0, 255, 51, 51];
    let stats = Dataset::from_memory(images, [2, 2, 1, 2], vec![0, 0], ["a"]).unwrap().channel_stats().unwrap();
    assert_eq!((stats.mean, stats.std), (vec![0.5, 0.2], vec![0.5, 0.0]));
}

#[test]
fn statistics_agree_with_the_definition() {
    let bytes: Vec<u8> = (0..600u32).map(|i| (i * i % 253) as u8).collect();
    let stats =
        Dataset::from_memory(bytes.clone(), [6, 1, 10, 10], vec![0; 6], ["a"]).unwrap().channel_stats().unwrap();
    let scaled: Vec<f64> = bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect();
    let mean = scaled.iter().sum::<f64>() / 600.0;
    let variance = scaled.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 600.0;
    assert!((f64::from(stats.mean[0]) - mean).abs() < 1e-7);
    assert!((f64::from(stats.std[0]) - variance.sqrt()).abs() < 1e-7);
}

#[test]
fn statistics_fail_where_there_is_nothing_to_measure() {
    assert_eq!(
        message(numbered(0).channel_stats()),
        "channel_stats: the dataset is empty; pass one with at least one sample"
    );
    let data = Dataset::new(Striped { fails_at: Some(2) }, [1, 1, 2], ["a", "b"]).unwrap();
    assert_eq!(message(data.channel_stats()), "stripe 2: torn");
}

#[test]
fn images_beyond_memory_are_an_error() {
    let side = usize::MAX / 2 + 1;
    let data = Dataset::new(Striped { fails_at: None }, [1, 1, side], ["a", "b"]).unwrap();
    let needed = format!(
        "dataset: an image of [1, 1, {side}]: {side} bytes of memory are not to be had; free memory, or use smaller images or fewer"
    );
    assert_eq!(message(data.get(0)), needed);
    assert_eq!(
        message(data.channel_stats()),
        format!(
            "loader: a batch of 4 images of [1, 1, {side}] does not fit in memory; pass a smaller batch size or fewer \
             batches to prefetch"
        )
    );
}

/// A source of the user's own.
struct Striped {
    fails_at: Option<usize>,
}

impl Source for Striped {
    fn len(&self) -> usize {
        4
    }

    fn label(&self, index: usize) -> u32 {
        index as u32 % 2
    }

    fn read(&self, index: usize) -> Result<Image, Error> {
        if self.fails_at == Some(index) {
            return Err(Error::source(format!("stripe {index}"), "torn"));
        }
        Image::planar([1, 1, 2], &[index as u8, 255])
    }
}

#[test]
fn a_source_of_the_users_own_is_read() {
    let data = Dataset::new(Striped { fails_at: Some(3) }, [1, 1, 2], ["a", "b"]).unwrap();
    assert_eq!(data.get(2).unwrap().image, [2, 255]);
    assert_eq!(data.labels().collect::<Vec<_>>(), [0, 1, 0, 1]);
    assert_eq!(message(data.get(3)), "stripe 3: torn");
}

#[test]
fn a_source_that_breaks_its_word_is_named() {
    for (shape, channels) in [([1, 2, 2], 1), ([3, 1, 2], 3)] {
        let data = Dataset::new(Striped { fails_at: None }, shape, ["a", "b"]).unwrap();
        let needed = format!(
            "sample 1: the images are [1, 1, 2] (channels, height, width), {shape:?} is needed; let the source give what the \
             dataset was made with"
        );
        assert_eq!(message(data.get(1)), needed, "{channels}");
    }
}

#[test]
fn split_by_class_takes_its_part_of_each() {
    // 34, 33 and 33 samples of the three classes.
    let data = numbered(100);
    let (first, second) = data.split_by_class(0.8, 7).unwrap();
    let counts = |data: &Dataset| [0, 1, 2].map(|class| data.labels().filter(|&label| label == class).count());
    assert_eq!((counts(&first), counts(&second)), ([27, 26, 26], [7, 7, 7]));
    assert!(indices(&first).is_sorted());
    let mut all = [indices(&first), indices(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<u8>>());
    assert_eq!(indices(&data.split_by_class(0.8, 7).unwrap().0), indices(&first));
    assert_ne!(indices(&data.split_by_class(0.8, 8).unwrap().0), indices(&first));

    // Two samples of each: however small a fraction, either part gets one.
    let (first, second) = numbered(6).split_by_class(0.01, 0).unwrap();
    assert_eq!((counts(&first), counts(&second)), ([1; 3], [1; 3]));
    assert_eq!(numbered(6).split_by_class(0.0, 0).unwrap().0.len(), 0);
    assert_eq!(message(data.split_by_class(-0.1, 0)), "split: the fraction is -0.1; pass a number from 0 to 1");
}
