//! Layers: a file per family.

mod activation;
mod adaptive_pool;
mod batch_norm;
mod conv;
mod conv_transpose;
mod dropout;
mod flatten;
mod linear;
mod local_response_norm;
mod pool;
mod sequential;
mod upsample;

pub use activation::{GELU, LeakyReLU, PReLU, PReLUBuilder, ReLU, SiLU, Sigmoid, Tanh};
pub use adaptive_pool::{AdaptiveAvgPool2d, AdaptiveMaxPool2d};
pub use batch_norm::{BatchNorm1d, BatchNorm2d, BatchNormBuilder};
pub use conv::{Conv2d, Conv2dBuilder};
pub use conv_transpose::{ConvTranspose2d, ConvTranspose2dBuilder};
pub use dropout::{Dropout, Dropout2d};
pub use flatten::Flatten;
pub use linear::{Linear, LinearBuilder};
pub use local_response_norm::LocalResponseNorm;
pub use pool::{AvgPool2d, MaxPool2d};
pub use sequential::{Sequential, SequentialBuilder};
pub use upsample::Upsample;

use kiln_tensor::Device;
pub use kiln_tensor::Size2;

use crate::error::Result;
use crate::init::Init;
use crate::module::Module;

/// A description from which a module is built at a place of a network. A layer without parameters is its own description.
pub trait Build {
    /// What it builds.
    type Module: Module + 'static;

    /// Builds it on a device, with first values that follow from its place in the network.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a description that fits no layer, and the device's errors.
    fn build(self, device: &Device, init: &Init) -> Result<Self::Module>;
}

/// A layer without parameters: built as it is, with nothing to visit.
macro_rules! parameterless {
    ($layer:ident) => {
        impl $crate::layers::Build for $layer {
            type Module = $layer;

            fn build(self, _: &kiln_tensor::Device, _: &$crate::init::Init) -> $crate::error::Result<$layer> {
                Ok(self)
            }
        }
    };
}
pub(crate) use parameterless;
