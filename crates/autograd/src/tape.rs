//! The tape: which op made which variable out of which others, and how gradients flow back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_tensor::{Random, Tensor};

use crate::error::{Error, Form, Result};
use crate::var::Var;
use crate::watch::Watch;

/// The gradient of one input of an op, as its rule states it. There is no default.
#[derive(Debug, Clone)]
pub enum Gradient {
    /// This tensor, of the input's type, and of its shape or one that it broadcasts to: the walk sums it down.
    Tensor(Tensor),
    /// Zero everywhere, as the gradient of `floor`. Also what a rule answers for an input that is not wanted.
    Zero,
    /// None: the walk ends with [`Error::NotDifferentiable`] if it is wanted.
    NotDifferentiable,
}

impl From<Tensor> for Gradient {
    fn from(tensor: Tensor) -> Gradient {
        Gradient::Tensor(tensor)
    }
}

impl Gradient {
    /// The gradient that `rule` computes if it is `wanted`, else [`Gradient::Zero`] without computing anything.
    ///
    /// # Errors
    /// Those of `rule`.
    pub fn when(wanted: bool, rule: impl FnOnce() -> Result<Tensor>) -> Result<Gradient> {
        if wanted { rule().map(Gradient::Tensor) } else { Ok(Gradient::Zero) }
    }
}

/// From the gradient of the output, and for each input whether its gradient is wanted, to the gradients of the inputs.
pub(crate) type Rule = Box<dyn FnOnce(&Tensor, &[bool]) -> Result<Vec<Gradient>> + Send>;

pub(crate) enum Source {
    /// A leaf, with the id of the parameter that it stands for.
    Leaf(Option<u64>),
    /// The output of an op.
    Op(Rule),
    /// The output of an op that a backward has passed.
    Consumed,
}

/// What made an input, as a node needs it in backward.
pub(crate) struct Input {
    /// `None` where no gradient is wanted.
    pub(crate) node: Option<usize>,
    pub(crate) form: Form,
}

pub(crate) struct Node {
    pub(crate) op: &'static str,
    /// The layer under which a profile files its launches, forward and backward.
    pub(crate) scope: Option<String>,
    pub(crate) source: Source,
    pub(crate) inputs: Box<[Input]>,
    /// Of its output.
    pub(crate) form: Form,
}

#[derive(Default)]
pub(crate) struct Nodes {
    pub(crate) list: Vec<Node>,
    parameters: BTreeMap<u64, (usize, Tensor)>,
}

struct Inner {
    id: u64,
    training: bool,
    seed: u64,
    streams: AtomicU64,
    // Nodes refer to each other by index: neither the walk nor the drop of a long chain recurses.
    nodes: Mutex<Nodes>,
    watch: Watch,
}

/// A record of one forward pass, from which [`Var::backward`] computes gradients.
///
/// A tape serves one step: make one, run the model on variables of it, call backward, drop it. Clones are the same
/// tape. It knows training from evaluation, which is what [`Var::dropout`] asks for, and owns the step's random
/// numbers: there is no global mode.
///
/// ```
/// use kiln_autograd::Tape;
/// use kiln_tensor::{Device, Tensor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::open_default()?;
/// let tape = Tape::train();
/// let x = tape.leaf(Tensor::from_slice(&device, [1], &[3.0f32])?);
/// let y = x.reshape(())?;
/// let gradients = y.backward()?;
/// assert_eq!(gradients.get(&x).map(|dx| dx.to_vec::<f32>()).transpose()?, Some(vec![1.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tape(Arc<Inner>);

/// Tells tapes apart, and gives those without a seed of their own one that no other tape of the process has.
static TAPES: AtomicU64 = AtomicU64::new(0);

impl Tape {
    fn new(training: bool, seed: Option<u64>) -> Tape {
        let id = TAPES.fetch_add(1, Ordering::Relaxed);
        Tape(Arc::new(Inner {
            id,
            training,
            seed: seed.unwrap_or(id),
            streams: AtomicU64::new(0),
            nodes: Mutex::default(),
            watch: Watch::default(),
        }))
    }

    /// A tape that records, for a training step. Its random numbers are those of a seed that no other tape of this
    /// process has, so that each step drops other elements; where they must not depend on how many tapes were made
    /// before, pass a seed to [`Tape::train_seeded`].
    pub fn train() -> Tape {
        Tape::new(true, None)
    }

    /// A tape that records, and whose random numbers follow from `seed`: pass another seed in each step, for example
    /// the run's seed plus the number of the step. The same seed gives the same numbers on every adapter.
    pub fn train_seeded(seed: u64) -> Tape {
        Tape::new(true, Some(seed))
    }

    /// A tape that records nothing: what an op does not return is free at once, dropout does nothing, backward is an
    /// error.
    pub fn eval() -> Tape {
        Tape::new(false, None)
    }

    /// Whether it records.
    pub fn is_training(&self) -> bool {
        self.0.training
    }

