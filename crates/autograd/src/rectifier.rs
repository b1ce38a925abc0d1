//! Who computes the gradient of a ReLU that was part of another op.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_tensor::Tensor;
use kiln_tensor::ops::pointwise::gradient::relu_grad;

use crate::error::Result;
use crate::saved::Saved;

/// The ReLU at the end of an op. Ops that read its result, and have it at hand in backward, can pass on the gradient before the
/// ReLU in their own launches. Only if all of them do, nothing is left to the op itself.
#[derive(Debug, Clone)]
pub(crate) struct Rectifier {
    result: Saved,
    uses: Arc<Uses>,
}

#[derive(Debug, Default)]
struct Uses {
    all: AtomicUsize,
    passing: AtomicUsize,
}

impl Rectifier {
    /// That of an op with this result, if it ends with a ReLU.
    pub(crate) fn when(relu: bool, result: &Tensor) -> Option<Rectifier> {
        relu.then(|| Rectifier { result: Saved::new(result), uses: Arc::default() })
    }

    /// Something reads the result.
    pub(crate) fn used(&self) {
        self.uses.all.fetch_add(1, Ordering::Relaxed);
    }

    /// One of those that read it passes on the gradient before the ReLU.
    pub(crate) fn passed(&self) {
        self.uses.passing.fetch_add(1, Ordering::Relaxed);
    }

    /// The gradient before the ReLU, of what arrived; `dy` itself without a ReLU.
    pub(crate) fn before(rectifier: Option<&Rectifier>, dy: &Tensor) -> Result<Tensor> {
        match rectifier {
            Some(Rectifier { result, uses })
                if uses.all.load(Ordering::Relaxed) > uses.passing.load(Ordering::Relaxed) =>
            {
                Ok(relu_grad(result.get()?, dy)?)
            }
            _ => Ok(dy.clone()),
        }
    }
}
