//! What optimizers share: the parameters, small ones first, the steps that each has made, and the flat tensors of their state.

use kiln_autograd::Gradients;
use kiln_tensor::ops::optim::{Update, state_len};
use kiln_tensor::{DType, Tensor};

use crate::error::{Error, Result};
use crate::module::Parameters;
use crate::optim::OptimizerState;
use crate::parameter::Parameter;

/// The parameters of an optimizer with what it remembers of each.
#[derive(Debug)]
pub(crate) struct Slots {
    optimizer: &'static str,
    list: Vec<Slot>,
    /// The names of the state tensors.
    states: &'static [&'static str],
    /// The state of all parameters, a flat tensor for each name, made at the first step.
    flat: Vec<Tensor>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Parameter,
    steps: u64,
    /// Where its share of the flat tensors starts.
    offset: usize,
}

/// Elements of a parameter that adds little to a launch.
const SMALL: usize = 1 << 16;

impl Slot {
    /// Elements of the flat tensors that are its own, with the padding.
    fn share(&self) -> usize {
        state_len([self.parameter.numel()])
    }
}

/// Neighbouring parameters that have made the same number of steps: what is updated at once.
pub(crate) struct Group {
    parameters: Vec<Tensor>,
    gradients: Vec<Tensor>,
    /// Their share of each flat tensor.
    pub(crate) states: Vec<Tensor>,
}

impl Group {
    pub(crate) fn updates(&self) -> Vec<Update<'_>> {
        let pairs = self.parameters.iter().zip(&self.gradients);
        pairs.map(|(parameter, gradient)| Update { parameter, gradient }).collect()
    }
}

impl Slots {
    pub(crate) fn new(optimizer: &'static str, parameters: Parameters, states: &'static [&'static str]) -> Slots {
        let mut offset = 0;
        let mut list = Vec::new();
        // Small ones side by side: many of them fit into a launch.
        let (small, large): (Vec<_>, Vec<_>) =
            parameters.unique().into_iter().partition(|(_, parameter)| parameter.numel() <= SMALL);
        for (name, parameter) in small.into_iter().chain(large) {
            let slot = Slot { name, parameter, steps: 0, offset };
            offset += slot.share();
            list.push(slot);
        }
        Slots { optimizer, list, states, flat: Vec::new() }
    }

    /// Changes which state tensors are kept. To be called before the first step.
    pub(crate) fn keep(&mut self, states: &'static [&'static str]) {
        self.states = states;
    }

    pub(crate) fn parameters(&self) -> Parameters {
        self.list.iter().map(|slot| (slot.name.clone(), slot.parameter.clone())).collect()
    }

    /// Elements of each flat tensor.
    fn elements(&self) -> usize {
        self.list.last().map_or(0, |slot| slot.offset + slot.share())
    }

    /// Calls `update` for each group of parameters that are not frozen, with the steps that they have made before. `states` is how
    /// many of the state tensors it uses.
    pub(crate) fn step(
        &mut self,
        gradients: &Gradients,
        states: usize,
        update: impl Fn(u64, &Group) -> Result<()>,
    ) -> Result<()> {
        // Everything that can be wrong is found before the first parameter changes.
        let mut ready: Vec<(usize, Tensor)> = Vec::new();
        for (index, slot) in self.list.iter().enumerate().filter(|(_, slot)| !slot.parameter.is_frozen()) {
            let gradient = slot
                .parameter
                .gradient(gradients)
                .ok_or_else(|| Error::NoGradient { optimizer: self.optimizer, parameter: slot.name.clone() })?;
            ready.push((index, gradient.contiguous()?));
        }
        let Some((first, _)) = ready.first() else { return Ok(()) };
        if self.flat.len() < states {
            let device = self.list[*first].parameter.value().device().clone();
            let zeros = || Tensor::zeros(&device, self.elements(), DType::F32);
            self.flat = (0..states).map(|_| zeros()).collect::<kiln_tensor::Result<_>>()?;
        }
        for run in ready.chunk_by(|(a, _), (b, _)| a + 1 == *b && self.list[*a].steps == self.list[*b].steps) {
            let slots = &self.list[run[0].0..run[0].0 + run.len()];
            let (start, end) = match slots {
                [first, .., last] => (first.offset, last.offset + last.share()),
                [only] => (only.offset, only.offset + only.share()),
                [] => continue,
            };
            let share = |flat: &Tensor| flat.narrow(0, start, end - start);
            let group = Group {
                parameters: slots.iter().map(|slot| slot.parameter.value()).collect(),
                gradients: run.iter().map(|(_, gradient)| gradient.clone()).collect(),
                states: self.flat[..states].iter().map(share).collect::<kiln_tensor::Result<_>>()?,
            };
            update(slots[0].steps, &group)?;
        }
        for (index, _) in &ready {
            self.list[*index].steps += 1;
        }
        Ok(())
    }

