//! Changes of colour as numbers: drawn on the loader's threads, applied by a GPU.

use crate::error::{Error, Result};
use crate::image::Image;
use crate::random::SplitMix64;

/// What a GPU does to an image while it is converted and normalised. With R, G and B from 0 to 1 (`byte / 255`):
///
/// ```text
/// color    [R' G' B'] = clamp(color * [R G B 1], 0, 1)
/// lighting [R" G" B"] = [R' G' B'] + lighting
/// normal   (x - mean) / std
/// erase    0 within the rectangle
/// ```
///
/// Images of another number of channels than three are only normalised and erased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjust {
    /// A row for each of R', G' and B': the weights of R, G and B, and what is added.
    pub color: [[f32; 4]; 3],
    /// What is added to each channel; not clamped.
    pub lighting: [f32; 3],
    /// The rectangle [top, left, bottom, right]; bottom and right are excluded, so that zeros erase nothing.
    pub erase: [u32; 4],
}

impl Adjust {
    /// Changes nothing.
    pub const NONE: Adjust = Adjust {
        color: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
        lighting: [0.0; 3],
        erase: [0; 4],
    };
}

/// Random changes of brightness, contrast, saturation and hue, in random order, with torchvision's numbers: factors are drawn evenly
/// from `1 - x` (at least 0) to `1 + x`, the hue's shift from `-x` to `x` of a whole turn.
///
/// Each change is linear in R, G and B, so the four are one matrix. Two things differ from torchvision, which goes pixel by pixel
/// through the steps: colours are cut to 0..1 once, at the end, and the hue turns around the grey axis (the `hueRotate` of the W3C's
/// Filter Effects) rather than in HSV.
///
/// ```
/// use kiln_data::{ColorJitter, Transforms};
/// let jitter = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
/// let train = Transforms::imagenet_train(224).color_jitter(jitter).lighting(0.1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColorJitter {
    /// Times a factor.
    pub brightness: f64,
    /// Away from, or towards, the mean brightness of the image.
    pub contrast: f64,
    /// Away from, or towards, the pixel's own grey.
    pub saturation: f64,
    /// Around the grey axis; at most 0.5.
    pub hue: f64,
}

/// The brightness of R, G and B: ITU-R 601, as torchvision and Pillow have it.
const GREY: [f64; 3] = [0.299, 0.587, 0.114];

/// `R' = color * [R G B 1]`
type Matrix = [[f64; 4]; 3];

/// `scale * p + weights . p + added`, the same weights for each channel.
fn towards_grey(scale: f64, weights: [f64; 3], added: f64) -> Matrix {
    std::array::from_fn(|row| {
        let mut columns = [weights[0], weights[1], weights[2], added];
        columns[row] += scale;
        columns
    })
}

/// A turn of `turns` around the grey axis that keeps the brightness of BT.709.
/// <https://www.w3.org/TR/filter-effects-1/#feColorMatrixElement> has the three matrices.
fn hue(turns: f64) -> Matrix {
    const LUMA: [f64; 3] = [0.213, 0.715, 0.072];
    const SINE: [[f64; 3]; 3] = [[-0.213, -0.715, 0.928], [0.143, 0.140, -0.283], [-0.787, 0.715, 0.072]];
    let (sine, cosine) = (turns * std::f64::consts::TAU).sin_cos();
    std::array::from_fn(|row| {
        let turned = |column: usize| {
            let own = if row == column { 1.0 } else { 0.0 };
            LUMA[column] + cosine * (own - LUMA[column]) + sine * SINE[row][column]
        };
        [turned(0), turned(1), turned(2), 0.0]
    })
}

/// `second(first(p))`
fn then(first: &Matrix, second: &Matrix) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let through: f64 = (0..3).map(|k| second[row][k] * first[k][column]).sum();
            through + if column == 3 { second[row][3] } else { 0.0 }
        })
    })
}

