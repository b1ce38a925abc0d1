//! What happens to training images at random.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use kiln_data::{ColorJitter, Transforms};
use serde::{Deserialize, Serialize};

use crate::data::{self, Images};

/// The usual ways to cut and turn training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AugmentName {
    /// As in evaluations: the middle of each image
    None,
    /// The middle, mirrored in half of the cases
    Flip,
    /// A part from anywhere after an eighth of black was put around, mirrored in half of the cases: for small images
    CropFlip,
    /// A random part of 8 to 100 % of the area in a random shape, mirrored in half of the cases: for photos
    Imagenet,
}

/// Up to four numbers: brightness, contrast, saturation, hue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Jitter(ColorJitter);

impl FromStr for Jitter {
    type Err = String;

    fn from_str(text: &str) -> Result<Jitter, String> {
        let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(numbers) if numbers.len() <= 4 && numbers.iter().all(|number| *number >= 0.0) => {
                let at = |index: usize| numbers.get(index).copied().unwrap_or(0.0);
                Ok(Jitter(ColorJitter { brightness: at(0), contrast: at(1), saturation: at(2), hue: at(3) }))
            }
            _ => Err("needs one to four numbers of at least 0: brightness,contrast,saturation,hue".to_string()),
        }
    }
}

impl TryFrom<String> for Jitter {
    type Error = String;

    fn try_from(text: String) -> Result<Jitter, String> {
        text.parse()
    }
}

impl From<Jitter> for String {
    fn from(jitter: Jitter) -> String {
        jitter.to_string()
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ColorJitter { brightness, contrast, saturation, hue } = self.0;
        write!(f, "{brightness},{contrast},{saturation},{hue}")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Augmentation of the training images")]
pub(crate) struct AugmentArgs {
    /// How images are cut and mirrored [default: none for grey sets such as MNIST, crop-flip below 64 pixels, else imagenet]
    #[arg(long, value_enum)]
    pub(crate) augment: Option<AugmentName>,
    /// Mirror images with this probability, in place of the 0.5 of --augment
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) flip: Option<f64>,
    /// Change brightness, contrast, saturation and hue at random, each by up to this part: 0.4,0.4,0.4,0.1
    #[arg(long, value_name = "B,C,S,H")]
    pub(crate) color_jitter: Option<Jitter>,
    /// Change the light as AlexNet's authors did; they used 0.1
    #[arg(long, value_name = "STD", allow_negative_numbers = true)]
    pub(crate) lighting: Option<f64>,
    /// Cover a rectangle with this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) random_erasing: Option<f64>,
    /// Blend images in pairs, and their labels; 0.2 is usual
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    pub(crate) mixup: Option<f64>,
    /// Paste a part of an image into another, and mix their labels by area; 1 is usual. With --mixup, each batch has one of the two
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    pub(crate) cutmix: Option<f64>,
}

impl AugmentArgs {
    /// With the default where nothing is given.
    pub(crate) fn resolve(&self, images: &Images) -> AugmentArgs {
        let [_, size, _] = images.splits.train.shape();
        let default = match images.own {
            // Digits and letters mean something else in a mirror.
            Some([1, ..]) => AugmentName::None,
            _ if data::is_small(size) => AugmentName::CropFlip,
            _ => AugmentName::Imagenet,
        };
        AugmentArgs { augment: Some(self.augment.unwrap_or(default)), ..self.clone() }
    }

    /// The transforms of training images, brought to the size that the images have now.
    pub(crate) fn transforms(&self, images: &Images) -> Transforms {
        let [_, size, _] = images.splits.train.shape();
        let shown = || data::shown(images.own, size);
        let fitting = images.own.is_some_and(|[_, height, width]| [height, width] == [size, size]);
        let mut transforms = match self.augment.unwrap_or(AugmentName::None) {
            AugmentName::None => shown(),
            AugmentName::Flip => shown().horizontal_flip(0.5),
            AugmentName::CropFlip => {
                let resized = if fitting { Transforms::new() } else { Transforms::new().resize(size) };
                resized.random_crop(size, size / 8).horizontal_flip(0.5)
            }
            AugmentName::Imagenet => Transforms::imagenet_train(size),
        };
        if let Some(p) = self.flip {
            transforms = transforms.horizontal_flip(p);
        }
        if let Some(Jitter(jitter)) = self.color_jitter {
            transforms = transforms.color_jitter(jitter);
        }
        if let Some(std) = self.lighting {
            transforms = transforms.lighting(std);
        }
        if let Some(p) = self.random_erasing {
            transforms = transforms.random_erasing(p);
        }
        transforms
    }
}
