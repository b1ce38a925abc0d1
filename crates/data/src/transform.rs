//! What happens to an image between its file and its batch: sizes, crops and flips on the loader's threads, in whole pixels; for
//! colour, lighting and erasing only the numbers are drawn here, and a GPU does the arithmetic ([`Adjust`]).

use crate::color::{Adjust, ColorJitter, lighting};
use crate::error::{Error, Result};
use crate::geometry::{Geometry, Move};
use crate::image::{Image, Region};
use crate::image_file::MAX_OUTPUT_SIDE;
use crate::random::SplitMix64;

/// A recipe of transforms, with the names and defaults of `torchvision.transforms`.
///
/// Steps of geometry are done in the order in which they are named here, then the flip, then [`color_jitter`], [`lighting`] and
/// [`random_erasing`]. What is drawn at random depends on the loader's seed, the epoch and the sample alone, never on the
/// number of threads.
///
/// ```
/// use kiln_data::{Dataset, Transforms};
///
/// let data = Dataset::from_memory(vec![7; 2 * 3 * 32 * 32], [2, 3, 32, 32], vec![0, 1], ["cat", "dog"])?;
/// let train = data.transforms(Transforms::new().random_crop(32, 4).horizontal_flip(0.5))?;
/// let large = data.transforms(Transforms::imagenet_eval(224))?;
/// assert_eq!((train.shape(), large.shape()), ([3, 32, 32], [3, 224, 224]));
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// [`color_jitter`]: Transforms::color_jitter
/// [`lighting`]: Transforms::lighting
/// [`random_erasing`]: Transforms::random_erasing
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Transforms {
    steps: Vec<Step>,
    flip: f64,
    jitter: Option<ColorJitter>,
    lighting: f64,
    erasing: f64,
}

/// A step of geometry. Sizes are (height, width).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The shorter side.
    Resize(usize),
    ResizeTo(usize, usize),
    CenterCrop(usize),
    RandomCrop {
        size: usize,
        padding: usize,
    },
    RandomResizedCrop {
        size: usize,
        scale: (f64, f64),
        ratio: (f64, f64),
    },
}

/// What [`Transforms::random_erasing`] covers: the part of the area, and width by height; torchvision's defaults.
const ERASED_AREA: (f64, f64) = (0.02, 0.33);
const ERASED_RATIO: (f64, f64) = (0.3, 3.3);

/// How often a rectangle is drawn that may not fit, before a fallback is taken; as torchvision does.
const ATTEMPTS: usize = 10;

impl Transforms {
    /// None: images stay as they are.
    pub fn new() -> Transforms {
        Transforms::default()
    }

    /// What AlexNet's and VGG's followers train with: a random resized crop of `size` pixels a side, and a flip in half of the cases.
    pub fn imagenet_train(size: usize) -> Transforms {
        Transforms::new().random_resized_crop(size).horizontal_flip(0.5)
    }

    /// What torchvision's weights are measured with: the shorter side becomes 256/224 of `size`, then the centre is taken.
    pub fn imagenet_eval(size: usize) -> Transforms {
        // 256 for 224, as everyone has it.
        Transforms::new().resize((size * 8).div_ceil(7)).center_crop(size)
    }

    /// The usual training of 32-pixel sets: a random crop of `size` after 4 black pixels were put on each side, and a flip in
    /// half of the cases (Lee et al., "Deeply-supervised nets", 2015).
    pub fn cifar_train(size: usize) -> Transforms {
        Transforms::new().random_crop(size, 4).horizontal_flip(0.5)
    }

    /// The shorter side becomes `size` pixels, the other keeps the proportions (rounded down, as torchvision does).
    pub fn resize(self, size: usize) -> Transforms {
        self.step(Step::Resize(size))
    }

    /// Both sides change independently.
    pub fn resize_to(self, height: usize, width: usize) -> Transforms {
        self.step(Step::ResizeTo(height, width))
    }

    /// The `size` by `size` pixels in the middle; black where the image is smaller.
    pub fn center_crop(self, size: usize) -> Transforms {
        self.step(Step::CenterCrop(size))
    }

    /// `size` by `size` pixels from anywhere, after `padding` black pixels were put on each side. Where an image is still smaller,
    /// it lies anywhere in the black.
    pub fn random_crop(self, size: usize, padding: usize) -> Transforms {
        self.step(Step::RandomCrop { size, padding })
    }

