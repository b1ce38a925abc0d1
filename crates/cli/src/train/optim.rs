//! The optimizer of `kiln train`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use kiln_nn::{Adam, AdamW, Optimizer, Parameters, RMSprop, Sgd};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub(crate) enum OptimName {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// Adam
    Adam,
    /// Adam with decoupled weight decay
    AdamW,
    /// RMSprop
    RmsProp,
}

impl OptimName {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OptimName::Sgd => "sgd",
            OptimName::Adam => "adam",
            OptimName::AdamW => "adamw",
            OptimName::RmsProp => "rmsprop",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Optimizer")]
pub(crate) struct OptimArgs {
    /// The optimizer [default: adamw]
    #[arg(long, value_enum)]
    pub(crate) optim: Option<OptimName>,
    /// The largest learning rate [default: 0.001, sgd 0.05; a tenth of it for images of 64 pixels or more, and for --pretrained
    /// weights unless only a new last layer is trained]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// How strongly weights are drawn to 0 [default: 0.01 for adamw, 0.0005 for sgd, else 0]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub(crate) weight_decay: Option<f64>,
    /// How much of the last step's direction is kept, for sgd and rmsprop [default: 0.9 for sgd, 0 for rmsprop]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) momentum: Option<f64>,
    /// Nesterov's form of momentum, for sgd
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) nesterov: Option<bool>,
    /// The decay of the means of gradients and of their squares, for adam and adamw [default: 0.9,0.999]
    #[arg(long, value_name = "BETA1,BETA2", value_delimiter = ',', num_args = 1)]
    pub(crate) betas: Option<Vec<f64>>,
    /// The decay of the mean of squares, for rmsprop [default: 0.99]
    #[arg(long, value_name = "PART", allow_negative_numbers = true)]
    pub(crate) alpha: Option<f64>,
    /// Take the mean off before squaring, for rmsprop
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) centered: Option<bool>,
    /// What keeps divisions from being by 0, for all but sgd [default: 1e-8]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) eps: Option<f64>,
    /// Scale the gradients so that together they are at most this long
    #[arg(long, value_name = "LENGTH", allow_negative_numbers = true)]
    pub(crate) clip_norm: Option<f64>,
    /// Bound each element of the gradients by this size
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(crate) clip_value: Option<f64>,
    /// Batches that make one step together [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) accumulate: Option<u64>,
    /// Keep an exponential moving average of the weights with this decay, and evaluate and save that; 0.999 is usual
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub(crate) ema: Option<f64>,
    /// Let the decay of --ema rise from 0, so that a short run does not average in its first weights: after t updates it is at
    /// most 1 - (1 + t)^(-2/3), as in timm; 0.9 after 31, 0.99 after 999, 0.999 after 31,622 [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) ema_warmup: Option<bool>,
}

impl OptimArgs {
    /// With defaults where nothing is given; `rate` scales the default learning rate.
    pub(crate) fn resolve(&self, rate: f64) -> OptimArgs {
        let optim = self.optim.unwrap_or(OptimName::AdamW);
        let sgd = optim == OptimName::Sgd;
        let adam = matches!(optim, OptimName::Adam | OptimName::AdamW);
        let decay = match optim {
            OptimName::AdamW => 0.01,
            OptimName::Sgd => 5e-4,
            OptimName::Adam | OptimName::RmsProp => 0.0,
        };
        OptimArgs {
            optim: Some(optim),
            // Written as a person would: 0.0001, not 0.00010000000000000002.
            lr: self.lr.or(Some(if sgd { 0.05 } else { 0.001 } / rate)),
            weight_decay: self.weight_decay.or(Some(decay)),
            momentum: self.momentum.or(match optim {
                OptimName::Sgd => Some(0.9),
                OptimName::RmsProp => Some(0.0),
                OptimName::Adam | OptimName::AdamW => None,
            }),
            betas: self.betas.clone().or(adam.then(|| vec![0.9, 0.999])),
            alpha: self.alpha.or((optim == OptimName::RmsProp).then_some(0.99)),
            eps: self.eps.or((!sgd).then_some(1e-8)),
            accumulate: self.accumulate.or(Some(1)),
            ema_warmup: self.ema_warmup.or(self.ema.map(|_| true)),
            ..self.clone()
        }
    }

    /// Options that the chosen optimizer does not have, with those that do.
    pub(crate) fn misplaced(&self) -> Option<(&'static str, &'static str)> {
        let optim = self.optim.unwrap_or(OptimName::AdamW);
        let adam = matches!(optim, OptimName::Adam | OptimName::AdamW);
        let (sgd, rmsprop) = (optim == OptimName::Sgd, optim == OptimName::RmsProp);
        [
            ("momentum", self.momentum.is_some() && adam, "--optim sgd or rmsprop"),
            ("nesterov", self.nesterov.is_some() && !sgd, "--optim sgd"),
            ("betas", self.betas.is_some() && !adam, "--optim adam or adamw"),
            ("alpha", self.alpha.is_some() && !rmsprop, "--optim rmsprop"),
            ("centered", self.centered.is_some() && !rmsprop, "--optim rmsprop"),
            ("eps", self.eps.is_some() && sgd, "--optim adam, adamw or rmsprop"),
            ("ema-warmup", self.ema_warmup.is_some() && self.ema.is_none(), "runs with --ema"),
        ]
        .into_iter()
        .find_map(|(option, misplaced, needed)| misplaced.then_some((option, needed)))
    }

    /// The optimizer; the settings are resolved.
    pub(crate) fn build(&self, parameters: Parameters) -> Result<Box<dyn Optimizer>> {
        let OptimArgs { optim: Some(optim), lr: Some(lr), weight_decay: Some(decay), .. } = *self else {
            bail!("the optimizer's settings are not complete");
        };
        let momentum = self.momentum.unwrap_or(0.0);
        let eps = self.eps.unwrap_or(1e-8);
        let betas = match self.betas.as_deref() {
            Some(&[first, second]) => (first, second),
            _ => (0.9, 0.999),
        };
        Ok(match optim {
            OptimName::Sgd => {
                let nesterov = self.nesterov == Some(true);
                Box::new(Sgd::new(parameters, lr).momentum(momentum).nesterov(nesterov).weight_decay(decay))
            }
            OptimName::Adam => Box::new(Adam::new(parameters, lr).betas(betas.0, betas.1).eps(eps).weight_decay(decay)),
            OptimName::AdamW => {
                Box::new(AdamW::new(parameters, lr).betas(betas.0, betas.1).eps(eps).weight_decay(decay))
            }
            OptimName::RmsProp => {
                let optim = RMSprop::new(parameters, lr).alpha(self.alpha.unwrap_or(0.99)).eps(eps);
                Box::new(optim.momentum(momentum).centered(self.centered == Some(true)).weight_decay(decay))
            }
        })
    }
}
