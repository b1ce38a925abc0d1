//! Comparisons and places of extremes. What they give is no number to differentiate, so it is a plain [`Tensor`].

use kiln_tensor::{Axes, Tensor};

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
    pub fn argmax(&self, dims: impl Into<Axes>) -> Result<Tensor> {
        Ok(self.tensor().argmax(dims)?)
    }

    /// As [`Var::argmax`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::argmax`].
    pub fn argmax_keepdim(&self, dims: impl Into<Axes>) -> Result<Tensor> {
        Ok(self.tensor().argmax_keepdim(dims)?)
    }

    /// Where the smallest is: [`Tensor::argmin`].
    ///
    /// # Errors
    /// As [`Tensor::argmin`].
    pub fn argmin(&self, dims: impl Into<Axes>) -> Result<Tensor> {
        Ok(self.tensor().argmin(dims)?)
    }

    /// As [`Var::argmin`], and the axes stay, with size 1.
    ///
    /// # Errors
    /// As [`Tensor::argmin`].
    pub fn argmin_keepdim(&self, dims: impl Into<Axes>) -> Result<Tensor> {
        Ok(self.tensor().argmin_keepdim(dims)?)
    }
}
