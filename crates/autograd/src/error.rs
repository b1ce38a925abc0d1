//! What can be wrong with a tape.

use std::fmt;

use kiln_tensor::{DType, GpuError, Shape, Tensor};

use crate::gradcheck::Slope;
use crate::watch::Layer;

/// The result of an operation on variables.
pub type Result<T> = std::result::Result<T, Error>;

/// So that `?` takes a device's error too.
impl From<GpuError> for Error {
    fn from(error: GpuError) -> Error {
        Error::Tensor(error.into())
    }
}

/// The type and the shape of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The type of its elements.
    pub dtype: DType,
    /// The sizes of its axes.
    pub shape: Shape,
}

impl Form {
    pub(crate) fn of(tensor: &Tensor) -> Form {
        Form { dtype: tensor.dtype(), shape: *tensor.shape() }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dtype, self.shape)
    }
}

/// An error of the tape or of an operation on variables. Its text names the op, what was given, what is needed and what
/// to change.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tensor operation itself failed.
    #[error(transparent)]
    Tensor(#[from] kiln_tensor::Error),
    /// The inputs of an op were recorded by different tapes.
    #[error(
        "{op}: inputs of two tapes; put all of them on one tape, or take a value over as a constant: \
         tape.constant(x.tensor().clone())"
    )]
    TwoTapes {
        /// The operation.
        op: &'static str,
    },
    /// A leaf whose elements are not floats was used where a gradient would have to flow.
    #[error(
        "{op}: input {input} is a leaf of {dtype}, and only floats have gradients; pass it as tape.constant, or \
         convert it by to_dtype before tape.leaf"
    )]
    NotFloat {
        /// The operation.
        op: &'static str,
        /// Which of its inputs, from 0.
        input: usize,
        /// The type of its elements.
        dtype: DType,
    },
    /// Backward from a tensor of several elements.
    #[error(
        "backward: the start has shape {shape}; needs a single element: reduce it by sum or mean, or pass its \
         gradient to backward_with"
    )]
    NotScalar {
        /// Where backward was to start.
        shape: Shape,
    },
    /// The gradient that starts backward does not fit.
    #[error(
        "backward_with: a gradient of {given} for a start of {needed}; pass a tensor of the start's shape and type"
    )]
    Start {
        /// What was passed.
        given: Box<Form>,
        /// The form of the variable where backward was to start.
        needed: Box<Form>,
    },
    /// Backward from a variable that does not depend on any leaf.
    #[error(
        "backward: the start depends on constants only; make what should get a gradient by tape.leaf or \
         tape.parameter and check that it is not frozen"
    )]
    Constant,
    /// Backward on a tape that does not record.
    #[error("backward: the tape is Tape::eval(), which records nothing; run the forward on Tape::train()")]
    EvalTape,
    /// A second backward through the same nodes.
    #[error(
        "backward: {op} was passed by an earlier backward, and what it had saved is freed; add the losses and call \
         backward once, or run the forward again on a new tape"
    )]
    Consumed {
        /// The operation that was reached a second time.
        op: &'static str,
    },
    /// A saved tensor was written to between forward and backward.
    #[error(
        "a tensor that the gradient needs was modified in place after it was saved: call backward before optim.step, \
         and run the forward again after it"
    )]
    Modified,
    /// A rule asked for a tensor that was saved only in case the gradient of another input is wanted.
    #[error("the rule reads a tensor that it did not save; pass the same condition to Saved::when as the rule tests")]
    NotSaved,
    /// A gradient is wanted for an input that the op is not differentiable in.
    #[error(
        "backward: {op} is not differentiable in input {input}; pass that input as tape.constant, or use an op that \
         has a derivative"
    )]
    NotDifferentiable {
        /// The operation.
        op: &'static str,
        /// Which of its inputs, from 0.
        input: usize,
    },
    /// A rule gave another number of gradients than the op has inputs.
    #[error("backward: the rule of {op} gave {given} gradients; needs {needed}, one for each input in their order")]
    GradientCount {
        /// The operation.
        op: &'static str,
        /// How many the rule gave.
        given: usize,
        /// How many inputs the op has.
        needed: usize,
    },
    /// A rule gave a gradient that does not fit the input.
    #[error(
        "backward: the rule of {op} gave {given} as the gradient of input {input}, which is {needed}; needs the \
         input's type and its shape or one that it broadcasts to"
    )]
    GradientShape {
        /// The operation.
        op: &'static str,
        /// Which of its inputs, from 0.
        input: usize,
        /// The form of the gradient.
        given: Box<Form>,
        /// The form of the input.
        needed: Box<Form>,
    },
    /// The first result or gradient that is not finite, of a tape that looks for one
    /// ([`Tape::detect_anomaly`](crate::Tape::detect_anomaly)).
    #[error("{op}{layer}: {what} has {found}; the inputs are {inputs}")]
    NotFinite {
        /// The operation.
        op: &'static str,
        /// The layer that it ran in.
        layer: Layer,
        /// The result, or the gradient of an input, with its type and shape.
        what: String,
        /// What it has.
        found: &'static str,
        /// Types and shapes of the inputs, and which of them are not finite either.
        inputs: String,
    },
    /// A rule failed.
    #[error("backward of {op}: {source}")]
    Rule {
        /// The operation.
        op: &'static str,
        /// What failed in its rule.
        source: Box<Error>,
    },
    /// The gradients of a function are not its slopes.
    #[error(
        "gradcheck: {worst}, which is more than {tolerance:.1e}; check the rule of each op, and that no input lies at \
         a kink"
    )]
    Gradcheck {
        /// The input and direction where they lie furthest apart.
        worst: Slope,
        /// How far apart they may lie.
        tolerance: f64,
    },
    /// An argument out of its range.
    #[error("{op}: {message}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// What was given, what is needed, what to change.
        message: String,
    },
}
