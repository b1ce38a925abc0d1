//! The contraction engine: the products behind matrix multiplication and convolution in all directions.
//!
//! [`tiles`] takes any problem on any adapter. The others are faster where they apply: [`product`] for dense products,
//! [`one_by_one`] and [`direct`] for convolutions on processors, [`winograd`] for 3x3 kernels of stride 1, and [`cooperative`] for adapters with matrix units.
//! Which of them runs is [`plan`](crate::plan)'s to say; how they cut their work follows from sizes, adapter class and limits.

pub(crate) mod cooperative;
pub(crate) mod direct;
pub(crate) mod one_by_one;
pub(crate) mod product;
pub(crate) mod tiles;
pub(crate) mod winograd;

use kiln_gpu::{AdapterClass, Device};

/// Workgroups that keep an adapter of each class busy, and the shortest part of k that is worth a workgroup of its own.
const SOFTWARE: (u64, u64) = (8, 256);
const GPU: (u64, u64) = (256, 128);

/// The most terms of one running sum: beyond, roundings that lean one way could leave the bound of a sum of products.
const LONGEST: u64 = 65_536;

/// Whether the adapter is a processor with subgroups of 8, for which the `lanes` kernels are written.
fn lanes(device: &Device) -> bool {
    let info = device.info();
    info.class == AdapterClass::Software && info.subgroup_size == 8
}

/// Into how many parts k is cut, where one part gives `groups` workgroups.
fn splits(device: &Device, groups: u64, k: u32) -> u32 {
    let (enough, shortest) = if device.info().class == AdapterClass::Software { SOFTWARE } else { GPU };
    let most = (u64::from(k) / shortest).max(1);
    let idle = if groups == 0 || groups >= enough { 1 } else { enough.div_ceil(groups).min(most) };
    idle.max(u64::from(k).div_ceil(LONGEST)) as u32
}
