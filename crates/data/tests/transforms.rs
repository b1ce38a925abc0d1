//! Transforms: what they do to pixels, what they refuse, and that nothing but seed, epoch and sample decides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use kiln_data::{Adjust, Batch, ColorJitter, Dataset, Error, Image, Mix, Source, Transforms};

/// 8x10 RGB images; the red of a pixel is its place, the green its row, the blue the sample.
fn places(n: usize) -> Dataset {
    let plane = |i: usize, channel: usize| {
        (0..80).map(move |at| match channel {
            0 => at as u8,
            1 => (at / 10) as u8,
            _ => i as u8,
        })
    };
    let pixels = (0..n).flat_map(|i| (0..3).flat_map(move |channel| plane(i, channel))).collect();
    Dataset::from_memory(pixels, [n, 3, 8, 10], vec![0; n], ["a", "b"]).unwrap()
}

fn red(data: &Dataset) -> Vec<u8> {
    let [_, height, width] = data.shape();
    data.get(0).unwrap().image[..height * width].to_vec()
}

#[test]
fn crops_take_what_they_say() {
    let center = places(1).transforms(Transforms::new().center_crop(4)).unwrap();
    assert_eq!(center.shape(), [3, 4, 4]);
    // torchvision: top int(round((8 - 4) / 2)) = 2, left 3.
    assert_eq!(red(&center), [23, 24, 25, 26, 33, 34, 35, 36, 43, 44, 45, 46, 53, 54, 55, 56]);

    let wider = places(1).transforms(Transforms::new().center_crop(12)).unwrap();
    let pixels = red(&wider);
    assert_eq!((pixels[2 * 12 + 1], pixels[2 * 12 + 2], pixels[9 * 12 + 10]), (0, 1, 79));
    assert_eq!(pixels.iter().filter(|&&pixel| pixel == 0).count(), 144 - 79);
}

#[test]
fn random_crops_reach_every_place_and_no_other() {
    let data = places(1).transforms(Transforms::new().random_crop(8, 2)).unwrap();
    let mut seen = BTreeSet::new();
    for batch in data.loader(1).shuffle(5).epochs(600) {
        let pixels = batch.unwrap().images;
        // The middle pixel is always within the image: its red is its place.
        seen.insert((pixels[4 * 8 + 4] / 10, pixels[4 * 8 + 4] % 10));
    }
    // Of 12x14 padded pixels, 5 rows and 7 columns.
    let needed: BTreeSet<_> = (2..7).flat_map(|row| (2..9).map(move |column| (row, column))).collect();
    assert_eq!(seen, needed);
}

#[test]
fn flips_happen_as_often_as_they_should() {
    let flipped = |p| {
        let data = places(400).transforms(Transforms::new().horizontal_flip(p)).unwrap();
        data.loader(400).epoch(0).next().unwrap().unwrap().images.chunks(240).filter(|image| image[0] == 9).count()
    };
    assert_eq!((flipped(0.0), flipped(1.0)), (0, 400));
    assert!((150..250).contains(&flipped(0.5)), "{}", flipped(0.5));
    let data = places(1).transforms(Transforms::new().horizontal_flip(1.0)).unwrap();
    assert_eq!(red(&data)[..12], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 19, 18]);
}

#[test]
fn resizing_is_pillows() {
    // 4x3 grey pixels; what `PIL.Image.resize((w, h), Image.BILINEAR)` gives for them.
    let pixels = vec![10, 200, 30, 90, 0, 255, 128, 7, 60, 61, 250, 5];
    let data = Dataset::from_memory(pixels, [1, 1, 3, 4], vec![0], ["a", "b"]).unwrap();
    for (height, width, needed) in [(2, 2, &RESIZED_2X2[..]), (5, 6, &RESIZED_5X6[..])] {
        let given = red(&data.transforms(Transforms::new().resize_to(height, width)).unwrap());
        // Both work in fixed point, with other numbers of bits.
        assert!(given.iter().zip(needed).all(|(a, b)| a.abs_diff(*b) <= 1), "{given:?} is not {needed:?}");
    }
}

const RESIZED_2X2: [u8; 4] = [107, 85, 103, 109];
const RESIZED_5X6: [u8; 30] = [
    10, 105, 172, 58, 60, 90, 6, 114, 197, 94, 63, 57, 0, 128, 234, 149, 68, 7, 36, 88, 149, 190, 104, 6, 60, 61, 93,
    218, 128, 5,
];

