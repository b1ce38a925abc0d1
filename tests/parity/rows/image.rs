//! Bytes of images to what a network takes.

use kiln_tensor::ops::image::{ADJUST_LEN, ImageMix};
use kiln_tensor::{DType, Tensor};

use super::binary::zeros;
use crate::reference::Array;
use crate::row::{Case, Domain, Gradient, Input, Layout, Row, Wrong, Wrongs, input, wrong};
use crate::run::devices;
use crate::tolerance::{Class, Expected};

use DType::{F32, U8};
use Layout::{Contiguous, Offset, Tail, Transposed};

const BYTES: Gradient = Gradient::None("of bytes, before the first weight");

pub fn rows() -> Vec<Row> {
    vec![normalize_image(), augment_image()]
}

const MEAN: [f32; 5] = [0.485, 0.456, 0.406, 0.0, 0.9];
const STD: [f32; 5] = [0.229, 0.224, 0.225, 1.0, 0.1];

/// Shapes of images; where a plane has no multiple of four pixels, words span planes.
fn shapes() -> Vec<(Vec<usize>, Layout)> {
    vec![
        (vec![1, 1, 1, 1], Contiguous),
        (vec![2, 3, 8, 8], Contiguous),
        (vec![3, 3, 5, 7], Contiguous),
        (vec![2, 5, 1, 3], Contiguous),
        (vec![1, 3, 7, 9], Contiguous),
        (vec![1, 1, 8, 8], Contiguous),
        (vec![1, 1, 5, 13], Contiguous),
        (vec![3, 3, 4, 5], Offset),
        (vec![3, 3, 4, 5], Transposed),
        (vec![2, 3, 3, 3], Tail),
        (vec![2, 3, 0, 4], Contiguous),
        (vec![0, 3, 4, 4], Contiguous),
    ]
}

fn bytes(shape: &[usize], layout: Layout) -> Input {
    input(shape, Domain::Whole(0, 255)).layout(layout).dtype(U8)
}

/// `mean` and `std` of a channel.
fn factors(channel: usize) -> (f64, f64) {
    (f64::from(MEAN[channel]), f64::from(STD[channel]))
}

fn normalize_image() -> Row {
    let case = |shape: &[usize], layout: Layout| {
        let channels = shape[1];
        Case::new(
            format!("{shape:?} {layout:?}"),
            vec![bytes(shape, layout)],
            move |x| x[0].normalize_image(&MEAN[..channels], &STD[..channels]),
            move |x| {
                let plane: usize = x[0].shape[2..].iter().product();
                let each = |of: &dyn Fn(f64, f64, f64) -> f64| {
                    let channel = |at: usize| factors(at / plane % channels);
                    let values =
                        x[0].data.iter().enumerate().map(|(at, &x)| of(x / 255.0, channel(at).0, channel(at).1));
                    Array::new(&x[0].shape, values.collect())
                };
                Expected::joined(each(&|x, mean, std| (x - mean) / std), each(&|x, mean, std| (x + mean) / std), 2)
            },
        )
    };
    let mut cases: Vec<Case> = shapes().iter().map(|(shape, layout)| case(shape, *layout)).collect();
    // Too large for the tight device along the batch, and a single image along its channels.
    cases.push(case(&[5, 3, 16, 32], Contiguous).tight());
    cases.push(case(&[1, 5, 16, 32], Contiguous).tight());
    let wrong = Wrongs::Calls(vec![
        wrong("normalize_image: the images have shape [3, 4, 4]; needs [batch, channels, height, width]", |d| {
            zeros(d, &[3, 4, 4], U8)?.normalize_image(&[0.0; 3], &[1.0; 3])
        }),
        wrong("normalize_image: the tensor is f32; needs u8: convert it by to_dtype", |d| {
            zeros(d, &[1, 1, 4, 4], F32)?.normalize_image(&[0.0], &[1.0])
        }),
        wrong(
            "normalize_image: mean [0.0] and std [1.0] for 3 channels; needs one of each for every channel, finite, std above 0",
            |d| zeros(d, &[1, 3, 4, 4], U8)?.normalize_image(&[0.0], &[1.0]),
        ),
        wrong(
            "normalize_image: mean [0.5] and std [0.0] for 1 channels; needs one of each for every channel, finite, std above 0",
            |d| zeros(d, &[1, 1, 4, 4], U8)?.normalize_image(&[0.5], &[0.0]),
        ),
        wrong(
            "normalize_image: a plane of [1, 1, 33, 32] takes more than this adapter can bind at once (4096 bytes); make it smaller",
            |_| zeros(&devices().tight, &[1, 1, 33, 32], U8)?.normalize_image(&[0.5], &[1.0]),
        ),
    ]);
    Row { name: "normalize_image", class: Class::Sum, gradient: BYTES, cases, wrong }
}

/// A pixel of `seen`, erased; and the size of what it was made from, for the bound.
fn seen(x: &Array, adjust: &[f64], image: usize, channel: usize, [row, column]: [usize; 2]) -> (f64, f64) {
    let [_, channels, height, width] = x.shape[..] else { panic!("{:?}", x.shape) };
    let [top, left, bottom, right] = [16, 17, 18, 19].map(|k| adjust[k] as usize);
    if (top..bottom).contains(&row) && (left..right).contains(&column) {
        return (0.0, 0.0);
    }
    let pixel = |channel: usize| x.data[((image * channels + channel) * height + row) * width + column] / 255.0;
    let (mean, std) = factors(channel);
    let (mut value, mut size) = (pixel(channel), pixel(channel));
    if channels == 3 {
        let weights = &adjust[4 * channel..4 * channel + 4];
        let terms = [0, 1, 2].map(|k| weights[k] * pixel(k));
        value = (terms.iter().sum::<f64>() + weights[3]).clamp(0.0, 1.0) + adjust[12 + channel];
        size = terms.iter().map(|term| term.abs()).sum::<f64>() + weights[3].abs() + adjust[12 + channel].abs();
    }
    ((value - mean) / std, (size + mean) / std)
}

