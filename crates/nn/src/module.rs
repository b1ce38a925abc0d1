//! Modules: structs that compute and name their parameters.

use std::collections::HashSet;

use kiln_autograd::Var;

use crate::buffer::{Buffer, Count, Entry};
use crate::error::{Error, Result};
use crate::parameter::Parameter;

/// Where a ReLU can be computed together with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReluFusion {
    /// Nowhere: it is a layer of its own.
    Apart,
    /// The layer is a ReLU.
    Itself,
    /// Behind the layer, as behind a convolution.
    Behind,
    /// In front of the layer, as in front of max pooling.
    InFront,
}

/// A network or a part of one.
///
/// ```
/// use kiln_autograd::Var;
/// use kiln_nn::{Build, Init, Linear, Module, Result, Visitor};
/// use kiln_tensor::Device;
///
/// struct Residual {
///     inner: Linear,
/// }
///
/// impl Module for Residual {
///     fn forward(&self, x: &Var) -> Result<Var> {
///         Ok(x.add(&self.inner.forward_as("inner", x)?.relu()?)?)
///     }
///
///     fn visit(&self, v: &mut Visitor<'_>) {
///         v.child("inner", &self.inner);
///     }
/// }
///
/// # fn main() -> Result<()> {
/// # let device = Device::open_default()?;
/// let model = Residual { inner: Linear::builder(4, 4).build(&device, &Init::seed(1).child("inner"))? };
/// assert_eq!(model.parameters().names().collect::<Vec<_>>(), ["inner.weight", "inner.bias"]);
/// assert_eq!(model.num_parameters(), 4 * 4 + 4);
/// # Ok(()) }
/// ```
pub trait Module: Send + Sync {
    /// Computes the output for the input `x`, on the tape of `x`.
    ///
    /// # Errors
    /// Those of its operations: shapes that do not fit, a GPU that failed.
    fn forward(&self, x: &Var) -> Result<Var>;

