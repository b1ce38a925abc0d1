//! Variables: tensors with their place on a tape.

use std::fmt;

use kiln_tensor::{Axis, DType, Device, Element, Shape, Tensor};

use crate::error::Result;
use crate::rectifier::Rectifier;
use crate::tape::Tape;

/// A tensor and its place on a [`Tape`].
///
/// It has the differentiable operations of [`Tensor`] under the same names. Each computes at once and, where a gradient
/// can flow, records its derivative. Clones are the same variable and cost nothing.
#[derive(Clone)]
pub struct Var {
    tape: Tape,
    tensor: Tensor,
    // `None`: a constant.
    node: Option<usize>,
    // On a traced tape, the op that computed it.
    traced: Option<usize>,
    // The ReLU at the end of the op that computed it.
    rectifier: Option<Rectifier>,
}

impl Var {
    pub(crate) fn new(tape: Tape, tensor: Tensor, node: Option<usize>) -> Var {
        Var { tape, tensor, node, traced: None, rectifier: None }
    }

    pub(crate) fn traced(&self) -> Option<usize> {
        self.traced
    }

    pub(crate) fn with_traced(mut self, index: Option<usize>) -> Var {
        self.traced = index;
        self
    }

    pub(crate) fn node(&self) -> Option<usize> {
        self.node
    }

    /// The same, where a gradient flows back through the ReLU that it ended with.
    pub(crate) fn rectified_by(mut self, rectifier: Option<Rectifier>) -> Var {
        self.rectifier = rectifier.filter(|_| self.wants_gradient());
        self
    }

    /// It is read: by an op, or as the start of a backward.
    pub(crate) fn used(&self) {
        self.rectifier.iter().for_each(Rectifier::used);
    }

    /// Whether it is the result of a ReLU within an op, whose gradient the op that reads it may pass on.
    pub(crate) fn is_rectified(&self) -> bool {
        self.rectifier.is_some()
    }

    /// An op that was recorded passes on the gradient before its ReLU.
    pub(crate) fn passed(&self) {
        self.rectifier.iter().for_each(Rectifier::passed);
    }

    /// Its value.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Its value, where the place on the tape is no longer needed.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// The tape that it is on.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Whether backward computes a gradient for it: it is a leaf, or was computed from one on a tape that records.
    pub fn wants_gradient(&self) -> bool {
        self.node.is_some()
    }

    /// The same value as a constant: no gradient flows back through it.
    pub fn detach(&self) -> Var {
        self.tape.constant(self.tensor.clone())
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        self.tensor.device()
    }

    /// The sizes of its axes.
    pub fn shape(&self) -> &Shape {
        self.tensor.shape()
    }

    /// The number of its axes.
    pub fn rank(&self) -> usize {
        self.tensor.rank()
    }

    /// The number of its elements.
    pub fn numel(&self) -> usize {
        self.tensor.numel()
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// The sizes as an array, as [`Tensor::dims`].
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where the rank is another.
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        Ok(self.tensor.dims()?)
    }

    /// The size of one axis.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where there is no such axis.
    pub fn dim(&self, axis: impl Into<Axis>) -> Result<usize> {
        Ok(self.tensor.dim(axis)?)
    }

    /// The elements in row-major order, once the GPU is done.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        Ok(self.tensor.to_vec()?)
    }

    /// The value of a variable of one element, once the GPU is done.
    ///
    /// # Errors
    /// As [`Tensor::item`].
    pub fn item<T: Element>(&self) -> Result<T> {
        Ok(self.tensor.item()?)
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.wants_gradient() { "" } else { ", constant" };
        write!(f, "Var({}, {}{kind})", self.shape(), self.dtype())
    }
}
