//! Comparisons and places of extremes. What they give is no number to differentiate, so it is a plain [`Tensor`].

use kiln_tensor::Tensor;

use crate::error::Result;
use crate::var::Var;

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl Var {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                #[doc = concat!("As [`Tensor::", stringify!($name), "`].")]
                pub fn $name(&self, other: &Var) -> Result<Tensor> {
                    Ok(self.tensor().$name(other.tensor())?)
                }
            )*
        }
    };
}

comparisons! {
    /// Where both are equal: 1, elsewhere 0.
    eq;
    /// Where they differ: 1, elsewhere 0.
    ne;
    /// Where this is less: 1, elsewhere 0.
    lt;
    /// Where this is less or equal: 1, elsewhere 0.
    le;
    /// Where this is greater: 1, elsewhere 0.
    gt;
    /// Where this is greater or equal: 1, elsewhere 0.
    ge;
}

impl Var {
    /// Where the largest is: [`Tensor::argmax`].
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    pub fn argmax(&self, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        Ok(self.tensor().argmax(dims, keepdim)?)
    }

    /// Where the smallest is: [`Tensor::argmin`].
    ///
    /// # Errors
    /// As [`Tensor::argmin`].
    pub fn argmin(&self, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        Ok(self.tensor().argmin(dims, keepdim)?)
    }
}
