//! Mixing the images of a batch in pairs.

use crate::error::{Error, Result};
use crate::random::SplitMix64;

/// How each image of a batch is mixed with the one before it, and the first with the last, as torchvision's `MixUp` and `CutMix` do.
/// The same shares make the targets: `own` of the image's own class, the rest of the other's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// Every pixel is `own * x + (1 - own) * other`.
    Blend {
        /// From 0 to 1.
        own: f32,
    },
    /// The pixels of a rectangle are the other's.
    Paste {
        /// The part of the area that is the image's own.
        own: f32,
        /// The rectangle [top, left, bottom, right]; bottom and right are excluded.
        region: [u32; 4],
    },
}

impl Mix {
    /// The share of an image's own class in its target, from 0 to 1.
    pub fn own(&self) -> f32 {
        match *self {
            Mix::Blend { own } | Mix::Paste { own, .. } => own,
        }
    }
}

/// Which mixes are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mixing {
    pub(crate) mixup: Option<f64>,
    pub(crate) cutmix: Option<f64>,
}

impl Mixing {
    pub(crate) fn check(&self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if let Some(alpha) = alpha
                && !(alpha > 0.0 && alpha.is_finite())
            {
                return Err(Error::Loader { message: format!("{name} with alpha {alpha}; pass a number above 0") });
            }
        }
        Ok(())
    }

    /// The mix of a batch of images [h, w], from the seed and the batch's place alone.
    pub(crate) fn draw(&self, seed: u64, (epoch, batch): (u64, usize), size: [usize; 2]) -> Option<Mix> {
        // Apart from the generators of the samples, which are made with the seed itself.
        let mut random = SplitMix64::sample(seed.rotate_left(32), epoch, batch as u64);
        match (self.mixup, self.cutmix) {
            (None, None) => None,
            (Some(alpha), None) => Some(blend(alpha, &mut random)),
            (None, Some(alpha)) => Some(paste(alpha, size, &mut random)),
            (Some(mixup), Some(cutmix)) => Some(match random.below(2) {
                0 => blend(mixup, &mut random),
                _ => paste(cutmix, size, &mut random),
            }),
        }
    }
}

fn blend(alpha: f64, random: &mut SplitMix64) -> Mix {
    Mix::Blend { own: random.symmetric_beta(alpha) as f32 }
}

/// A rectangle of the image's proportions around an even point, cut at the image's edges.
fn paste(alpha: f64, [height, width]: [usize; 2], random: &mut SplitMix64) -> Mix {
    let half = 0.5 * (1.0 - random.symmetric_beta(alpha)).sqrt();
    let mut edges = |side: usize| {
        let (middle, reach) = (random.below(side.max(1) as u64) as usize, (half * side as f64) as usize);
        (middle.saturating_sub(reach), (middle + reach).min(side))
    };
    let ((left, right), (top, bottom)) = (edges(width), edges(height));
    let covered = ((bottom - top) * (right - left)) as f64 / (height * width) as f64;
    Mix::Paste { own: (1.0 - covered) as f32, region: [top, left, bottom, right].map(|edge| edge as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_area() {
        let mixing = Mixing { mixup: None, cutmix: Some(1.0) };
        let mut kept = 0.0;
        for batch in 0..2_000 {
            let mix = mixing.draw(3, (0, batch), [20, 30]);
            let Some(Mix::Paste { own, region: [top, left, bottom, right] }) = mix else { unreachable!() };
            assert!(top <= bottom && bottom <= 20 && left <= right && right <= 30);
            assert!((own - (1.0 - ((bottom - top) * (right - left)) as f32 / 600.0)).abs() < 1e-6);
            kept += f64::from(own);
        }
        // Of an even share a half would be kept, but the edges cut rectangles: a bit more is.
        assert!((0.5..0.75).contains(&(kept / 2_000.0)), "{}", kept / 2_000.0);
    }

    #[test]
    fn two_kinds_take_turns_at_random() {
        let mixing = Mixing { mixup: Some(0.2), cutmix: Some(1.0) };
        let blends = (0..1_000).filter(|&batch| matches!(mixing.draw(3, (0, batch), [8, 8]), Some(Mix::Blend { .. })));
        assert!((400..600).contains(&blends.count()));
        assert_eq!(mixing.draw(3, (1, 5), [8, 8]), mixing.draw(3, (1, 5), [8, 8]));
        assert_ne!(mixing.draw(3, (1, 5), [8, 8]), mixing.draw(4, (1, 5), [8, 8]));
        assert_ne!(mixing.draw(3, (1, 5), [8, 8]), mixing.draw(3, (2, 5), [8, 8]));
        assert_eq!(Mixing::default().draw(3, (1, 5), [8, 8]), None);
    }
}
