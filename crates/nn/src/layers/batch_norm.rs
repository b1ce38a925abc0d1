//! Batch norm.

use std::fmt;
use std::marker::PhantomData;

use kiln_autograd::Var;
use kiln_tensor::ops::batch_norm::{BatchNormOptions, Running};
use kiln_tensor::{DType, Device, Tensor};

use crate::buffer::{Buffer, Count};
use crate::error::{Error, Result};
use crate::init::{Init, Initializer};
use crate::layers::Build;
use crate::module::{Module, ReluFusion, Visitor};
use crate::parameter::Parameter;

/// What both ranks share.
#[derive(Debug, Clone)]
struct Norm {
    /// Scale and shift.
    affine: Option<[Parameter; 2]>,
    running: Option<Statistics>,
    /// `None`: the mean over all batches.
    momentum: Option<f64>,
    options: BatchNormOptions,
}

#[derive(Debug, Clone)]
struct Statistics {
    mean: Buffer,
    var: Buffer,
    batches: Count,
}

impl Norm {
    fn forward(&self, x: &Var, relu: bool) -> Result<Var> {
        let options = BatchNormOptions { relu, ..self.options };
        let affine = self.affine.as_ref().map(|pair| pair.each_ref().map(|parameter| parameter.on(x.tape())));
        let affine = affine.as_ref().map(|pair| pair.each_ref());
        let Some(running) = &self.running else {
            return Ok(x.batch_norm_train(affine, None, &options)?);
        };
        let (mean, var) = (running.mean.value(), running.var.value());
        if !x.tape().is_training() || running.mean.is_frozen() || running.var.is_frozen() {
            return Ok(x.batch_norm(&mean, &var, affine, &options)?);
        }
        let momentum = self.momentum.unwrap_or(1.0 / (running.batches.get() + 1) as f64);
        let y = x.batch_norm_train(affine, Some(Running { mean: &mean, var: &var, momentum }), &options)?;
        running.batches.increment();
        Ok(y)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        if let Some([weight, bias]) = &self.affine {
            v.param("weight", weight);
            v.param("bias", bias);
        }
        if let Some(running) = &self.running {
            v.buffer("running_mean", &running.mean);
            v.buffer("running_var", &running.var);
            v.count("num_batches_tracked", &running.batches);
        }
    }
}

/// Describes a [`BatchNorm1d`] or [`BatchNorm2d`] layer.
#[must_use = "a description is nothing until it is built"]
pub struct BatchNormBuilder<L> {
    features: usize,
    momentum: Option<f64>,
    options: BatchNormOptions,
    affine: bool,
    track: bool,
    layer: PhantomData<fn() -> L>,
}

impl<L> BatchNormBuilder<L> {
    fn new(features: usize) -> BatchNormBuilder<L> {
        BatchNormBuilder {
            features,
            momentum: Some(0.1),
            options: BatchNormOptions::default(),
            affine: true,
            track: true,
            layer: PhantomData,
        }
    }

    /// What is added to the variance; 1e-5 unless called.
    pub fn eps(mut self, eps: f64) -> BatchNormBuilder<L> {
        self.options.eps = eps;
        self
    }

    /// The share of each batch in the running statistics, 0.1 unless called; with `None` they are the mean over all batches.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> BatchNormBuilder<L> {
        self.momentum = momentum.into();
        self
    }

    /// Whether there are a weight and a bias. True unless called.
    pub fn affine(mut self, affine: bool) -> BatchNormBuilder<L> {
        self.affine = affine;
        self
    }

    /// Whether running statistics are kept. True unless called; without them, evaluation uses the batch's own too.
    pub fn track_running_stats(mut self, track: bool) -> BatchNormBuilder<L> {
        self.track = track;
        self
    }

    fn norm(self, name: &'static str, device: &Device, init: &Init) -> Result<Norm> {
        let BatchNormBuilder { features, momentum, options, affine, track, .. } = self;
        if features == 0 {
            return Err(Error::argument(name, "num_features = 0; must be at least 1"));
        }
        if !(options.eps >= 0.0 && options.eps.is_finite()) {
            return Err(Error::argument(name, format!("eps = {}; pass a finite number of at least 0", options.eps)));
        }
        if let Some(momentum) = momentum.filter(|momentum| !(0.0..=1.0).contains(momentum)) {
            return Err(Error::argument(name, format!("momentum = {momentum}; pass a number from 0 to 1, or None")));
        }
        let affine = match affine {
            true => Some([
                init.parameter(device, "weight", features, Initializer::ONES)?,
                init.parameter(device, "bias", features, Initializer::ZEROS)?,
            ]),
            false => None,
        };
        let running = match track {
            true => Some(Statistics {
                mean: Buffer::new(Tensor::zeros(device, features, DType::F32)?),
                var: Buffer::new(Tensor::ones(device, features, DType::F32)?),
                batches: Count::default(),
            }),
            false => None,
        };
        Ok(Norm { affine, running, momentum, options })
    }
}

