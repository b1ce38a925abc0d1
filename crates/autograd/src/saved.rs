//! Tensors kept from forward for backward.

use kiln_tensor::Tensor;

use crate::error::{Error, Result};

/// A tensor that a rule keeps from forward for backward, with the state of its memory at that time.
///
/// A rule owns what it saved, and is dropped as soon as it ran: so is what it saved. If the tensor was written to in
/// place in between (an optimizer's step), [`Saved::get`] is an error instead of a wrong gradient.
#[derive(Debug, Clone)]
pub struct Saved(Option<(Tensor, u64)>);

impl Saved {
    /// Keeps a tensor.
    pub fn new(tensor: &Tensor) -> Saved {
        Saved(Some((tensor.clone(), tensor.version())))
    }

    /// Keeps a tensor if `wanted`, which is whether the gradient that needs it is wanted
    /// ([`Var::wants_gradient`](crate::Var::wants_gradient)): memory that no rule will read is free at once.
    pub fn when(wanted: bool, tensor: &Tensor) -> Saved {
        if wanted { Saved::new(tensor) } else { Saved(None) }
    }

    /// The tensor.
    ///
    /// # Errors
    /// [`Error::Modified`] where its memory was written to since; [`Error::NotSaved`] where [`Saved::when`] did not
    /// keep it.
    pub fn get(&self) -> Result<&Tensor> {
        match &self.0 {
            Some((tensor, version)) if tensor.version() == *version => Ok(tensor),
            Some(_) => Err(Error::Modified),
            None => Err(Error::NotSaved),
        }
    }
}
