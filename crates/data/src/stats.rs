//! Means and deviations of a set's channels.

use crate::error::{Error, Result};
use crate::loader::Loader;

/// Mean and standard deviation of each channel, of pixels scaled to 0..1 (`byte / 255`), as torchvision's `Normalize` takes
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStats {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, of the whole population (divided by the number of pixels).
    pub std: Vec<f32>,
}

impl ChannelStats {
    /// Those of ImageNet's training images, which torchvision's weights are made with.
    pub fn imagenet() -> ChannelStats {
        ChannelStats { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// Those of CIFAR-10's training images.
    pub fn cifar10() -> ChannelStats {
        ChannelStats { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] }
    }
}

impl Loader {
    /// As [`Dataset::channel_stats`](crate::Dataset::channel_stats), by this loader's threads and without the samples that it leaves
    /// out.
    ///
    /// ```
    /// use kiln_data::Unreadable;
    /// let data = kiln_data::FashionMnist::embedded()?;
    /// let stats = data.test().loader(64).workers(2).unreadable(Unreadable::Skip).channel_stats()?;
    /// assert_eq!(stats, data.test().channel_stats()?);
    /// # Ok::<(), kiln_data::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without samples, and those of the batches.
    pub fn channel_stats(&self) -> Result<ChannelStats> {
        let mut sums: Vec<(u128, u128)> = Vec::new();
        let mut count = 0;
        for batch in self.epoch(0) {
            let batch = batch?;
            let [images, channels, height, width] = batch.shape;
            sums.resize(channels, (0, 0));
            count += images as u128 * (height * width) as u128;
            for image in batch.images.chunks_exact(channels * height * width) {
                for (channel, (sum, squares)) in image.chunks_exact(height * width).zip(&mut sums) {
                    // A plane has fewer than 2^47 bytes on any machine: 2^16 times that fits in 64 bits.
                    *sum += u128::from(channel.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                    *squares += u128::from(channel.iter().map(|&byte| u64::from(byte) * u64::from(byte)).sum::<u64>());
                }
            }
        }
        if count == 0 {
            return Err(Error::Empty { operation: "channel_stats" });
        }
        let mean = sums.iter().map(|&(sum, _)| (sum as f64 / count as f64 / 255.0) as f32).collect();
        // count^2 times the variance, without cancellation since it is a whole number.
        let spread = |&(sum, squares): &(u128, u128)| (count * squares - sum * sum) as f64;
        let std = sums.iter().map(|sums| (spread(sums).sqrt() / count as f64 / 255.0) as f32).collect();
        Ok(ChannelStats { mean, std })
    }
}