    /// [`random_resized_crop_in`](Transforms::random_resized_crop_in) of 8 to 100 % of the area and a ratio from 3/4 to 4/3.
    pub fn random_resized_crop(self, size: usize) -> Transforms {
        self.random_resized_crop_in(size, (0.08, 1.0), (3.0 / 4.0, 4.0 / 3.0))
    }

    /// A rectangle that covers a part of the area within `scale`, drawn evenly, whose width by height is within `ratio`, drawn
    /// evenly in its logarithm, brought to `size` by `size` pixels (C. Szegedy et al., "Going deeper with convolutions", 2014).
    /// After ten that do not fit, the largest in the middle whose ratio is allowed.
    pub fn random_resized_crop_in(self, size: usize, scale: (f64, f64), ratio: (f64, f64)) -> Transforms {
        self.step(Step::RandomResizedCrop { size, scale, ratio })
    }

    /// Left becomes right with probability `p`.
    pub fn horizontal_flip(mut self, p: f64) -> Transforms {
        self.flip = p;
        self
    }

    /// Brightness, contrast, saturation and hue change at random; see [`ColorJitter`].
    pub fn color_jitter(mut self, jitter: ColorJitter) -> Transforms {
        self.jitter = Some(jitter);
        self
    }

    /// AlexNet's change of light: along the principal components of ImageNet's colours, by normal numbers of this standard
    /// deviation times the components' eigenvalues (A. Krizhevsky, I. Sutskever, G. Hinton, 2012, section 4.1, with 0.1).
    pub fn lighting(mut self, std: f64) -> Transforms {
        self.lighting = std;
        self
    }

    /// With probability `p` a rectangle becomes 0 after normalising, which is the mean colour: 2 to 33 % of the area, width by height
    /// from 0.3 to 3.3 (Z. Zhong et al., "Random Erasing Data Augmentation", 2017).
    pub fn random_erasing(mut self, p: f64) -> Transforms {
        self.erasing = p;
        self
    }

    fn step(mut self, step: Step) -> Transforms {
        self.steps.push(step);
        self
    }

    /// Whether something is left for the GPU to do.
    pub(crate) fn adjusts(&self) -> bool {
        self.jitter.is_some() || self.lighting > 0.0 || self.erasing > 0.0
    }

    /// The size [h, w] that images have after these steps, `None` where they keep sizes of their own.
    ///
    /// # Errors
    ///
    /// [`Error::Transforms`] for numbers that no step can work with.
    pub(crate) fn output(&self, channels: usize, input: Option<[usize; 2]>) -> Result<Option<[usize; 2]>> {
        let refuse = |message: String| Err(Error::Transforms { message });
        for (name, p) in [("horizontal_flip", self.flip), ("random_erasing", self.erasing)] {
            if !(0.0..=1.0).contains(&p) {
                return refuse(format!("{name} with probability {p}; pass a number from 0 to 1"));
            }
        }
        if !(self.lighting >= 0.0 && self.lighting.is_finite()) {
            return refuse(format!(
                "lighting with a standard deviation of {}; pass a number of at least 0",
                self.lighting
            ));
        }
        if let Some(jitter) = &self.jitter {
            jitter.check()?;
        }
        if (self.jitter.is_some() || self.lighting > 0.0) && channels != 3 {
            return refuse(format!("color_jitter and lighting of {channels} channels; use them on RGB images alone"));
        }
        let mut size = input;
        for step in &self.steps {
            let side = |side: usize| (1..=MAX_OUTPUT_SIDE).contains(&side);
            let range = |(low, high): (f64, f64)| low > 0.0 && low <= high && high.is_finite();
            let usable = match *step {
                Step::ResizeTo(height, width) => side(height) && side(width),
                Step::RandomCrop { size, padding } => side(size) && padding <= MAX_OUTPUT_SIDE,
                Step::Resize(size) | Step::CenterCrop(size) => side(size),
                Step::RandomResizedCrop { size, scale, ratio } => {
                    side(size) && range(scale) && scale.1 <= 1.0 && range(ratio)
                }
            };
            if !usable {
                return refuse(format!(
                    "{step:?} cannot be done; pass sides from 1 to {MAX_OUTPUT_SIDE} pixels, and ranges above 0 with the \
                     smaller number first, of the area at most 1"
                ));
            }
            size = match *step {
                Step::Resize(shorter) => size.map(|size| resized(size, shorter)),
                Step::ResizeTo(height, width) => Some([height, width]),
                Step::CenterCrop(size) | Step::RandomCrop { size, .. } | Step::RandomResizedCrop { size, .. } => {
                    Some([size, size])
                }
            };
        }
        Ok(size)
    }

