//! Kiln's networks: parameters, modules, layers, initialisers, optimizers, learning-rate schedules and state dicts.
//!
//! A [`Module`] is a plain struct with two methods: `forward` computes, `visit` names the fields. Everything else follows from
//! that one visit: [`Module::parameters`] with their full names, the count, freezing, and the state dict that
//! [`StateDict::save`] and [`StateDict::load`] keep in a safetensors file. Names are torchvision's.
//!
//! ```
//! use kiln_autograd::Tape;
//! use kiln_nn::{Init, Linear, Module, ReLU, Sequential, Sgd};
//! use kiln_tensor::{Device, Tensor};
//!
//! # fn main() -> Result<(), kiln_nn::Error> {
//! # let device = Device::open_default()?;
//! let model = Sequential::builder()
//!     .layer(Linear::builder(2, 8))
//!     .layer(ReLU)
//!     .layer(Linear::builder(8, 3))
//!     .build(&device, &Init::seed(42))?;
//! let mut optim = Sgd::new(model.parameters(), 0.1).momentum(0.9);
//!
//! let x = Tensor::from_slice(&device, [3, 2], &[0.0f32, 0.0, 1.0, 0.0, 0.0, 1.0])?;
//! let labels = Tensor::from_slice(&device, [3], &[0i32, 1, 2])?;
//! let mut losses = Vec::new();
//! for _ in 0..20 {
//!     let tape = Tape::train();
//!     let loss = model.forward(&tape.constant(x.clone()))?.cross_entropy(&labels)?;
//!     optim.step(&loss.backward()?)?;
//!     losses.push(loss.item::<f32>()?);
//! }
//! assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
//! # Ok(())
//! # }
//! ```
//!
//! The losses are methods of [`Var`](kiln_autograd::Var): `logits.cross_entropy(&labels)`.

mod buffer;
mod error;
mod init;
mod layers;
mod module;
mod optim;
mod parameter;
mod plateau;
mod schedule;
mod state;
mod step_memory;
mod summary;

pub use buffer::{Buffer, Count, Entry};
pub use error::{Error, Problem, Result};
pub use init::{Fan, Init, Initializer, Nonlinearity};
pub use layers::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, BatchNorm1d, BatchNorm2d, BatchNormBuilder, Build, Conv2d,
    Conv2dBuilder, ConvTranspose2d, ConvTranspose2dBuilder, Dropout, Dropout2d, Flatten, GELU, LeakyReLU, Linear,
    LinearBuilder, LocalResponseNorm, MaxPool2d, PReLU, PReLUBuilder, ReLU, Sequential, SequentialBuilder, SiLU,
    Sigmoid, Size2, Tanh, Upsample,
};
pub use module::{Module, Parameters, ReluFusion, Visitor};
pub use optim::{
    Adam, AdamW, Ema, EmaState, GradientAccumulator, Optimizer, OptimizerState, ParameterGroups, RMSprop, Sgd,
    clip_grad_norm, clip_grad_value,
};
pub use parameter::Parameter;
pub use plateau::ReduceLrOnPlateau;
pub use schedule::Schedule;
#[cfg(feature = "hub")]
pub use state::Hub;
pub use state::{
    LoadOptions, Loaded, MAX_HEADER_BYTES, MAX_PICKLE_BYTES, StateDict, StateFile, TensorSource, save_tensors,
    write_atomically,
};
pub use step_memory::{StepMemory, step_memory};
pub use summary::{LayerSummary, Summary, op_flops, summary};
