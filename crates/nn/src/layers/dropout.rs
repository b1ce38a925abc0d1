//! Dropout.

use kiln_autograd::Var;

use crate::error::{Error, Result};
use crate::layers::parameterless;
use crate::module::{Module, Visitor};

macro_rules! dropout {
    ($(#[$doc:meta])* $layer:ident: $op:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $layer {
            p: f64,
        }

        impl $layer {
            /// Drops with probability `p`.
            ///
            /// # Errors
            /// [`Error::Argument`] unless `0 <= p <= 1`.
            pub fn new(p: f64) -> Result<$layer> {
                if !(0.0..=1.0).contains(&p) {
                    return Err(Error::argument(stringify!($layer), format!("p = {p}; pass a probability from 0 to 1")));
                }
                Ok($layer { p })
            }

            /// The probability.
            pub fn p(&self) -> f64 {
                self.p
            }
        }

        impl Module for $layer {
            fn forward(&self, x: &Var) -> Result<Var> {
                Ok(x.$op(self.p)?)
            }

            fn visit(&self, _: &mut Visitor<'_>) {}
        }

        parameterless!($layer);
    };
}

dropout! {
    /// In training, each element is 0 with probability `p` and `x / (1 - p)` otherwise; in evaluation `y = x` (Srivastava et al. 2014,
    /// "Dropout"). The tape knows which of the two it is, and owns the random numbers.
    Dropout: dropout
}

dropout! {
    /// As [`Dropout`], of whole channels of `[n, channels, ..]` (Tompson et al. 2015): neighbouring pixels tell the same, so
    /// that dropping single ones changes little.
    Dropout2d: dropout2d
}