    /// How the pixels of an image of this size, `[h, w]`, move. The same seed draws the same geometry.
    ///
    /// # Errors
    ///
    /// [`Error::Transform`] for an image that becomes too large.
    pub fn draw(&self, size: [usize; 2], seed: u64) -> Result<Geometry> {
        self.geometry(size, &mut SplitMix64::new(seed), &|| "an image".to_owned())
    }

    /// Draws the steps of geometry and the flip.
    fn geometry(&self, size: [usize; 2], random: &mut SplitMix64, what: &dyn Fn() -> String) -> Result<Geometry> {
        let mut geometry = Geometry::identity(size);
        for step in &self.steps {
            geometry.push(step.draw(geometry.output(), random, what)?);
        }
        geometry.set_flip(self.flip > 0.0 && random.unit() < self.flip);
        Ok(geometry)
    }

    /// Draws everything, moves the image (but for the flip), and says what the GPU is to do.
    pub(crate) fn apply(&self, image: Image, random: &mut SplitMix64, what: &dyn Fn() -> String) -> Result<Drawn> {
        let geometry = self.geometry(image.whole_size(), random, what)?;
        let image = geometry.apply(image, what)?;
        let mut adjust = Adjust::NONE;
        if let Some(jitter) = &self.jitter {
            adjust.color = jitter.draw(&image, random);
        }
        if self.lighting > 0.0 {
            adjust.lighting = lighting(self.lighting, random);
        }
        if self.erasing > 0.0 && random.unit() < self.erasing {
            let [_, height, width] = image.shape();
            // Where none fits, nothing is erased, as in torchvision.
            adjust.erase = rectangle([height, width], ERASED_AREA, ERASED_RATIO, random)
                .filter(|&[_, _, h, w]| h < height && w < width)
                .map_or([0; 4], |[top, left, h, w]| [top, left, top + h, left + w].map(|edge| edge as u32));
        }
        Ok(Drawn { image, geometry, adjust })
    }
}

/// An image after its steps of geometry, but for the flip.
pub(crate) struct Drawn {
    pub(crate) image: Image,
    pub(crate) geometry: Geometry,
    pub(crate) adjust: Adjust,
}

impl Step {
    /// What it does to an image of this size.
    fn draw(self, [height, width]: [usize; 2], random: &mut SplitMix64, what: &dyn Fn() -> String) -> Result<Move> {
        let whole = Region { top: 0.0, left: 0.0, height: height as f64, width: width as f64 };
        Ok(match self {
            Step::Resize(shorter) => {
                let size @ [to_height, to_width] = resized([height, width], shorter);
                if to_height.max(to_width) > MAX_OUTPUT_SIDE {
                    return Err(Error::Transform {
                        what: what(),
                        message: format!(
                            "{height}x{width} pixels become {to_height}x{to_width} where the shorter side is {shorter}, at \
                             most {MAX_OUTPUT_SIDE} a side are made; crop the image, or use resize_to"
                        ),
                    });
                }
                Move::Resize { region: whole, size }
            }
            Step::ResizeTo(to_height, to_width) => Move::Resize { region: whole, size: [to_height, to_width] },
            Step::CenterCrop(size) => {
                // Half-way positions to the even side, as torchvision rounds them.
                let start = |side: usize| ((side as f64 - size as f64) / 2.0).round_ties_even() as isize;
                Move::Crop { top: start(height), left: start(width), size: [size, size] }
            }
            Step::RandomCrop { size, padding } => {
                let mut start = |side: usize| {
                    let padded = (side + 2 * padding) as isize;
                    let room = padded - size as isize;
                    let at = random.below(room.unsigned_abs() as u64 + 1) as isize;
                    (if room < 0 { -at } else { at }) - padding as isize
                };
                let (top, left) = (start(height), start(width));
                Move::Crop { top, left, size: [size, size] }
            }
            Step::RandomResizedCrop { size, scale, ratio } => {
                let [top, left, h, w] =
                    rectangle([height, width], scale, ratio, random).unwrap_or_else(|| middle([height, width], ratio));
                let [top, left, height, width] = [top, left, h, w].map(|edge| edge as f64);
                Move::Resize { region: Region { top, left, height, width }, size: [size, size] }
            }
        })
    }
}