impl<L> fmt::Debug for BatchNormBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchNormBuilder")
            .field("features", &self.features)
            .field("momentum", &self.momentum)
            .field("options", &self.options)
            .field("affine", &self.affine)
            .field("track", &self.track)
            .finish()
    }
}

macro_rules! batch_norm {
    ($(#[$doc:meta])* $layer:ident: $ranks:pat, $needed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $layer(Norm);

        impl $layer {
            /// A layer with weight, bias and running statistics, momentum 0.1 and eps 1e-5.
            ///
            /// # Errors
            /// [`Error::Argument`] for no features, and the device's errors.
            pub fn new(device: &Device, init: &Init, num_features: usize) -> Result<$layer> {
                $layer::builder(num_features).build(device, init)
            }

            /// Describes a layer.
            pub fn builder(num_features: usize) -> BatchNormBuilder<$layer> {
                BatchNormBuilder::new(num_features)
            }

            fn check(x: &Var) -> Result<()> {
                if matches!(x.rank(), $ranks) {
                    return Ok(());
                }
                let message = format!("input has shape {}; needs {}", x.shape(), $needed);
                Err(Error::argument(stringify!($layer), message))
            }

            /// The scale of each channel, 1 at first.
            pub fn weight(&self) -> Option<&Parameter> {
                self.0.affine.as_ref().map(|[weight, _]| weight)
            }

            /// The shift of each channel, 0 at first.
            pub fn bias(&self) -> Option<&Parameter> {
                self.0.affine.as_ref().map(|[_, bias]| bias)
            }

            /// The running mean of each channel, 0 at first.
            pub fn running_mean(&self) -> Option<&Buffer> {
                self.0.running.as_ref().map(|running| &running.mean)
            }

            /// The running variance of each channel, 1 at first.
            pub fn running_var(&self) -> Option<&Buffer> {
                self.0.running.as_ref().map(|running| &running.var)
            }

            /// How many batches the running statistics have seen.
            pub fn num_batches_tracked(&self) -> Option<&Count> {
                self.0.running.as_ref().map(|running| &running.batches)
            }
        }

        impl Module for $layer {
            fn forward(&self, x: &Var) -> Result<Var> {
                $layer::check(x)?;
                self.0.forward(x, false)
            }

            fn relu_fusion(&self) -> ReluFusion {
                ReluFusion::Behind
            }

            fn forward_with_relu(&self, x: &Var) -> Result<Var> {
                $layer::check(x)?;
                self.0.forward(x, true)
            }

            fn visit(&self, v: &mut Visitor<'_>) {
                self.0.visit(v);
            }
        }

        impl Build for BatchNormBuilder<$layer> {
            type Module = $layer;

            fn build(self, device: &Device, init: &Init) -> Result<$layer> {
                self.norm(stringify!($layer), device, init).map($layer)
            }
        }
    };
}

batch_norm! {
    /// Batch norm of `[n, features]` or `[n, features, length]` (Ioffe & Szegedy 2015, "Batch Normalization"): see
    /// [`BatchNorm2d`].
    BatchNorm1d: 2 | 3, "[n, features] or [n, features, length]"
}

batch_norm! {
    /// Batch norm of `[n, features, h, w]` (Ioffe & Szegedy 2015, "Batch Normalization"): for each channel
    /// `y = (x - mean) / sqrt(var + eps) weight + bias`.
    ///
    /// On a tape for training, mean and variance are those of the batch, the variance over all `n h w` elements; the running
    /// statistics become `(1 - momentum) running + momentum batch`, with the variance over one element less. On a tape for
    /// evaluation, the running ones are used. They are buffers, under PyTorch's names: `running_mean`, `running_var`,
    /// `num_batches_tracked`.
    ///
    /// A layer that [`Module::freeze`] froze uses and keeps its running statistics in training too, as Keras's layer does and
    /// torchvision's `FrozenBatchNorm2d`. Freezing the weight and the bias alone ([`Parameter::set_frozen`]) leaves the
    /// statistics moving, as `requires_grad = False` does in PyTorch.
    ///
    /// ```
    /// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape;
    /// # use kiln_nn::{BatchNorm2d, Init, Module};
    /// # fn main() -> Result<(), kiln_nn::Error> {
    /// # let device = Device::open_default()?;
    /// let layer = BatchNorm2d::new(&device, &Init::seed(42), 1)?;
    /// let x = Tensor::from_slice(&device, [2, 1, 1, 2], &[1.0f32, 2.0, 3.0, 6.0])?;
    /// let y = layer.forward(&Tape::train().constant(x))?.to_vec::<f32>()?;
    /// // Mean 3, variance 14 / 4.
    /// assert!((y[3] - 3.0 / 3.5f32.sqrt()).abs() < 1e-5);
    /// let running = layer.running_mean().map(|mean| mean.value().to_vec::<f32>()).transpose()?;
    /// assert!((running.unwrap_or_default()[0] - 0.3).abs() < 1e-6);
    /// # Ok(()) }
    /// ```
    BatchNorm2d: 4, "[n, features, h, w]"
}