    /// Names the parameters (`v.param("weight", &self.weight)`), what is kept besides (`v.buffer`, `v.count`) and the parts
    /// (`v.child("features", &self.features)`), in a fixed order.
    fn visit(&self, v: &mut Visitor<'_>);

    /// Whether a ReLU next to this layer can be computed with it: [`Sequential`](crate::Sequential) asks.
    fn relu_fusion(&self) -> ReluFusion {
        ReluFusion::Apart
    }

    /// This layer and the ReLU on the side that [`Module::relu_fusion`] names, in fewer launches and with the same bits. Not
    /// called where that is [`ReluFusion::Apart`] or [`ReluFusion::Itself`].
    ///
    /// # Errors
    /// As [`Module::forward`].
    fn forward_with_relu(&self, x: &Var) -> Result<Var> {
        self.forward(x)
    }

    /// As [`Module::forward`], under the name of the field that holds this module: errors and GPU profiles then say which layer
    /// it was.
    ///
    /// # Errors
    /// [`Error::Layer`] with the errors of [`Module::forward`].
    fn forward_as(&self, name: &str, x: &Var) -> Result<Var> {
        let _scope = x.tensor().device().scope(name);
        let _layer = x.tape().layer(name);
        self.forward(x).map_err(|error| error.in_layer(name))
    }

    /// All parameters with their full names (`features.0.weight`), in the order of the visit: the optimizer's order.
    fn parameters(&self) -> Parameters {
        let parameter = |(name, entry)| match entry {
            Entry::Parameter(parameter) => Some((name, parameter)),
            Entry::Buffer(_) | Entry::Count(_) => None,
        };
        self.entries().into_iter().filter_map(parameter).collect()
    }

    /// All that the module's state consists of, with full names, in the order of the visit: the parameters, and the buffers
    /// and counts that are saved with them.
    fn entries(&self) -> Vec<(String, Entry)> {
        let mut list = Vec::new();
        let mut collect = |name: &str, entry: Entry| list.push((name.to_string(), entry));
        self.visit(&mut Visitor::new(&mut collect));
        list
    }

    /// The parameters by full name, as a list of pairs.
    fn named_parameters(&self) -> Vec<(String, Parameter)> {
        self.parameters().0
    }

    /// The number of elements of all parameters. One that is used under several names counts once.
    fn num_parameters(&self) -> usize {
        self.parameters().unique().iter().map(|(_, parameter)| parameter.numel()).sum()
    }

    /// Freezes the parameter, buffer or layer of this name (`features`, `features.0.weight`; an empty name is everything), and
    /// returns the number of parameters among them. A frozen parameter gets no gradient and keeps its value. Batch norm whose
    /// running statistics are frozen normalises by them in training too and keeps them, as in Keras; dropout has nothing to
    /// freeze and goes on, as in Keras and PyTorch.
    ///
    /// # Errors
    /// [`Error::Argument`] if nothing has this name.
    fn freeze(&self, prefix: &str) -> Result<usize> {
        set_frozen(&self.entries(), "freeze", prefix, true)
    }

    /// Lets training change again what [`Module::freeze`] froze.
    ///
    /// # Errors
    /// As [`Module::freeze`].
    fn unfreeze(&self, prefix: &str) -> Result<usize> {
        set_frozen(&self.entries(), "unfreeze", prefix, false)
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward(&self, x: &Var) -> Result<Var> {
        (**self).forward(x)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        (**self).visit(v);
    }

    fn relu_fusion(&self) -> ReluFusion {
        (**self).relu_fusion()
    }

    fn forward_with_relu(&self, x: &Var) -> Result<Var> {
        (**self).forward_with_relu(x)
    }
}

/// Walks through a module and its parts, and builds the full name of each entry on the way.
pub struct Visitor<'a> {
    path: String,
    found: &'a mut dyn FnMut(&str, Entry),
}

impl<'a> Visitor<'a> {
    /// A visitor that calls `found` with the full name of each entry.
    pub fn new(found: &'a mut dyn FnMut(&str, Entry)) -> Visitor<'a> {
        Visitor { path: String::new(), found }
    }

    /// Names a parameter.
    pub fn param(&mut self, name: &str, parameter: &Parameter) {
        self.entry(name, Entry::Parameter(parameter.clone()));
    }

    /// Names a tensor that is saved and loaded with the parameters, and not trained.
    pub fn buffer(&mut self, name: &str, buffer: &Buffer) {
        self.entry(name, Entry::Buffer(buffer.clone()));
    }

    /// Names a number that is saved and loaded with the parameters.
    pub fn count(&mut self, name: &str, count: &Count) {
        self.entry(name, Entry::Count(count.clone()));
    }

    fn entry(&mut self, name: &str, entry: Entry) {
        self.under(name, |visitor| (visitor.found)(&visitor.path, entry));
    }

    /// Names a part and visits it.
    pub fn child<M: Module + ?Sized>(&mut self, name: &str, module: &M) {
        self.under(name, |visitor| module.visit(visitor));
    }

    fn under(&mut self, name: &str, visit: impl FnOnce(&mut Visitor<'a>)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        visit(self);
        self.path.truncate(length);
    }
}

/// Parameters with their full names, in the order of a module's visit.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, Parameter)>);

impl Parameters {
    /// Names and parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.0.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, parameter)| parameter)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each parameter once, under the first of its names.
    #[must_use]
    pub fn unique(&self) -> Parameters {
        let mut seen = HashSet::new();
        Parameters(self.0.iter().filter(|(_, parameter)| seen.insert(parameter.id())).cloned().collect())
    }

    /// The parameters of a part (`classifier`), or the one of this full name, for an optimizer of their own.
    #[must_use]
    pub fn of(&self, prefix: &str) -> Parameters {
        Parameters(self.0.iter().filter(|(name, _)| is_within(name, prefix)).cloned().collect())
    }
}

impl IntoIterator for Parameters {
    type Item = (String, Parameter);
    type IntoIter = std::vec::IntoIter<(String, Parameter)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Parameter)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Parameter)>>(parameters: I) -> Parameters {
        Parameters(parameters.into_iter().collect())
    }
}

/// Freezes the entries of this name, or lets them go, and returns the number of parameters among them.
fn set_frozen(entries: &[(String, Entry)], what: &'static str, prefix: &str, frozen: bool) -> Result<usize> {
    let chosen = entries.iter().filter(|(name, _)| is_within(name, prefix));
    let (mut found, mut parameters) = (false, 0);
    for (_, entry) in chosen {
        found = true;
        match entry {
            Entry::Parameter(parameter) => {
                parameter.set_frozen(frozen);
                parameters += 1;
            }
            Entry::Buffer(buffer) => buffer.set_frozen(frozen),
            Entry::Count(_) => {}
        }
    }
    if found {
        return Ok(parameters);
    }
    let names = entries.iter().filter(|(_, entry)| matches!(entry, Entry::Parameter(_))).map(|(name, _)| name.as_str());
    let known: Vec<&str> = names.clone().take(6).collect();
    let more = if names.count() > known.len() { ", ..." } else { "" };
    Err(Error::argument(
        what,
        format!("no parameter or layer is named {prefix:?}; parameters are {}{more}", known.join(", ")),
    ))
}

/// Whether an entry's name is `prefix`, or that of an entry of the layer `prefix`.
fn is_within(name: &str, prefix: &str) -> bool {
    match name.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}
