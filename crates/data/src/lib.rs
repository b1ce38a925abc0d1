//! Datasets, image decoding and the prefetching loader of Kiln. No GPU code: what leaves this crate is bytes and labels.
//!
//! - [`FashionMnist`]: a part of Fashion-MNIST inside the library, or the whole set from a folder.
//! - [`idx`]: IDX files, plain or gzipped, read as untrusted input.
//! - [`read_folder`], [`read_csv`]: image files of any size in a folder for each class, or named by a list. [`read_cifar10`] and
//!   [`read_cifar100`]: CIFAR's binary files. [`read`]: whichever of them a path is. [`read_images`]: files without labels.
//! - [`Splits`]: the parts of a set; [`Classes`]: its classes, and how those of two sets are matched.
//! - [`Dataset`]: `u8` images of one size with their labels, from memory or from any [`Source`].
//! - [`Transforms`]: crops, flips and changes of colour. Geometry is done here, in `u8`; arithmetic on pixels is left to a GPU, as
//!   numbers for each image ([`Adjust`], [`Mix`]).
//! - [`Loader`]: batches in a seeded order, made ahead by worker threads.
//! - [`ImageFile`]: one image file of any common format, brought to the size that a model wants.
//!
//! Images are `u8` in the order batch, channel, row, column (PyTorch's NCHW), so that a shape says where each byte lies.
//!
//! ```
//! use kiln_data::FashionMnist;
//!
//! let data = FashionMnist::embedded()?;
//! for batch in data.train().loader(64).shuffle(42).epochs(1).take(3) {
//!     let batch = batch?;
//!     assert_eq!(batch.shape, [64, 1, 28, 28]);
//!     assert_eq!(batch.labels.len(), 64);
//! }
//! # Ok::<(), kiln_data::Error>(())
//! ```

mod cifar;
mod classes;
mod color;
mod csv_list;
mod dataset;
mod error;
mod fashion_mnist;
mod files;
mod folder;
mod geometry;
pub mod idx;
mod image;
mod image_file;
mod jpeg_file;
mod loader;
mod mix;
mod random;
mod reduce;
mod splits;
mod stats;
mod target;
mod tiff_file;
mod transform;
mod walk;

pub use cifar::{read_cifar10, read_cifar100};
pub use classes::{ClassMatch, Classes};
pub use color::{Adjust, ColorJitter};
pub use csv_list::read_csv;
pub use dataset::{Dataset, Sample, Source};
pub use error::{Error, Result};
pub use fashion_mnist::FashionMnist;
pub use files::{ReadOptions, read, read_images};
pub use folder::read_folder;
pub use geometry::Geometry;
pub use image::Image;
pub use image_file::{ImageFile, MAX_IMAGE_BYTES, MAX_IMAGE_SIDE, MAX_OUTPUT_SIDE};
pub use loader::{Batch, Batches, Loader, Skipped, Unreadable};
pub use mix::Mix;
pub use splits::{Part, Splits};
pub use stats::ChannelStats;
pub use target::{LabeledBox, Mask, Target};
pub use transform::Transforms;
pub use walk::{FoundImages, find_images};