    pub(crate) fn state(&self) -> Result<OptimizerState> {
        let mut state = OptimizerState::default();
        for slot in &self.list {
            state.steps.insert(slot.name.clone(), slot.steps);
            if slot.steps == 0 {
                continue;
            }
            for (name, flat) in self.states.iter().zip(&self.flat) {
                // A copy: the next step writes into the original.
                let share = flat.narrow(0, slot.offset, slot.parameter.numel())?;
                let copy = Tensor::cat(&[&share], 0)?.reshape(slot.parameter.shape())?;
                state.tensors.insert(format!("{}.{name}", slot.name), copy);
            }
        }
        Ok(state)
    }

    pub(crate) fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        let bad = |message: String| Error::OptimizerState { optimizer: self.optimizer, message };
        let known = |name: &String| self.list.iter().any(|slot| slot.name == *name);
        if let Some(name) = state.steps.keys().find(|name| !known(name)) {
            return Err(bad(format!(
                "the state has parameter {name}, the optimizer has not; pass the state of these parameters"
            )));
        }
        let own = |key: &String| {
            self.list.iter().any(|slot| self.states.iter().any(|state| *key == format!("{}.{state}", slot.name)))
        };
        if let Some(key) = state.tensors.keys().find(|key| !own(key)) {
            let kept = self.states.join(" and ");
            return Err(bad(format!(
                "the state has a tensor {key}, the optimizer keeps {kept}; pass the state of its kind"
            )));
        }
        let mut steps = Vec::new();
        // As many flat tensors as the saved run had: none for plain SGD.
        let used = |name: &&&str| {
            state.tensors.keys().any(|key| key.strip_suffix(**name).is_some_and(|key| key.ends_with('.')))
        };
        let names: Vec<&str> = self.states.iter().take_while(used).copied().collect();
        let mut flat = vec![vec![0.0f32; self.elements()]; names.len()];
        for slot in &self.list {
            let made = *state.steps.get(&slot.name).ok_or_else(|| {
                bad(format!("the state has no steps of parameter {}; pass the state of these parameters", slot.name))
            })?;
            steps.push(made);
            for (name, flat) in names.iter().zip(&mut flat).filter(|_| made > 0) {
                let key = format!("{}.{name}", slot.name);
                let tensor = state.tensors.get(&key).ok_or_else(|| {
                    bad(format!("the state has no tensor {key}; pass the state of this kind of optimizer"))
                })?;
                if tensor.shape() != slot.parameter.shape() || tensor.dtype() != DType::F32 {
                    return Err(bad(format!(
                        "{key} is {} {}; needs f32 {}",
                        tensor.dtype(),
                        tensor.shape(),
                        slot.parameter.shape()
                    )));
                }
                let values = tensor.to_vec::<f32>()?;
                flat[slot.offset..slot.offset + values.len()].copy_from_slice(&values);
            }
        }
        if let Some(slot) = self.list.first() {
            let value = slot.parameter.value();
            let upload = |values: Vec<f32>| Tensor::from_slice(value.device(), values.len(), &values);
            self.flat = flat.into_iter().map(upload).collect::<kiln_tensor::Result<_>>()?;
        }
        for (slot, made) in self.list.iter_mut().zip(steps) {
            slot.steps = made;
        }
        Ok(())
    }
}