impl ColorJitter {
    pub(crate) fn check(&self) -> Result<()> {
        let ColorJitter { brightness, contrast, saturation, hue } = *self;
        let usable = |value: f64| value >= 0.0 && value.is_finite();
        if [brightness, contrast, saturation, hue].into_iter().all(usable) && hue <= 0.5 {
            return Ok(());
        }
        Err(Error::Transforms { message: format!("{self:?}; pass numbers of at least 0, for the hue at most 0.5") })
    }

    /// Draws the four changes and joins them.
    pub(crate) fn draw(&self, image: &Image, random: &mut SplitMix64) -> [[f32; 4]; 3] {
        // The mean of a linear function is the function of the mean, so that contrast needs no second pass over the pixels.
        let means = if self.contrast > 0.0 { image.means() } else { vec![0.0; 3] };
        let mut matrix = towards_grey(1.0, [0.0; 3], 0.0);
        let mut order = [0, 1, 2, 3];
        random.shuffle(&mut order);
        for change in order {
            let mut factor = |spread: f64| random.within((1.0 - spread).max(0.0), 1.0 + spread);
            let next = match change {
                0 => towards_grey(factor(self.brightness), [0.0; 3], 0.0),
                1 => {
                    let factor = factor(self.contrast);
                    let mean = |row: usize| {
                        let colors: f64 = (0..3).map(|k| matrix[row][k] * means[k] / 255.0).sum();
                        GREY[row] * (colors + matrix[row][3])
                    };
                    towards_grey(factor, [0.0; 3], (1.0 - factor) * (0..3).map(mean).sum::<f64>())
                }
                2 => {
                    let factor = factor(self.saturation);
                    towards_grey(factor, GREY.map(|weight| (1.0 - factor) * weight), 0.0)
                }
                _ => hue(random.within(-self.hue, self.hue)),
            };
            matrix = then(&matrix, &next);
        }
        matrix.map(|row| row.map(|value| value as f32))
    }
}

