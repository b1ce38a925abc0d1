//! Fashion-MNIST: ten classes of clothes in grey images of 28x28 pixels.

use std::path::Path;

use crate::classes::Classes;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::idx::{self, Pair};
use crate::splits::Splits;

macro_rules! embedded {
    ($name:literal) => {
        (concat!("embedded ", $name), include_bytes!(concat!("../fashion-mnist/", $name)).as_slice())
    };
}

/// Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017, arXiv:1708.07747; MIT licence), as pairs of a grey 28x28 image and one
/// of ten classes of clothes. Bright pixels on a black ground.
#[derive(Clone, Debug)]
pub struct FashionMnist {
    splits: Splits,
}

impl FashionMnist {
    /// The names of the classes, of label 0 first.
    pub const CLASSES: [&'static str; 10] =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

    /// The part that the library carries: 10,000 training and 2,000 test images, equally many of each class.
    ///
    /// ```
    /// use kiln_data::FashionMnist;
    /// let data = FashionMnist::embedded()?;
    /// assert_eq!((data.train().len(), data.test().len()), (10_000, 2_000));
    /// assert_eq!(data.train().shape(), [1, 28, 28]);
    /// assert_eq!(data.train().class_name(9), Some("Ankle boot"));
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The files are decoded like any others, with the errors of [`idx::images_from_bytes`]; in a build whose tests pass none
    /// occurs, short of a machine without the 10 MB.
    pub fn embedded() -> Result<FashionMnist> {
        let train =
            idx::pair_from_bytes(embedded!("train-images-idx3-ubyte.gz"), embedded!("train-labels-idx1-ubyte.gz"))?;
        let test =
            idx::pair_from_bytes(embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz"))?;
        FashionMnist::of(train, test)
    }

    /// The whole set, or another in its form, from a folder with its four files; see [`idx::read_folder`].
    ///
    /// ```no_run
    /// let data = kiln_data::FashionMnist::from_dir("/usr/share/datasets/fashion-mnist")?;
    /// println!("{} images", data.train().len());
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What [`idx::read_folder`] returns, [`Error::ImageShape`] for images other than 28x28, [`Error::Label`] for a label over 9.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<FashionMnist> {
        let (train, test) = idx::read_pairs(dir.as_ref())?;
        FashionMnist::of(train, test)
    }

    fn of(train: Pair, test: Pair) -> Result<FashionMnist> {
        let (height, width) = (train.images.height, train.images.width);
        if (height, width) != (28, 28) {
            return Err(Error::ImageShape {
                what: train.file,
                given: format!("{height}x{width}"),
                needed: "28x28".to_owned(),
                advice: "read another set than Fashion-MNIST with idx::read_folder",
            });
        }
        Ok(FashionMnist { splits: idx::splits(train, test, &Classes::from(FashionMnist::CLASSES))? })
    }

    /// The images to learn from.
    pub fn train(&self) -> &Dataset {
        &self.splits.train
    }

    /// Both parts, as a trainer takes them.
    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The images to measure with.
    pub fn test(&self) -> &Dataset {
        &self.splits.test
    }
}
