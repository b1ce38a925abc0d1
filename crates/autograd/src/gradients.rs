//! What backward returns.

use std::collections::BTreeMap;

use kiln_tensor::Tensor;

use crate::var::Var;

/// The gradients of a loss with respect to the leaves that it depends on: what [`Var::backward`] returns.
#[derive(Debug, Default)]
pub struct Gradients {
    tape: u64,
    leaves: BTreeMap<usize, Tensor>,
    parameters: BTreeMap<u64, usize>,
}

impl Gradients {
    pub(crate) fn new(tape: u64) -> Gradients {
        Gradients { tape, ..Gradients::default() }
    }

    /// Gradients of parameters by their ids, that were computed by other means: sums over several passes, or over machines.
    pub fn of_parameters(gradients: impl IntoIterator<Item = (u64, Tensor)>) -> Gradients {
        // No tape has this number, so that no variable finds itself here.
        let mut all = Gradients::new(u64::MAX);
        for (node, (id, gradient)) in gradients.into_iter().enumerate() {
            all.insert(node, Some(id), gradient);
        }
        all
    }

    pub(crate) fn insert(&mut self, node: usize, parameter: Option<u64>, gradient: Tensor) {
        self.leaves.insert(node, gradient);
        if let Some(id) = parameter {
            self.parameters.insert(id, node);
        }
    }

    /// The gradient of a leaf: of its shape and type. `None` for a constant, for a variable that is not a leaf, for one
    /// of another tape, and for a leaf that the loss does not depend on.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.leaves.get(&self.node(var)?)
    }

    /// As [`Gradients::get`], and leaves no gradient behind: the last user's memory is free for what comes next.
    pub fn take(&mut self, var: &Var) -> Option<Tensor> {
        let node = self.node(var)?;
        self.leaves.remove(&node)
    }

    /// The gradient of the parameter that was put on the tape by [`Tape::parameter`](crate::Tape::parameter) with this
    /// id.
    pub fn of(&self, id: u64) -> Option<&Tensor> {
        self.leaves.get(self.parameters.get(&id)?)
    }

    /// As [`Gradients::of`], and leaves no gradient behind.
    pub fn take_of(&mut self, id: u64) -> Option<Tensor> {
        self.leaves.remove(self.parameters.get(&id)?)
    }

    /// Puts another gradient in the place of a parameter's, after clipping or unscaling. Nothing happens for a
    /// parameter that has none.
    pub fn replace_of(&mut self, id: u64, gradient: Tensor) {
        if let Some(slot) = self.parameters.get(&id).and_then(|node| self.leaves.get_mut(node)) {
            *slot = gradient;
        }
    }

    /// The parameters' gradients with their ids, in the order of the ids.
    pub fn parameters(&self) -> impl Iterator<Item = (u64, &Tensor)> {
        self.parameters.iter().filter_map(|(&id, node)| Some((id, self.leaves.get(node)?)))
    }

    /// How many leaves have a gradient.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    fn node(&self, var: &Var) -> Option<usize> {
        (var.tape().id() == self.tape).then_some(var.node()?)
    }
}