/// AlexNet's shift of colour. The eigenvalues and eigenvectors (in columns) of the covariance of ImageNet's colours are those that
/// Torch's ResNet training published and others use since.
pub(crate) fn lighting(std: f64, random: &mut SplitMix64) -> [f32; 3] {
    const VALUES: [f64; 3] = [0.2175, 0.0188, 0.0045];
    const VECTORS: [[f64; 3]; 3] = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];
    let along = [0, 1, 2].map(|k| std * random.normal() * VALUES[k]);
    VECTORS.map(|row| (0..3).map(|k| row[k] * along[k]).sum::<f64>() as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn apply(matrix: &Matrix, [r, g, b]: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row[0] * r + row[1] * g + row[2] * b + row[3])
    }

    fn close(given: [f64; 3], needed: [f64; 3]) {
        assert!(given.iter().zip(needed).all(|(a, b)| (a - b).abs() < 1e-6), "{given:?} is not {needed:?}");
    }

    #[test]
    fn a_turn_of_hue_keeps_grey_and_comes_back() {
        for turns in [0.1, -0.3, 0.5] {
            close(apply(&hue(turns), [0.4; 3]), [0.4; 3]);
        }
        close(apply(&hue(0.0), [0.9, 0.2, 0.4]), [0.9, 0.2, 0.4]);
        let back = then(&hue(1.0 / 3.0), &then(&hue(1.0 / 3.0), &hue(1.0 / 3.0)));
        // The published constants have three digits.
        let given = apply(&back, [0.9, 0.2, 0.4]);
        assert!(given.iter().zip([0.9, 0.2, 0.4]).all(|(a, b)| (a - b).abs() < 2e-3), "{given:?}");
        let [r, g, b] = apply(&hue(1.0 / 3.0), [1.0, 0.0, 0.0]);
        assert!(g > r && g > b, "a third of a turn from red is green: {r} {g} {b}");
    }

    #[test]
    fn changes_follow_one_another() {
        let (half, added) = (towards_grey(0.5, [0.0; 3], 0.0), towards_grey(1.0, [0.0; 3], 0.2));
        close(apply(&then(&half, &added), [0.4, 0.6, 0.8]), [0.4, 0.5, 0.6]);
        close(apply(&then(&added, &half), [0.4, 0.6, 0.8]), [0.3, 0.4, 0.5]);
    }

    #[test]
    fn one_change_alone_is_torchvisions() {
        let image = Image::interleaved([3, 1, 2], vec![255, 0, 51, 51, 102, 153]).unwrap();
        let pixels = [[1.0, 0.0, 0.2], [0.2, 0.4, 0.6]];
        let grey = |p: [f64; 3]| (0..3).map(|k| GREY[k] * p[k]).sum::<f64>();
        let mean = (grey(pixels[0]) + grey(pixels[1])) / 2.0;
        for seed in 0..20 {
            let drawn = |jitter: ColorJitter| {
                let matrix = jitter.draw(&image, &mut SplitMix64::new(seed));
                pixels.map(|p| apply(&matrix.map(|row| row.map(f64::from)), p))
            };
            let bright = drawn(ColorJitter { brightness: 0.5, ..ColorJitter::default() });
            let factor = bright[0][0];
            assert!((0.5..=1.5).contains(&factor));
            close(bright[1], pixels[1].map(|v| factor * v));

            let contrast = drawn(ColorJitter { contrast: 0.5, ..ColorJitter::default() });
            let factor = (contrast[0][0] - mean) / (1.0 - mean);
            assert!((0.5..=1.5).contains(&factor));
            close(contrast[1], pixels[1].map(|v| factor * v + (1.0 - factor) * mean));

            let saturation = drawn(ColorJitter { saturation: 0.5, ..ColorJitter::default() });
            let own = grey(pixels[0]);
            let factor = (saturation[0][0] - own) / (1.0 - own);
            assert!((0.5..=1.5).contains(&factor));
            close(saturation[1], pixels[1].map(|v| factor * v + (1.0 - factor) * grey(pixels[1])));
        }
        let none = ColorJitter::default().draw(&image, &mut SplitMix64::new(0));
        assert_eq!(none, Adjust::NONE.color);
    }

    #[test]
    fn contrast_after_brightness_keeps_the_mean() {
        // Whatever the order, the mean grey after all changes is that of brightness alone: contrast and saturation keep it.
        let image = Image::interleaved([3, 1, 2], vec![255, 0, 51, 51, 102, 153]).unwrap();
        let jitter = ColorJitter { brightness: 0.5, contrast: 0.9, saturation: 0.9, hue: 0.0 };
        let grey = |p: [f64; 3]| (0..3).map(|k| GREY[k] * p[k]).sum::<f64>();
        for seed in 0..20 {
            let matrix = jitter.draw(&image, &mut SplitMix64::new(seed)).map(|row| row.map(f64::from));
            let mean = [[1.0, 0.0, 0.2], [0.2, 0.4, 0.6]].map(|p| grey(apply(&matrix, p))).iter().sum::<f64>();
            let before = grey([1.0, 0.0, 0.2]) + grey([0.2, 0.4, 0.6]);
            assert!((0.5..=1.5).contains(&(mean / before)), "{mean} after {before}");
        }
    }

    #[test]
    fn lighting_has_the_spread_of_the_components() {
        let mut random = SplitMix64::new(5);
        let drawn: Vec<[f32; 3]> = (0..20_000).map(|_| lighting(0.1, &mut random)).collect();
        let spread = (drawn.iter().map(|d| f64::from(d[0]).powi(2)).sum::<f64>() / 20_000.0).sqrt();
        // sqrt(sum of (0.1 * value * vector)^2) of the red row.
        let needed = 0.1 * ((0.5675f64 * 0.2175).powi(2) + (0.7192f64 * 0.0188).powi(2)).sqrt();
        assert!((spread / needed - 1.0).abs() < 0.03, "{spread}, not {needed}");
    }
}
