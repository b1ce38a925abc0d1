//! Buffers: what a layer keeps besides its parameters. Saved and loaded with them, and never optimised.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kiln_tensor::{DType, Shape, Tensor};

use crate::error::{Error, Result};
use crate::parameter::Parameter;

/// A tensor that belongs to a layer's state but is not trained, such as the running mean of batch norm: a shared handle, as
/// [`Parameter`]. Clones are the same buffer.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    shape: Shape,
    dtype: DType,
    value: RwLock<Tensor>,
    frozen: AtomicBool,
}

impl Buffer {
    /// A new buffer with this value. The layer may write into the tensor's memory.
    pub fn new(value: Tensor) -> Buffer {
        let (shape, dtype) = (*value.shape(), value.dtype());
        Buffer(Arc::new(Inner { shape, dtype, value: RwLock::new(value), frozen: AtomicBool::new(false) }))
    }

    /// Its current value.
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

    /// Gives it another value. The layer may then write into this tensor's memory.
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
        // What writes in place needs elements in order.
        let value = value.contiguous()?;
        *self.0.value.write().unwrap_or_else(PoisonError::into_inner) = value;
        Ok(())
    }

    /// Whether the layer leaves it as it is in training too. Batch norm then normalises by it: see
    /// [`BatchNorm2d`](crate::BatchNorm2d).
    pub fn is_frozen(&self) -> bool {
        self.0.frozen.load(Ordering::Relaxed)
    }

    /// Freezes it or lets training change it again, from the next forward on.
    /// [`Module::freeze`](crate::Module::freeze) does so with all buffers of a layer.
    pub fn set_frozen(&self, frozen: bool) {
        self.0.frozen.store(frozen, Ordering::Relaxed);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        write!(f, "Buffer({}, {}{frozen})", self.0.shape, self.0.dtype)
    }
}

/// A whole number that belongs to a layer's state, such as the batches that batch norm has seen. It is kept on the host; in
/// files it is a scalar of `i64`, as PyTorch's. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Gives it another value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds 1 and returns the sum.
    pub(crate) fn increment(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One entry of a module's state, as [`Module::visit`](crate::Module::visit) names it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// What training changes.
    Parameter(Parameter),
    /// A tensor besides.
    Buffer(Buffer),
    /// A number besides.
    Count(Count),
}
