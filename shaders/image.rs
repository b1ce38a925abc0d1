//! Bytes of images to what a network takes: normalising, and what augmentation does to single pixels.

use crate::Kernel;
use crate::launch::{Launch, params};

params! {
    /// The parameters of `normalize_image.wgsl`.
    "normalize_image" pub struct NormalizeParams {
        /// `ceil(count / 4)`
        pub quads: u32,
        /// The pixels of a plane.
        pub plane: u32,
        /// The planes of an image.
        pub channels: u32,
        /// First quad of x.
        pub x_offset: u32,
        /// First factor.
        pub factors_offset: u32,
        /// First quad of the result.
        pub out_offset: u32,
    }
}

params! {
    /// The parameters of `augment_image.wgsl`.
    "augment_image" pub struct AugmentParams {
        /// The rectangle of the image before: top, left, bottom, right.
        pub region: [u32; 4],
        /// Threads.
        pub lanes: u32,
        /// `ceil(plane / 4)`
        pub quads: u32,
        /// The pixels of a plane.
        pub plane: u32,
        /// The width of a plane.
        pub width: u32,
        /// The images of x.
        pub images: u32,
        /// The planes of an image.
        pub channels: u32,
        /// The first image that is made.
        pub first: u32,
        /// First byte of x.
        pub x_offset: u32,
        /// First vec4 of the adjustments.
        pub adjust_offset: u32,
        /// First factor.
        pub factors_offset: u32,
        /// First element of the result.
        pub out_offset: u32,
        /// The image's own share.
        pub own: f32,
    }
}

/// Images `[n, c, h, w]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Images {
    /// The number of images.
    pub count: usize,
    /// The planes of each.
    pub channels: usize,
    /// Height and width of a plane.
    pub size: [usize; 2],
}

/// `x * factor + factor'`, channel by channel. Bindings: x, factors, out; offsets in quads, elements, quads.
pub fn normalize(images: &Images, offsets: [usize; 3]) -> Launch {
    let plane = images.size[0] * images.size[1];
    let quads = (images.count * images.channels * plane).div_ceil(4);
    let [x_offset, factors_offset, out_offset] = offsets.map(|offset| offset as u32);
    let (plane, channels) = (plane as u32, images.channels as u32);
    let params = NormalizeParams { quads: quads as u32, plane, channels, x_offset, factors_offset, out_offset };
    Launch::new(Kernel::new("normalize_image"), &params, quads.div_ceil(256) as u64)
}

/// Images `first` to before `first + made` of a batch, adjusted and mixed each with the one before it. Bindings: x, adjust, factors,
/// out; offsets in bytes, vec4, elements, elements.
pub fn augment(
    images: &Images,
    (first, made): (usize, usize),
    own: f32,
    region: [u32; 4],
    offsets: [usize; 4],
) -> Launch {
    let color = images.channels == 3;
    let plane = images.size[0] * images.size[1];
    let quads = plane.div_ceil(4);
    let lanes = made * quads * if color { 1 } else { images.channels };
    let [x_offset, adjust_offset, factors_offset, out_offset] = offsets.map(|offset| offset as u32);
    let params = AugmentParams {
        region,
        lanes: lanes as u32,
        quads: quads as u32,
        plane: plane as u32,
        width: images.size[1] as u32,
        images: images.count as u32,
        channels: images.channels as u32,
        first: first as u32,
        x_offset,
        adjust_offset,
        factors_offset,
        out_offset,
        own,
    };
    Launch::new(augment_kernel(color), &params, lanes.div_ceil(64) as u64)
}

fn augment_kernel(color: bool) -> Kernel {
    Kernel::new("augment_image").constant("COLOR", color)
}

pub(crate) fn variants() -> Vec<Kernel> {
    vec![Kernel::new("normalize_image"), augment_kernel(false), augment_kernel(true)]
}