    /// The seed of its random numbers.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Random numbers that no op of this tape had before: those of its seed, and of the streams 0, 1, 2, ...
    pub fn next_random(&self) -> Random {
        Random { seed: self.0.seed, stream: self.0.streams.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether both are the same tape.
    pub fn same(&self, other: &Tape) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many ops and leaves it has recorded.
    pub fn recorded(&self) -> usize {
        self.nodes().list.len()
    }

    /// A variable that wants no gradient: a batch of images, a mask.
    pub fn constant(&self, tensor: Tensor) -> Var {
        Var::new(self.clone(), tensor, None)
    }

    /// A variable that wants a gradient. On a tape for evaluation it is a constant.
    ///
    /// The tensor must be of floats; the first op that meets a leaf of integers says so ([`Error::NotFloat`]).
    pub fn leaf(&self, tensor: Tensor) -> Var {
        if !self.is_training() {
            return self.constant(tensor);
        }
        let node = push_leaf(&mut self.nodes(), None, &tensor);
        Var::new(self.clone(), tensor, Some(node))
    }

    /// The leaf that stands for the parameter `id`: made at the first call, the same at every later one, so that a
    /// parameter used twice gets one gradient, the sum. [`Gradients::of`](crate::Gradients::of) finds it by the id.
    pub fn parameter(&self, id: u64, tensor: &Tensor) -> Var {
        if !self.is_training() {
            return self.constant(tensor.clone());
        }
        let mut nodes = self.nodes();
        if let Some((node, first)) = nodes.parameters.get(&id) {
            return Var::new(self.clone(), first.clone(), Some(*node));
        }
        let node = push_leaf(&mut nodes, Some(id), tensor);
        nodes.parameters.insert(id, (node, tensor.clone()));
        Var::new(self.clone(), tensor.clone(), Some(node))
    }

    /// Records an op: `output` was computed from `inputs`, and `rule` computes the inputs' gradients.
    ///
    /// `rule(dy, wants)` gets the gradient of the output, of its shape and type, and for each input whether its
    /// gradient is wanted. It returns one [`Gradient`] for each input, in their order. It runs at most once, and is
    /// dropped without being run where no input wants a gradient or the tape is one for evaluation. It keeps tensors in
    /// [`Saved`](crate::Saved), and must not keep a [`Var`]: that would keep its own tape alive.
    ///
    /// Broadcasting's sum and the sum over several uses are not the rule's business.
    ///
    /// ```
    /// use kiln_autograd::{Gradient, Result, Saved, Var};
    ///
    /// /// `y = x * x * x`
    /// fn cube(x: &Var) -> Result<Var> {
    ///     let y = x.tensor().mul(x.tensor())?.mul(x.tensor())?;
    ///     let saved = Saved::new(x.tensor());
    ///     x.tape().record("cube", &[x], y, move |dy, _| {
    ///         let x = saved.get()?;
    ///         Ok(vec![Gradient::Tensor(dy.mul(&x.mul(x)?)?.mul_scalar(3.0)?)])
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::TwoTapes`] where an input is of another tape, [`Error::NotFloat`] where a leaf of integers would need a
    /// gradient.
    pub fn record(
        &self,
        op: &'static str,
        inputs: &[&Var],
        output: Tensor,
        rule: impl FnOnce(&Tensor, &[bool]) -> Result<Vec<Gradient>> + Send + 'static,
    ) -> Result<Var> {
        if inputs.iter().any(|input| !self.same(input.tape())) {
            return Err(Error::TwoTapes { op });
        }
        let traced = self.0.watch.see(op, inputs, &output)?;
        let wanted = inputs.iter().any(|input| input.wants_gradient());
        // Integers carry no gradient: whatever is computed from them starts anew.
        if !self.is_training() || !wanted || !output.dtype().is_float() {
            return Ok(self.constant(output).with_traced(traced));
        }
        if let Some(input) = inputs.iter().position(|var| var.wants_gradient() && !var.dtype().is_float()) {
            return Err(Error::NotFloat { op, input, dtype: inputs[input].dtype() });
        }
        inputs.iter().for_each(|input| input.used());
        let node = Node {
            op,
            scope: self.0.watch.layer().or_else(|| output.device().current_scope()),
            source: Source::Op(Box::new(rule)),
            inputs: inputs.iter().map(|input| Input { node: input.node(), form: Form::of(input.tensor()) }).collect(),
            form: Form::of(&output),
        };
        let mut nodes = self.nodes();
        nodes.list.push(node);
        let index = nodes.list.len() - 1;
        drop(nodes);
        Ok(Var::new(self.clone(), output, Some(index)).with_traced(traced))
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.0.watch
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_leaf(nodes: &mut Nodes, parameter: Option<u64>, tensor: &Tensor) -> usize {
    nodes.list.push(Node {
        op: "leaf",
        scope: None,
        source: Source::Leaf(parameter),
        inputs: Box::default(),
        form: Form::of(tensor),
    });
    nodes.list.len() - 1
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_training() { "train" } else { "eval" };
        write!(f, "Tape({mode}, seed {}, {} recorded)", self.seed(), self.recorded())
    }
}
