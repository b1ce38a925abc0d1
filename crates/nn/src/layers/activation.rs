//! Activations.

use kiln_autograd::Var;

use crate::error::Result;
use crate::layers::parameterless;
use crate::module::{Module, ReluFusion, Visitor};

macro_rules! activation {
    ($($(#[$doc:meta])* $layer:ident: $op:ident, $fusion:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
            pub struct $layer;

            impl Module for $layer {
                fn forward(&self, x: &Var) -> Result<Var> {
                    Ok(x.$op()?)
                }

                fn relu_fusion(&self) -> ReluFusion {
                    ReluFusion::$fusion
                }

                fn visit(&self, _: &mut Visitor<'_>) {}
            }

            parameterless!($layer);
        )*
    };
}

activation! {
    /// `y = max(x, 0)`, for each element (Nair & Hinton 2010).
    ReLU: relu, Itself;
    /// `y = 1 / (1 + e^-x)`, for each element.
    Sigmoid: sigmoid, Apart;
    /// `y = tanh x`, for each element.
    Tanh: tanh, Apart;
}
