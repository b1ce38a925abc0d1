//! Adaptive pooling.

use kiln_autograd::Var;

use crate::error::Result;
use crate::layers::{Size2, parameterless};
use crate::module::{Module, Visitor};

macro_rules! adaptive {
    ($($(#[$doc:meta])* $layer:ident: $op:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $layer {
                output_size: [usize; 2],
            }

            impl $layer {
                /// Windows that make an image of this size, which is at least 1: the first forward tells.
                pub fn new(output_size: impl Into<Size2>) -> $layer {
                    $layer { output_size: output_size.into().0 }
                }
            }

            impl Module for $layer {
                fn forward(&self, x: &Var) -> Result<Var> {
                    // Windows of one element.
                    if x.shape().rank() == 4 && x.shape()[2..] == self.output_size {
                        return Ok(x.clone());
                    }
                    Ok(x.$op(self.output_size)?)
                }

                fn visit(&self, _: &mut Visitor<'_>) {}
            }

            parameterless!($layer);
        )*
    };
}

adaptive! {
    /// The mean of each of `output_size` windows that cover the image: `[n, c, h, w]` to `[n, c, h', w']`, whatever `h` and `w`
    /// are. Window `i` of `h'` has the rows from `floor(i h / h')` to before `ceil((i + 1) h / h')`. An image of that size already
    /// is the output, without a launch.
    AdaptiveAvgPool2d: adaptive_avg_pool2d;
    /// The largest of each of `output_size` windows; as [`AdaptiveAvgPool2d`].
    AdaptiveMaxPool2d: adaptive_max_pool2d;
}