/// [h, w] with the shorter side as asked.
fn resized([height, width]: [usize; 2], shorter: usize) -> [usize; 2] {
    let longer = |long: usize, short: usize| {
        (shorter as u128 * long as u128 / short.max(1) as u128).min(usize::MAX as u128) as usize
    };
    match height <= width {
        true => [shorter, longer(width, height)],
        false => [longer(height, width), shorter],
    }
}

/// A rectangle [top, left, height, width] with a part of the area and a ratio of width by height within these ranges.
fn rectangle(
    [height, width]: [usize; 2],
    scale: (f64, f64),
    ratio: (f64, f64),
    random: &mut SplitMix64,
) -> Option<[usize; 4]> {
    let area = (height * width) as f64;
    for _ in 0..ATTEMPTS {
        let target = area * random.within(scale.0, scale.1);
        let ratio = random.within(ratio.0.ln(), ratio.1.ln()).exp();
        let w = (target * ratio).sqrt().round() as usize;
        let h = (target / ratio).sqrt().round() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = random.below((height - h) as u64 + 1) as usize;
            let left = random.below((width - w) as u64 + 1) as usize;
            return Some([top, left, h, w]);
        }
    }
    None
}

/// The largest rectangle in the middle whose width by height is within the range.
fn middle([height, width]: [usize; 2], ratio: (f64, f64)) -> [usize; 4] {
    let own = width as f64 / height as f64;
    let rounded = |side: f64, most: usize| (side.round() as usize).clamp(1, most);
    let (h, w) = if own < ratio.0 {
        (rounded(width as f64 / ratio.0, height), width)
    } else if own > ratio.1 {
        (height, rounded(height as f64 * ratio.1, width))
    } else {
        (height, width)
    };
    [(height - h) / 2, (width - w) / 2, h, w]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_side_decides() {
        // torchvision: int(256 * 500 / 375) = 341.
        assert_eq!(resized([375, 500], 256), [256, 341]);
        assert_eq!(resized([500, 375], 256), [341, 256]);
        assert_eq!(resized([10, 10], 32), [32, 32]);
    }

    #[test]
    fn rectangles_keep_their_ranges() {
        let mut random = SplitMix64::new(1);
        let (mut areas, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            let [top, left, h, w] = rectangle([375, 500], (0.08, 1.0), (0.75, 4.0 / 3.0), &mut random).unwrap();
            assert!(top + h <= 375 && left + w <= 500);
            areas.push((h * w) as f64 / (375.0 * 500.0));
            ratios.push(w as f64 / h as f64);
        }
        let within = |values: &[f64], low: f64, high: f64| values.iter().all(|&value| value >= low && value <= high);
        assert!(within(&areas, 0.079, 1.0) && within(&ratios, 0.74, 1.35));
        // Both are spread over their ranges.
        for (values, low, high) in [(&areas, 0.15, 0.8), (&ratios, 0.8, 1.25)] {
            assert!(values.iter().any(|&value| value < low) && values.iter().any(|&value| value > high));
        }
    }

    #[test]
    fn where_nothing_fits_the_middle_is_taken() {
        assert!(rectangle([1, 1000], (0.9, 1.0), (0.75, 4.0 / 3.0), &mut SplitMix64::new(0)).is_none());
        // As torchvision's RandomResizedCrop.get_params: the side that is too long is cut.
        assert_eq!(middle([100, 1000], (0.75, 4.0 / 3.0)), [0, 433, 100, 133]);
        assert_eq!(middle([1000, 100], (0.75, 4.0 / 3.0)), [433, 0, 133, 100]);
        assert_eq!(middle([90, 100], (0.75, 4.0 / 3.0)), [0, 0, 90, 100]);
        assert_eq!(middle([1, 1000], (0.75, 4.0 / 3.0)), [0, 499, 1, 1]);
    }
}
