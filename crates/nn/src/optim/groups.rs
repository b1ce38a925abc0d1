//! Groups of parameters with settings of their own.

use std::collections::HashSet;

use kiln_autograd::Gradients;

use crate::error::{Error, Result};
use crate::module::Parameters;
use crate::optim::{Optimizer, OptimizerState};

/// Several optimizers that work as one: groups of parameters with their own learning rate, weight decay or kind of step.
///
/// [`Optimizer::lr`] is the first group's. Setting it changes all groups in the same proportion, so that a schedule keeps
/// what their rates had to each other.
///
/// ```
/// # use kiln_tensor::Device; use kiln_nn::{Init, Linear, Module, Optimizer, ParameterGroups, Sequential, Sgd};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let model = Sequential::builder()
///     .layer(Linear::builder(8, 8))
///     .layer(Linear::builder(8, 2))
///     .build(&device, &Init::seed(42))?;
/// let all = model.parameters();
/// let mut optim = ParameterGroups::new(vec![
///     Box::new(Sgd::new(all.of("1"), 0.1).weight_decay(1e-4)),
///     Box::new(Sgd::new(all.of("0"), 0.01)),
/// ])?;
/// optim.set_lr(0.05);
/// assert_eq!(optim.groups().map(Optimizer::lr).collect::<Vec<_>>(), [0.05, 0.005]);
/// # Ok(()) }
/// ```
pub struct ParameterGroups {
    groups: Vec<Box<dyn Optimizer>>,
    /// Each group's rate over the first's.
    ratios: Vec<f64>,
}

impl ParameterGroups {
    /// These optimizers, side by side.
    ///
    /// # Errors
    /// [`Error::Argument`] for no groups, a first group whose learning rate is not above 0, or a parameter in two groups.
    pub fn new(groups: Vec<Box<dyn Optimizer>>) -> Result<ParameterGroups> {
        let bad = |message: String| Err(Error::argument("ParameterGroups", message));
        let Some(first) = groups.first().map(|group| group.lr()) else {
            return bad("no groups; pass at least one".to_string());
        };
        if !(first > 0.0 && first.is_finite()) {
            return bad(format!(
                "the first group's lr = {first}; pass a number above 0, which the others are compared with"
            ));
        }
        let all: Parameters = groups.iter().flat_map(|group| group.parameters()).collect();
        let mut seen = HashSet::new();
        if let Some((name, _)) = all.iter().find(|(_, parameter)| !seen.insert(parameter.id())) {
            return bad(format!("parameter {name} is in two groups; leave it in one"));
        }
        let ratios = groups.iter().map(|group| group.lr() / first).collect();
        Ok(ParameterGroups { groups, ratios })
    }

    /// The groups, in their order.
    pub fn groups(&self) -> impl Iterator<Item = &dyn Optimizer> {
        self.groups.iter().map(AsRef::as_ref)
    }
}

impl Optimizer for ParameterGroups {
    fn step(&mut self, gradients: &Gradients) -> Result<()> {
        // Before the first group changes, the last one's gradients are there.
        for (name, parameter) in self.parameters().iter().filter(|(_, parameter)| !parameter.is_frozen()) {
            if parameter.gradient(gradients).is_none() {
                return Err(Error::NoGradient { optimizer: "ParameterGroups", parameter: name.to_string() });
            }
        }
        self.groups.iter_mut().try_for_each(|group| group.step(gradients))
    }

    fn parameters(&self) -> Parameters {
        self.groups.iter().flat_map(|group| group.parameters()).collect()
    }

    fn settings(&self) -> String {
        let group = |(group, ratio): (&dyn Optimizer, &f64)| {
            let parameters = group.parameters();
            let of = parameters.names().next().unwrap_or_default();
            format!("{} of {} parameters from {of} on with {ratio} of the rate", group.settings(), parameters.len())
        };
        self.groups().zip(&self.ratios).map(group).collect::<Vec<_>>().join(", ")
    }

    fn lr(&self) -> f64 {
        self.groups.first().map_or(0.0, |group| group.lr())
    }

    fn set_lr(&mut self, lr: f64) {
        for (group, ratio) in self.groups.iter_mut().zip(&self.ratios) {
            group.set_lr(lr * ratio);
        }
    }

    fn state(&self) -> Result<OptimizerState> {
        let mut all = OptimizerState::default();
        for group in &self.groups {
            let state = group.state()?;
            all.steps.extend(state.steps);
            all.tensors.extend(state.tensors);
        }
        Ok(all)
    }

    fn load_state(&mut self, state: &OptimizerState) -> Result<()> {
        let mut left = state.clone();
        let mut parts = Vec::new();
        for group in &self.groups {
            let parameters = group.parameters();
            let own = |key: &str| parameters.get(key).is_some();
            let of_own = |key: &str| key.rsplit_once('.').is_some_and(|(name, _)| own(name));
            let (steps, other_steps) = left.steps.into_iter().partition(|(key, _)| own(key));
            let (tensors, other_tensors) = left.tensors.into_iter().partition(|(key, _)| of_own(key));
            parts.push(OptimizerState { steps, tensors });
            left = OptimizerState { steps: other_steps, tensors: other_tensors };
        }
        if let Some(key) = left.steps.keys().chain(left.tensors.keys()).next() {
            let message = format!("the state has {key}, which is of no group; pass the state of these parameters");
            return Err(Error::OptimizerState { optimizer: "ParameterGroups", message });
        }
        // A group that refuses its part leaves the others as they were.
        let before = self.groups.iter().map(|group| group.state()).collect::<Result<Vec<_>>>()?;
        for (index, part) in parts.iter().enumerate() {
            if let Err(error) = self.groups[index].load_state(part) {
                for (group, state) in self.groups.iter_mut().zip(&before).take(index) {
                    group.load_state(state)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
