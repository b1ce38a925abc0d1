//! Whatever lies on an image is, after each transform that moves pixels, where the pixels are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use kiln_data::{Error, Image, LabeledBox, Mask, Target, Transforms};

/// Every transform that moves pixels, alone and one after the other.
fn every_transform() -> [Transforms; 9] {
    [
        Transforms::new().resize(31),
        Transforms::new().resize_to(23, 61),
        Transforms::new().center_crop(33),
        Transforms::new().random_crop(32, 5),
        Transforms::new().random_resized_crop(37),
        Transforms::new().random_resized_crop_in(20, (0.3, 0.9), (0.5, 2.0)),
        Transforms::new().horizontal_flip(1.0),
        Transforms::imagenet_eval(40).horizontal_flip(0.5),
        // A region, then a window that is larger than it, then a part of that.
        Transforms::new().random_resized_crop(24).center_crop(30).random_crop(26, 2).horizontal_flip(0.5),
    ]
}

/// Numbers without a pattern, from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

#[test]
fn boxes_and_masks_land_where_the_pixels_land() {
    let mut numbers = Numbers(7);
    let (mut kept, mut dropped) = (0, 0);
    for draw in 0..10_800 {
        let transforms = &every_transform()[draw % 9];
        let size @ [height, width] = [20 + numbers.below(40), 20 + numbers.below(40)];
        let (box_height, box_width) = (4 + numbers.below(height - 4), 4 + numbers.below(width - 4));
        let (top, left) = (numbers.below(height - box_height + 1), numbers.below(width - box_width + 1));
        let inside = |row: usize, column: usize| {
            (top..top + box_height).contains(&row) && (left..left + box_width).contains(&column)
        };
        let drawn: Vec<bool> = (0..height * width).map(|at| inside(at / width, at % width)).collect();
        let white = |&inside: &bool| if inside { 255 } else { 0 };
        let mut image = Image::planar([1, height, width], &drawn.iter().map(white).collect::<Vec<u8>>()).unwrap();
        let mut mask = Mask::new(size, drawn.iter().map(|&inside| u8::from(inside)).collect()).unwrap();
        let edges = [left, top, left + box_width, top + box_height].map(|edge| edge as f32);
        let mut boxes = vec![LabeledBox::new(3, edges)];

        let geometry = transforms.draw(size, draw as u64).unwrap();
        image.moved(&geometry).unwrap();
        mask.moved(&geometry).unwrap();
        boxes.moved(&geometry).unwrap();

        let [out_height, out_width] = geometry.output();
        assert_eq!((image.shape(), mask.size()), ([1, out_height, out_width], geometry.output()));
        let pixels = image.planes();
        let is_drawn = |at: usize| mask.classes()[at] == 1;
        match boxes.as_slice() {
            [] => {
                dropped += 1;
                // A tenth of its pixels is left at most, but for its edges.
                let shown = |at: usize| geometry.source([at / out_width, at % out_width]).filter(|_| is_drawn(at));
                let seen: BTreeSet<[usize; 2]> = (0..pixels.len()).filter_map(shown).collect();
                let most = box_height * box_width / 10 + box_height + box_width;
                assert!(seen.len() <= most, "draw {draw}: {} pixels of a dropped box", seen.len());
            }
            [labeled] => {
                kept += 1;
                assert_eq!(labeled.class, 3);
                let [left, top, right, bottom] = labeled.edges().map(f64::from);
                assert!(0.0 <= left && left < right && right <= out_width as f64, "draw {draw}: {labeled:?}");
                assert!(0.0 <= top && top < bottom && bottom <= out_height as f64, "draw {draw}: {labeled:?}");
                // A filter blurs an edge over a pixel on either side, of the image before or after, whichever is larger.
                let scale = (box_width as f64 / (right - left)).min(box_height as f64 / (bottom - top));
                let blur = 1.0 + 1.0 / scale.min(1.0);
                for (at, &pixel) in pixels.iter().enumerate() {
                    let (y, x) = ((at / out_width) as f64 + 0.5, (at % out_width) as f64 + 0.5);
                    // How far within the box, or negative: outside of it.
                    let depth = (x - left).min(right - x).min(y - top).min(bottom - y);
                    if depth > blur {
                        assert!(pixel > 127 && is_drawn(at), "draw {draw}: {at} is inside {labeled:?}: {pixel}");
                    } else if depth < -blur {
                        assert!(pixel < 128 && !is_drawn(at), "draw {draw}: {at} is outside of {labeled:?}: {pixel}");
                    }
                }
            }
            more => panic!("draw {draw}: {more:?}"),
        }
    }
    assert!(kept > 8_000 && dropped > 100, "{kept} kept, {dropped} dropped");
}

#[test]
fn without_a_filter_masks_are_the_image_to_the_pixel() {
    let mut numbers = Numbers(11);
    let transforms = Transforms::new().random_crop(17, 6).horizontal_flip(0.5);
    for draw in 0..300 {
        let [height, width] = [9 + numbers.below(20), 9 + numbers.below(20)];
        // From 1 to 200, so that what a crop adds is told apart.
        let classes: Vec<u8> = (0..height * width).map(|_| 1 + numbers.below(200) as u8).collect();
        let mut image = Image::planar([1, height, width], &classes).unwrap();
        let mut mask = Mask::new([height, width], classes).unwrap();
        let geometry = transforms.draw([height, width], draw).unwrap();
        image.moved(&geometry).unwrap();
        mask.moved(&geometry).unwrap();
        let needed: Vec<u8> =
            image.planes().into_iter().map(|pixel| if pixel == 0 { Mask::IGNORED } else { pixel }).collect();
        assert_eq!(mask.classes(), needed, "draw {draw}");
    }
}

#[test]
fn a_paired_image_moves_as_its_image() {
    let pixels: Vec<u8> = (0..3 * 20 * 30).map(|at| (at * 7 % 251) as u8).collect();
    for (draw, transforms) in every_transform().iter().enumerate() {
        // Each channel alone is a paired image of one channel.
        let geometry = transforms.draw([20, 30], draw as u64).unwrap();
        let mut whole = Image::planar([3, 20, 30], &pixels).unwrap();
        whole.moved(&geometry).unwrap();
        let mut second = Image::planar([1, 20, 30], &pixels[600..1200]).unwrap();
        second.moved(&geometry).unwrap();
        let plane = second.planes().len();
        assert_eq!(whole.planes()[plane..2 * plane], second.planes(), "{transforms:?}");
    }
}

#[test]
fn a_target_of_another_size_is_refused() {
    let geometry = Transforms::new().center_crop(4).draw([8, 10], 0).unwrap();
    let mut mask = Mask::new([10, 8], vec![0; 80]).unwrap();
    assert_eq!(
        mask.moved(&geometry).unwrap_err().to_string(),
        "target: a mask of 10x8 pixels for an image of 8x10; it needs the image's size"
    );
    let mut paired = Image::planar([1, 8, 9], &[0; 72]).unwrap();
    assert_eq!(
        paired.moved(&geometry).unwrap_err().to_string(),
        "target: a paired image of 8x9 pixels for an image of 8x10; it needs the image's size"
    );
    assert!(matches!(Mask::new([2, 2], vec![0; 3]), Err(Error::Target { .. })));
    let mut class = 7u32;
    class.moved(&geometry).unwrap();
    assert_eq!(class, 7);
}
