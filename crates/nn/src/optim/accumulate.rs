//! Gradients of several batches as those of one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use kiln_autograd::Gradients;
use kiln_tensor::Tensor;
use kiln_tensor::ops::foreach;
use kiln_tensor::ops::optim::Update;

use crate::error::Result;

/// Adds up the gradients of several backward passes, for a step as of a batch that does not fit in memory.
///
/// With a loss that is a mean, `k` batches of one size act as one of `k` times that size where each is added with the
/// weight `1 / k`.
///
/// ```
/// # use kiln_tensor::{Device, DType, Tensor}; use kiln_autograd::Tape; use kiln_nn::{GradientAccumulator, Parameter};
/// # fn main() -> Result<(), kiln_nn::Error> {
/// # let device = Device::open_default()?;
/// let p = Parameter::new(Tensor::ones(&device, [1], DType::F32)?);
/// let mut sums = GradientAccumulator::new();
/// for factor in [2.0, 6.0] {
///     let loss = p.on(&Tape::train()).mul_scalar(factor)?.sum(..)?;
///     sums.add(&loss.backward()?, 0.5)?;
/// }
/// assert_eq!(p.gradient(&sums.take()).map(|g| g.item::<f32>()).transpose()?, Some(4.0));
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct GradientAccumulator {
    sums: BTreeMap<u64, Tensor>,
    added: u64,
}

impl GradientAccumulator {
    /// Nothing yet.
    pub fn new() -> GradientAccumulator {
        GradientAccumulator::default()
    }

    /// Adds the parameters' gradients of a backward pass, times `weight`. In a few launches.
    ///
    /// # Errors
    /// Those of the device.
    pub fn add(&mut self, gradients: &Gradients, weight: f64) -> Result<()> {
        for (id, gradient) in gradients.parameters() {
            if let Entry::Vacant(sum) = self.sums.entry(id) {
                sum.insert(Tensor::zeros(gradient.device(), *gradient.shape(), gradient.dtype())?);
            }
        }
        let pairs = gradients
            .parameters()
            .filter_map(|(id, gradient)| Some(Update { parameter: self.sums.get(&id)?, gradient }));
        foreach::add_scaled(&pairs.collect::<Vec<_>>(), weight)?;
        self.added += 1;
        Ok(())
    }

    /// How many passes were added since the last [`GradientAccumulator::take`].
    pub fn added(&self) -> u64 {
        self.added
    }

    /// The sums, for an optimizer's step; the accumulator is empty then.
    pub fn take(&mut self) -> Gradients {
        self.added = 0;
        Gradients::of_parameters(std::mem::take(&mut self.sums))
    }
}
