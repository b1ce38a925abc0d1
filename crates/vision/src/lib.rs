//! Kiln's vision models, each in a file of its own, under torchvision's parameter names where torchvision has the model.
//!
//! [`Model`] lists them by name with what a program needs to feed them; [`lenet5`] and its like build one directly.
//!
//! ```
//! use kiln_autograd::Tape;
//! use kiln_nn::{Init, Module};
//! use kiln_tensor::{DType, Device, Tensor};
//!
//! # fn main() -> Result<(), kiln_nn::Error> {
//! # let device = Device::open_default()?;
//! let model = kiln_vision::lenet5(&device, Init::seed(42), 10)?;
//! let images = Tape::eval().constant(Tensor::zeros(&device, [4, 1, 28, 28], DType::F32)?);
//! assert_eq!(model.forward(&images)?.dims::<2>()?, [4, 10]);
//! # Ok(())
//! # }
//! ```

mod alexnet;
mod blueprint;
mod lenet;
mod mlp;
mod model;
mod vgg;

pub use alexnet::{AlexNet, AlexNetBuilder, alexnet, alexnet_32, alexnet_2012};
pub use blueprint::Cost;
pub use lenet::{LeNet5, LeNet5Builder, lenet5};
pub use mlp::{Mlp, MlpBuilder, mlp};
pub use model::{Model, ModelOptions, same_name};
pub use vgg::{
    Vgg, VggBuilder, vgg11, vgg11_32, vgg11_bn, vgg11_bn_32, vgg13, vgg13_bn, vgg16, vgg16_32, vgg16_bn, vgg16_bn_32,
    vgg19, vgg19_bn,
};