fn augment_image() -> Row {
    let case = |shape: &[usize], layout: Layout, table: Layout, mix: ImageMix| {
        let channels = shape[1];
        // Rectangles are whole numbers, colours are not.
        let adjust: Vec<f64> = (0..shape[0])
            .flat_map(|image| (0..ADJUST_LEN).map(move |k| (image, k)))
            .map(|(image, k)| match k {
                16..18 => (image % 3) as f64,
                18..20 => (image % 3 + image + k - 17) as f64,
                0 | 5 | 10 => 0.9,
                _ => f64::from(((image * 7 + k * 5) % 11) as f32 / 20.0 - 0.25),
            })
            .collect();
        let adjust = Array::new(&[shape[0], ADJUST_LEN], adjust);
        Case::new(
            format!("{shape:?} {layout:?} {mix:?}"),
            vec![bytes(shape, layout), Input::given(&adjust).layout(table)],
            move |x| x[0].augment_image(&x[1], &mix, &MEAN[..channels], &STD[..channels]),
            move |x| {
                let [n, c, h, w] = x[0].shape[..] else { panic!("{:?}", x[0].shape) };
                let (mut values, mut sizes) = (Vec::new(), Vec::new());
                for at in 0..n * c * h * w {
                    let (place, image) = ([at / w % h, at % w], at / (c * h * w));
                    let one = |image: usize| {
                        let adjust = &x[1].data[image * ADJUST_LEN..(image + 1) * ADJUST_LEN];
                        seen(&x[0], adjust, image, at / (h * w) % c, place)
                    };
                    let [top, left, bottom, right] = mix.region.map(|edge| edge as usize);
                    let other = (top..bottom).contains(&place[0]) && (left..right).contains(&place[1]);
                    let own = if other { 0.0 } else { f64::from(mix.own) };
                    let (mine, before) = (one(image), one((image + n - 1) % n));
                    values.push(own * mine.0 + (1.0 - own) * before.0);
                    sizes.push(own * mine.1 + (1.0 - own) * before.1);
                }
                Expected::joined(Array::new(&x[0].shape, values), Array::new(&x[0].shape, sizes), 4)
            },
        )
    };
    let blend = ImageMix { own: 0.3, region: [0; 4] };
    let paste = ImageMix { own: 1.0, region: [1, 0, 3, 2] };
    let mut cases = Vec::new();
    for (shape, layout) in shapes() {
        let mix = [ImageMix::NONE, blend, paste][cases.len() % 3];
        let table = [Contiguous, Offset, Tail][cases.len() % 3];
        cases.push(case(&shape, layout, table, mix));
    }
    cases.push(case(&[4, 3, 9, 10], Contiguous, Contiguous, blend));
    cases.push(case(&[4, 2, 9, 10], Contiguous, Transposed, ImageMix { own: 0.6, region: [2, 3, 9, 9] }));
    // The bytes fit the tight device, the result does not.
    cases.push(case(&[6, 3, 12, 16], Contiguous, Contiguous, blend).tight());
    let wrong = Wrongs::Calls(vec![
        augment_wrong("augment_image: adjust has shape [2, 20]; 1 images need [1, 20]", &[2, 20], 1.0),
        augment_wrong("augment_image: own 1.5; needs a share from 0 to 1", &[1, 20], 1.5),
        augment_wrong("augment_image: own NaN; needs a share from 0 to 1", &[1, 20], f32::NAN),
        wrong("augment_image: adjust is u8; needs f32: convert it by to_dtype", |d| {
            let x = zeros(d, &[1, 1, 4, 4], U8)?;
            x.augment_image(&zeros(d, &[1, 20], U8)?, &ImageMix::NONE, &[0.0], &[1.0])
        }),
        wrong(
            "augment_image: an image of [2, 1, 33, 32] takes more than this adapter can bind at once (4096 bytes); make it smaller",
            |_| on_tight(&[2, 1, 33, 32]),
        ),
        wrong(
            "augment_image: a batch of [5, 1, 32, 32] takes more than this adapter can bind at once (4096 bytes); make it smaller",
            |_| on_tight(&[5, 1, 32, 32]),
        ),
    ]);
    Row { name: "augment_image", class: Class::Dot, gradient: BYTES, cases, wrong }
}

fn augment_wrong(message: &'static str, adjust: &'static [usize], own: f32) -> Wrong {
    wrong(message, move |d| {
        let mix = ImageMix { own, region: [0; 4] };
        zeros(d, &[1, 1, 4, 4], U8)?.augment_image(&zeros(d, adjust, F32)?, &mix, &[0.0], &[1.0])
    })
}

fn on_tight(shape: &[usize]) -> kiln_tensor::Result<Tensor> {
    let device = &devices().tight;
    let adjust = zeros(device, &[shape[0], ADJUST_LEN], F32)?;
    zeros(device, shape, U8)?.augment_image(&adjust, &ImageMix::NONE, &[0.0], &[1.0])
}
