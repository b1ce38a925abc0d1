//! The walk from a loss back to the leaves.

use kiln_tensor::{Shape, Tensor};

use crate::error::{Error, Form, Result};
use crate::gradients::Gradients;
use crate::tape::{Gradient, Node, Rule, Source};
use crate::var::Var;
use crate::watch::see_gradient;

/// What has arrived at a node so far.
#[derive(Clone)]
enum Slot {
    /// Nothing: the loss does not depend on it.
    Unreached,
    /// Only zeros.
    Zero,
    /// The sum of what arrived.
    Sum(Tensor),
}

/// A node as the walk takes it from the tape.
enum Step {
    Leaf(Option<u64>, Form),
    Op(Node, Rule),
}

impl Var {
    /// The gradients of this value with respect to the leaves that it depends on.
    ///
    /// Walks the tape from last to first; what an op had saved is free as soon as the walk has passed it, so that a
    /// graph can be walked once. Nothing waits for the GPU.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let x = tape.leaf(Tensor::from_slice(&device, [2], &[3.0f32, 4.0])?);
    /// let loss = x.mul(&x)?.sum(..)?;
    /// let gradients = loss.backward()?;
    /// assert_eq!(gradients.get(&x).map(|dx| dx.to_vec::<f32>()).transpose()?, Some(vec![6.0, 8.0]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotScalar`] where it has several elements, [`Error::Constant`] and [`Error::EvalTape`] where nothing
    /// was recorded, [`Error::Consumed`] where a backward has passed before, [`Error::NotDifferentiable`] where the
    /// walk reaches an op without a derivative, [`Error::Rule`] where a rule fails, among others since a saved tensor
    /// was modified in place.
    pub fn backward(&self) -> Result<Gradients> {
        self.check_start()?;
        if self.numel() != 1 {
            return Err(Error::NotScalar { shape: *self.shape() });
        }
        // Written, not computed: a launch less.
        let one = Tensor::from_slice(self.device(), *self.shape(), &[1.0f32])?.to_dtype(self.dtype())?;
        self.walk(one)
    }

    /// As [`Var::backward`], from a value of any shape: the gradients of `sum(self * dy)`.
    ///
    /// # Errors
    /// [`Error::Start`] where `dy` has another shape or type; as [`Var::backward`].
    pub fn backward_with(&self, dy: &Tensor) -> Result<Gradients> {
        self.check_start()?;
        if Form::of(dy) != Form::of(self.tensor()) {
            return Err(Error::Start { given: Box::new(Form::of(dy)), needed: Box::new(Form::of(self.tensor())) });
        }
        self.walk(dy.clone())
    }

    fn check_start(&self) -> Result<()> {
        match (self.tape().is_training(), self.wants_gradient()) {
            (false, _) => Err(Error::EvalTape),
            (true, false) => Err(Error::Constant),
            (true, true) => Ok(()),
        }
    }

    fn walk(&self, dy: Tensor) -> Result<Gradients> {
        self.used();
        let device = self.device();
        let mut gradients = Gradients::new(self.tape().id());
        let Some(last) = self.node() else { return Err(Error::Constant) };
        let mut slots = vec![Slot::Unreached; last + 1];
        slots[last] = Slot::Sum(dy);
        while let Some(slot) = slots.pop() {
            if matches!(slot, Slot::Unreached) {
                continue;
            }
            // After the pop, the length is the index of what was popped.
            match self.take(slots.len())? {
                Step::Leaf(parameter, form) => {
                    let gradient = match slot {
                        Slot::Sum(gradient) => gradient,
                        _ => Tensor::zeros(device, form.shape, form.dtype)?,
                    };
                    gradients.insert(slots.len(), parameter, gradient);
                }
                Step::Op(node, rule) => {
                    let _layer = node.scope.as_deref().map(|layer| device.scope(layer));
                    node.pass_on(rule, slot, &mut slots, self.tape().watch().detects())?;
                }
            }
        }
        Ok(gradients)
    }

