//! Ten classes of drawn shapes as a folder of class folders, for runs without photos: the same pixels for the same seed.

use std::f32::consts::TAU;
use std::path::Path;

use image::{Rgb, RgbImage};

pub(crate) const CLASSES: [&str; 10] =
    ["disc", "square", "triangle", "cross", "ring", "columns", "rows", "checks", "star", "dots"];
const SIDE: u32 = 32;

/// Numbers that look random, from 0 to below 1 (SplitMix64, Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }

    fn within(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.next()
    }

    fn color(&mut self) -> [f32; 3] {
        [0; 3].map(|_| self.within(0.0, 255.0))
    }
}

/// Writes `count` pictures of each of these classes to `folder/CLASS/NUMBER.png`, the first with the number `first`.
pub(crate) fn write(folder: &Path, classes: &[&str], first: usize, count: usize) -> image::ImageResult<()> {
    for class in classes {
        std::fs::create_dir_all(folder.join(class))?;
        for number in first..first + count {
            picture(class, number as u64).save(folder.join(class).join(format!("{number:04}.png")))?;
        }
    }
    Ok(())
}

/// A shape of any place, size and turn in a colour on another, with noise.
fn picture(class: &str, number: u64) -> RgbImage {
    let kind = CLASSES.iter().position(|name| *name == class).unwrap_or(0);
    let mut random = Numbers(number * CLASSES.len() as u64 + kind as u64);
    let (shape, ground) = (random.color(), random.color());
    let (x0, y0) = (random.within(12.0, 20.0), random.within(12.0, 20.0));
    let (size, turn) = (random.within(7.0, 12.0), random.within(-0.3, 0.3));
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (dx, dy) = ((x as f32 - x0) / size, (y as f32 - y0) / size);
        let (u, v) = (dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin());
        let inside = covers(kind, u, v);
        let noise = random.within(-25.0, 25.0);
        Rgb(std::array::from_fn(|c| (if inside { shape[c] } else { ground[c] } + noise).clamp(0.0, 255.0) as u8))
    })
}

/// Whether the shape, about as large as the unit circle, covers a point.
fn covers(kind: usize, u: f32, v: f32) -> bool {
    let (r, within) = (u.hypot(v), u.abs().max(v.abs()) < 1.0);
    let stripe = |t: f32| (2.5 * t).rem_euclid(2.0) < 1.0;
    match kind {
        0 => r < 1.0,
        1 => within,
        2 => v < 0.8 && v > 2.0 * u.abs() - 1.0,
        3 => within && (u.abs() < 0.3 || v.abs() < 0.3),
        4 => r < 1.0 && r > 0.6,
        5 => within && stripe(u),
        6 => within && stripe(v),
        7 => within && stripe(u) != stripe(v),
        8 => r < 0.45 + 0.55 * (5.0 * v.atan2(u) + TAU / 4.0).sin().max(0.0),
        _ => within && (2.5 * u).rem_euclid(1.0).hypot((2.5 * v).rem_euclid(1.0)) < 0.6,
    }
}
