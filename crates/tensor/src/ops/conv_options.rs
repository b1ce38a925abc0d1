//! The options of a convolution.

use serde::{Deserialize, Serialize};

use crate::axis::Size2;

/// The options of a convolution, `[vertical, horizontal]`. As PyTorch's `conv2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conv2dOptions {
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// Distance between the points of a window.
    pub dilation: [usize; 2],
    /// Channels are cut into this many groups, each convolved on its own.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    /// Stride 1, no padding, dilation 1, one group.
    fn default() -> Conv2dOptions {
        Conv2dOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

impl Conv2dOptions {
    /// Stride 1, no padding, dilation 1, one group.
    pub fn new() -> Conv2dOptions {
        Conv2dOptions::default()
    }

    /// Distance between windows.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> Conv2dOptions {
        self.stride = stride.into().0;
        self
    }

    /// Zeros around the image, on each side.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> Conv2dOptions {
        self.padding = padding.into().0;
        self
    }

    /// Distance between the points of a window.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Conv2dOptions {
        self.dilation = dilation.into().0;
        self
    }

    /// The groups that the channels are cut into.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Conv2dOptions {
        self.groups = groups;
        self
    }
}

/// Options by reference, as a layer keeps them.
impl From<&Conv2dOptions> for Conv2dOptions {
    fn from(options: &Conv2dOptions) -> Conv2dOptions {
        *options
    }
}