    /// Takes a node's rule from the tape. The lock is not held while the rule runs, which may use the tape itself.
    fn take(&self, index: usize) -> Result<Step> {
        let mut nodes = self.tape().nodes();
        let node = &mut nodes.list[index];
        if let Source::Leaf(parameter) = node.source {
            return Ok(Step::Leaf(parameter, node.form));
        }
        match std::mem::replace(&mut node.source, Source::Consumed) {
            Source::Op(rule) => {
                let taken = Node {
                    op: node.op,
                    scope: node.scope.take(),
                    source: Source::Consumed,
                    inputs: std::mem::take(&mut node.inputs),
                    form: node.form,
                };
                Ok(Step::Op(taken, rule))
            }
            _ => Err(Error::Consumed { op: node.op }),
        }
    }
}

impl Node {
    /// Runs the rule and adds what it gives to the slots of the inputs.
    fn pass_on(self, rule: Rule, arrived: Slot, slots: &mut [Slot], detects: bool) -> Result<()> {
        let op = self.op;
        let wants: Vec<bool> = self.inputs.iter().map(|input| input.node.is_some()).collect();
        let given = match arrived {
            Slot::Sum(dy) => rule(&dy, &wants).map_err(|source| Error::Rule { op, source: Box::new(source) })?,
            // Zero times any derivative: what was saved is freed without running the rule.
            _ => vec![Gradient::Zero; wants.len()],
        };
        if given.len() != wants.len() {
            return Err(Error::GradientCount { op, given: given.len(), needed: wants.len() });
        }
        for (index, (input, gradient)) in self.inputs.iter().zip(given).enumerate() {
            let Some(node) = input.node else { continue };
            let slot = &mut slots[node];
            match gradient {
                Gradient::NotDifferentiable => return Err(Error::NotDifferentiable { op, input: index }),
                Gradient::Zero => {
                    if matches!(slot, Slot::Unreached) {
                        *slot = Slot::Zero;
                    }
                }
                Gradient::Tensor(gradient) => {
                    if detects {
                        let forms = self.inputs.iter().map(|input| input.form);
                        see_gradient(op, self.scope.as_deref(), index, &gradient, forms)?;
                    }
                    let unfit = || Error::GradientShape {
                        op,
                        input: index,
                        given: Box::new(Form::of(&gradient)),
                        needed: Box::new(input.form),
                    };
                    if gradient.dtype() != input.form.dtype {
                        return Err(unfit());
                    }
                    let gradient = unbroadcast(&gradient, &input.form.shape)?.ok_or_else(unfit)?;
                    *slot = match std::mem::replace(slot, Slot::Unreached) {
                        Slot::Sum(sum) => Slot::Sum(sum.add(&gradient)?),
                        _ => Slot::Sum(gradient),
                    };
                }
            }
        }
        Ok(())
    }
}

/// The gradient of an input of this shape that was broadcast to the gradient's shape: the sum over the axes that were
/// stretched or put in front. `None` where it does not broadcast to it.
fn unbroadcast(gradient: &Tensor, shape: &Shape) -> Result<Option<Tensor>> {
    if gradient.shape() == shape {
        return Ok(Some(gradient.clone()));
    }
    let Some(lead) = gradient.rank().checked_sub(shape.rank()) else { return Ok(None) };
    let fits = |(&given, &own): (&usize, &usize)| given == own || own == 1;
    if !gradient.shape()[lead..].iter().zip(shape.iter()).all(fits) {
        return Ok(None);
    }
    if gradient.numel() == shape.numel() {
        // Only axes of size 1 were put in front.
        return Ok(Some(gradient.reshape(*shape)?));
    }
    let stretched = |axis: &usize| *axis < lead || gradient.shape()[*axis] != shape[*axis - lead];
    let axes: Vec<usize> = (0..gradient.rank()).filter(stretched).collect();
    Ok(Some(gradient.sum_keepdim(&axes)?.reshape(*shape)?))
}