#[test]
fn sizes_follow_the_steps() {
    let shape = |transforms| places(1).transforms(transforms).unwrap().shape();
    assert_eq!(shape(Transforms::new().resize(16)), [3, 16, 20]);
    assert_eq!(shape(Transforms::new().resize_to(5, 7)), [3, 5, 7]);
    assert_eq!(shape(Transforms::new().resize(16).random_crop(12, 0)), [3, 12, 12]);
    assert_eq!(shape(Transforms::imagenet_train(7)), [3, 7, 7]);
    assert_eq!(shape(Transforms::imagenet_eval(224)), [3, 224, 224]);
    assert_eq!(shape(Transforms::cifar_train(8)), [3, 8, 8]);
    // Others take the place of those that were there.
    let small = places(1).transforms(Transforms::new().center_crop(2)).unwrap();
    assert_eq!(small.transforms(Transforms::new()).unwrap().shape(), [3, 8, 10]);
}

#[test]
fn random_resized_crops_cover_their_part() {
    let transforms = Transforms::new().random_resized_crop_in(6, (0.1, 0.4), (0.75, 1.25));
    let data = places(300).transforms(transforms).unwrap();
    let batch = data.loader(300).epoch(0).next().unwrap().unwrap();
    let mut corners = BTreeSet::new();
    for image in batch.images.chunks(108) {
        // The rows that an image covers, from its green: at most 0.4 of 80 pixels at a ratio of 0.75.
        let rows = image[71] - image[36];
        assert!(rows <= 6, "{rows}");
        corners.insert(image[0]);
    }
    assert!(corners.len() > 20, "{corners:?}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refused = |transforms| places(1).transforms(transforms).unwrap_err().to_string();
    assert_eq!(
        refused(Transforms::new().horizontal_flip(1.5)),
        "transforms: horizontal_flip with probability 1.5; pass a number from 0 to 1"
    );
    assert_eq!(
        refused(Transforms::new().random_erasing(-0.1)),
        "transforms: random_erasing with probability -0.1; pass a number from 0 to 1"
    );
    assert_eq!(
        refused(Transforms::new().lighting(-1.0)),
        "transforms: lighting with a standard deviation of -1; pass a number of at least 0"
    );
    assert_eq!(
        refused(Transforms::new().color_jitter(ColorJitter { hue: 0.6, ..ColorJitter::default() })),
        "transforms: ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.6 }; pass numbers of at least 0, for \
         the hue at most 0.5"
    );
    for (transforms, step) in [
        (Transforms::new().resize(0), "Resize(0)"),
        (Transforms::new().center_crop(4_097), "CenterCrop(4097)"),
        (Transforms::new().resize_to(5, 0), "ResizeTo(5, 0)"),
        (Transforms::new().random_crop(0, 4), "RandomCrop { size: 0, padding: 4 }"),
        (
            Transforms::new().random_resized_crop_in(5, (0.5, 1.5), (0.75, 1.25)),
            "RandomResizedCrop { size: 5, scale: (0.5, 1.5), ratio: (0.75, 1.25) }",
        ),
        (
            Transforms::new().random_resized_crop_in(5, (0.5, 1.0), (1.25, 0.75)),
            "RandomResizedCrop { size: 5, scale: (0.5, 1.0), ratio: (1.25, 0.75) }",
        ),
    ] {
        assert_eq!(
            refused(transforms),
            format!(
                "transforms: {step} cannot be done; pass sides from 1 to 4096 pixels, and ranges above 0 with the smaller number \
                 first, of the area at most 1"
            )
        );
    }
    let grey = Dataset::from_memory(vec![0; 4], [1, 1, 2, 2], vec![0], ["a", "b"]).unwrap();
    assert_eq!(
        grey.transforms(Transforms::new().lighting(0.1)).unwrap_err().to_string(),
        "transforms: color_jitter and lighting of 1 channels; use them on RGB images alone"
    );
    assert_eq!(
        Dataset::of_any_size(Growing, 1, Transforms::new().resize(4), ["a"]).unwrap_err().to_string(),
        "transforms: images of different sizes keep them; end with a crop or with resize_to"
    );
    let data = Dataset::of_any_size(Growing, 1, Transforms::new().resize(100).center_crop(8), ["a"]).unwrap();
    assert_eq!(
        data.get(59).unwrap_err().to_string(),
        "sample 59: 1x60 pixels become 100x6000 where the shorter side is 100, at most 4096 a side are made; crop the image, or \
         use resize_to"
    );
    assert_eq!(data.get(7).unwrap().image, [255; 64]);
}

/// White images, each a column wider than the one before.
struct Growing;

impl Source for Growing {
    fn len(&self) -> usize {
        60
    }

    fn label(&self, _: usize) -> u32 {
        0
    }

    fn read(&self, index: usize) -> Result<Image, Error> {
        Image::planar([1, 1, index + 1], &vec![255; index + 1])
    }
}

/// Everything random at once.
fn augmented() -> Dataset {
    let jitter = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    let transforms = Transforms::new().random_resized_crop(8).random_crop(8, 1).horizontal_flip(0.5);
    places(50).transforms(transforms.color_jitter(jitter).lighting(0.1).random_erasing(0.5)).unwrap()
}

#[test]
fn threads_change_nothing() {
    let loader = augmented().loader(7).shuffle(42).mixup(0.2).cutmix(1.0);
    let batches = |workers| loader.clone().workers(workers).epochs(2).collect::<Result<Vec<Batch>, _>>().unwrap();
    let expected = batches(0);
    for workers in [1, 2, 4] {
        assert_eq!(batches(workers), expected, "{workers} workers");
    }
}

#[test]
fn seed_epoch_and_sample_decide() {
    let data = augmented();
    let batch = |seed: Option<u64>, epoch| {
        let loader = data.loader(50);
        let loader = seed.map_or(loader.clone(), |seed| loader.shuffle(seed));
        loader.epoch(epoch).next().unwrap().unwrap()
    };
    assert_eq!(batch(None, 0), batch(None, 0));
    assert_ne!(batch(None, 0).images, batch(None, 1).images);
    assert_ne!(batch(Some(0), 0).images, batch(Some(1), 0).images);
    // A sample's own changes do not depend on its place in the order.
    let ordered = batch(None, 3);
    let shuffled = batch(Some(0), 3);
    let blue = |image: &[u8]| image[128..192].iter().copied().max().unwrap();
    for (place, image) in shuffled.images.chunks(192).enumerate() {
        let sample = usize::from(blue(image));
        assert_eq!(*image, ordered.images[sample * 192..(sample + 1) * 192]);
        assert_eq!(shuffled.adjust[place], ordered.adjust[sample]);
    }
    // And each sample has its own.
    let erased: BTreeSet<_> = ordered.adjust.iter().map(|adjust| adjust.erase).collect();
    assert!(erased.len() > 15, "{erased:?}");
}

#[test]
fn only_what_is_asked_for_is_left_to_the_gpu() {
    assert!(places(3).loader(3).epoch(0).next().unwrap().unwrap().adjust.is_empty());
    let lit = places(3).transforms(Transforms::new().lighting(0.1)).unwrap();
    let adjust = lit.loader(3).epoch(0).next().unwrap().unwrap().adjust;
    assert_eq!(adjust.len(), 3);
    for adjust in adjust {
        assert_eq!((adjust.color, adjust.erase), (Adjust::NONE.color, [0; 4]));
        assert_ne!(adjust.lighting, [0.0; 3]);
    }
    let erasing = places(200).transforms(Transforms::new().random_erasing(0.5)).unwrap();
    let adjust = erasing.loader(200).epoch(0).next().unwrap().unwrap().adjust;
    let erased = adjust.iter().filter(|adjust| adjust.erase != [0; 4]);
    let area = |[top, left, bottom, right]: [u32; 4]| {
        assert!(top < bottom && bottom <= 8 && left < right && right <= 10);
        (bottom - top) * (right - left)
    };
    // Rounding to whole pixels widens 2 to 33 % a little.
    assert!(erased.clone().all(|adjust| (1..=30).contains(&area(adjust.erase))));
    assert!((70..130).contains(&erased.count()));
}

#[test]
fn mixes_belong_to_a_batch() {
    let mixes = |loader: kiln_data::Loader| -> Vec<Option<Mix>> {
        loader.shuffle(1).epochs(3).map(|batch| batch.unwrap().mix).collect()
    };
    assert!(mixes(places(20).loader(4)).iter().all(Option::is_none));
    let blends = mixes(places(20).loader(4).mixup(1.0));
    let shares: BTreeSet<u32> = blends.iter().map(|mix| mix.unwrap().own().to_bits()).collect();
    assert_eq!((blends.len(), shares.len()), (15, 15));
    assert!(mixes(places(20).loader(4).cutmix(1.0)).iter().all(|mix| matches!(mix, Some(Mix::Paste { .. }))));
}
