//! Parameters: the tensors of a network that training changes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kiln_autograd::{Gradients, Tape, Var};
use kiln_tensor::{DType, Shape, Tensor};

use crate::error::{Error, Result};

/// A tensor that training changes: a shared handle. Clones are the same parameter, so an optimizer and a model hold the
/// same values, and two layers can share one weight.
///
/// Its name is not its own: it is where the model keeps it, as [`Module::visit`](crate::Module::visit) tells.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape; use kiln_nn::Parameter;
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let weight = Parameter::new(Tensor::ones(&device, [3], DType::F32)?);
/// let tape = Tape::train();
/// let loss = weight.on(&tape).square()?.sum(..)?;
/// let gradients = loss.backward()?;
/// assert_eq!(weight.gradient(&gradients).map(|dw| dw.to_vec::<f32>()).transpose()?, Some(vec![2.0; 3]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Parameter(Arc<Inner>);

struct Inner {
    id: u64,
    shape: Shape,
    dtype: DType,
    value: RwLock<Tensor>,
    frozen: AtomicBool,
}

/// The next parameter's id.
static IDS: AtomicU64 = AtomicU64::new(0);

impl Parameter {
    /// A new parameter with this value. Training writes into the tensor's memory.
    pub fn new(value: Tensor) -> Parameter {
        Parameter(Arc::new(Inner {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            shape: *value.shape(),
            dtype: value.dtype(),
            value: RwLock::new(value),
            frozen: AtomicBool::new(false),
        }))
    }

    /// A number that no other parameter of the process has. Tapes and gradients know the parameter by it.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Its current value. An optimizer's step changes it in place.
    pub fn value(&self) -> Tensor {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sizes of its axes.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The number of its elements.
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// Gives it another value. Training then writes into this tensor's memory.
    ///
    /// # Errors
    /// [`Error::ParameterValue`] for another shape or type.
    pub fn set(&self, value: Tensor) -> Result<()> {
        if *value.shape() != self.0.shape || value.dtype() != self.0.dtype {
            return Err(Error::ParameterValue {
                given: *value.shape(),
                given_dtype: value.dtype(),
                needed: self.0.shape,
                needed_dtype: self.0.dtype,
            });
        }
        // In-place updates need elements in order.
        let value = value.contiguous()?;
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        Ok(())
    }

    /// The parameter as a variable: the same leaf however often a tape is asked, and a constant while it is frozen.
    pub fn on(&self, tape: &Tape) -> Var {
        let value = self.value();
        if self.is_frozen() { tape.constant(value) } else { tape.parameter(self.0.id, &value) }
    }

    /// Its gradient, if backward computed one.
    pub fn gradient<'a>(&self, gradients: &'a Gradients) -> Option<&'a Tensor> {
        gradients.of(self.0.id)
    }

    /// Whether it is kept as it is: no gradient is computed for it, and optimizers pass it by.
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// Freezes it or lets it be trained again. Takes effect from the next forward on.
    pub fn set_frozen(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::Relaxed);
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        write!(f, "Parameter({}, {}, {}{frozen})", self.0.id, self.0.shape, self.0.dtype)
    }
}
