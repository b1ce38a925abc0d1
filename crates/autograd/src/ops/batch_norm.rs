//! Batch norm.

use kiln_tensor::Tensor;
use kiln_tensor::ops::batch_norm::{
    Affine, BatchNormGradients, BatchNormOptions, Running, Statistics, batch_norm_grad, batch_norm_train,
};

use crate::error::Result;
use crate::saved::Saved;
use crate::tape::Gradient;
use crate::var::Var;

/// By which statistics a rule normalises.
type Kind = for<'a> fn(&'a Tensor, &'a Tensor) -> Statistics<'a>;

impl Var {
    /// Batch norm by the statistics of the batch, which moves the running statistics:
    /// [`batch_norm_train`](kiln_tensor::ops::batch_norm::batch_norm_train). `affine` is weight and bias. With
    /// `h = (x - mean) / deviation` over `n` elements: `dbias = sum dy`, `dweight = sum dy h`, and
    /// `dx = weight / deviation (dy - (dbias + h dweight) / n)`.
    ///
    /// # Errors
    /// As [`batch_norm_train`](kiln_tensor::ops::batch_norm::batch_norm_train);
    /// [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn batch_norm_train(
        &self,
        affine: Option<[&Var; 2]>,
        running: Option<Running<'_>>,
        options: &BatchNormOptions,
    ) -> Result<Var> {
        let found = batch_norm_train(self.tensor(), tensors(affine.as_ref()), running, options)?;
        let statistics = [Saved::new(&found.mean), Saved::new(&found.inverse_std)];
        let kind: Kind = |mean, inverse_std| Statistics::Batch { mean, inverse_std };
        let op = if options.relu { "batch_norm_train_relu" } else { "batch_norm_train" };
        self.record_norm(op, found.y, affine, statistics, kind, *options)
    }

    /// Batch norm by given statistics: [`Tensor::batch_norm`]. `affine` is weight and bias.
    /// `dx = weight / deviation dy`; `dweight` and `dbias` as for [`Var::batch_norm_train`].
    ///
    /// # Errors
    /// As [`Tensor::batch_norm`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn batch_norm(
        &self,
        mean: &Tensor,
        var: &Tensor,
        affine: Option<[&Var; 2]>,
        options: &BatchNormOptions,
    ) -> Result<Var> {
        let y = self.tensor().batch_norm(mean, var, tensors(affine.as_ref()), options)?;
        let kind: Kind = |mean, var| Statistics::Given { mean, var };
        let op = if options.relu { "batch_norm_relu" } else { "batch_norm" };
        self.record_norm(op, y, affine, [Saved::new(mean), Saved::new(var)], kind, *options)
    }

    fn record_norm(
        &self,
        op: &'static str,
        y: Tensor,
        affine: Option<[&Var; 2]>,
        [mean, spread]: [Saved; 2],
        kind: Kind,
        options: BatchNormOptions,
    ) -> Result<Var> {
        let x = Saved::new(self.tensor());
        let saved = affine.map(|pair| pair.map(|var| Saved::new(var.tensor())));
        let mut inputs = vec![self];
        inputs.extend(affine.into_iter().flatten());
        self.tape().record(op, &inputs, y, move |dy, wants| {
            let affine = match &saved {
                Some([weight, bias]) => Some(Affine { weight: weight.get()?, bias: bias.get()? }),
                None => None,
            };
            let statistics = kind(mean.get()?, spread.get()?);
            let BatchNormGradients { x, weight, bias } = batch_norm_grad(x.get()?, dy, statistics, affine, &options)?;
            Ok([x, weight, bias].into_iter().take(wants.len()).map(Gradient::Tensor).collect())
        })
    }
}

fn tensors<'a>(affine: Option<&[&'a Var; 2]>) -> Option<Affine<'a>> {
    affine.map(|[weight, bias]| Affine { weight: weight.tensor(), bias: bias.tensor() })
}
