//! Kiln trains convolutional networks on any GPU, through compute shaders: WGSL, by way of wgpu on Vulkan, Metal and DX12.
//!
//! ```
//! use kiln::prelude::*;
//!
//! fn main() -> anyhow::Result<()> {
//!     let device = Device::open_default()?;
//!     let data = FashionMnist::embedded()?;
//!     let model = vision::lenet5(&device, Init::seed(42), 10)?;
//!     let mut optim = Sgd::new(model.parameters(), 0.01).momentum(0.9).weight_decay(5e-4);
//!     let loader = data.train().loader(64).shuffle(42);
//!     for epoch in 1..=3 {
//!         for batch in &loader {
//! #           if batch.as_ref().is_ok_and(|batch| batch.index == 3) { return Ok(()); }
//!             let tape = Tape::train();
//!             let (images, labels) = batch?.to(&device)?;
//!             let loss = model.forward(&tape.constant(images))?.cross_entropy(&labels)?;
//!             optim.step(&loss.backward()?)?;
//!             println!("epoch {epoch}: loss {:.4}", loss.item::<f32>()?);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Each layer is a crate of its own, and a module here:
//!
//! - [`gpu`]: devices, memory, launches, GPU time. The only one that names wgpu.
//! - [`tensor`]: [`Tensor`](tensor::Tensor) and the operations on it.
//! - [`autograd`]: [`Tape`](autograd::Tape) and [`Var`](autograd::Var), which compute gradients.
//! - [`nn`]: modules, layers, initialisers, optimizers, schedules and state dicts.
//! - [`data`]: datasets, image files and the loader. No GPU code.
//! - [`vision`]: models by name.
//! - [`train`]: batches to the GPU, the training loop, evaluation.

pub use kiln_autograd as autograd;
pub use kiln_data as data;
pub use kiln_gpu as gpu;
pub use kiln_nn as nn;
pub use kiln_tensor as tensor;
pub use kiln_train as train;
pub use kiln_vision as vision;

/// The names that most programs need: `use kiln::prelude::*`. Layers are under their module, as in PyTorch: `nn::Conv2d`.
pub mod prelude {
    pub use crate::autograd::{Tape, Var};
    pub use crate::data::FashionMnist;
    pub use crate::gpu::Device;
    pub use crate::nn::{self, Adam, AdamW, Build, Init, Module, Sgd, StateDict, Visitor};
    pub use crate::tensor::{DType, Tensor};
    pub use crate::train::ToDevice;
    pub use crate::vision;
}

// The programs in the README and in the guide compile.
#[cfg(doctest)]
mod pages {
    macro_rules! page {
        ($name:ident, $file:literal) => {
            #[doc = include_str!(concat!("../", $file))]
            struct $name;
        };
    }

    page!(Readme, "README.md");
    page!(FirstTraining, "docs/guide/first-training.md");
    page!(OwnImages, "docs/guide/own-images.md");
    page!(FineTuning, "docs/guide/fine-tuning.md");
    page!(OwnModel, "docs/guide/own-model.md");
    page!(OwnOp, "docs/guide/own-op.md");
    page!(Adapters, "docs/guide/adapters.md");
}
