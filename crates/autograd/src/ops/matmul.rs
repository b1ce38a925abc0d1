//! Matrix products.

use kiln_tensor::Tensor;
use kiln_tensor::ops::matmul::{linear_input_grad, linear_relu, linear_weight_bias_grad};

use crate::error::Result;
use crate::rectifier::Rectifier;
use crate::saved::Saved;
use crate::tape::Gradient;
use crate::var::Var;

impl Var {
    /// The matrix product, batched over the leading axes, which broadcast: [`Tensor::matmul`]. `da = dy b^T`, `db = a^T
    /// dy`.
    ///
    /// # Errors
    /// As [`Tensor::matmul`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn matmul(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().matmul(other.tensor())?;
        let (a, b) = self.saved_crosswise(other);
        let (row, column) = (self.rank() == 1, other.rank() == 1);
        let shared = self.rank() > 2 && other.rank() == 2;
        // A vector counted as a row or column, and dy has lost that axis.
        let as_matrix = move |dy: &Tensor| -> Result<Tensor> {
            let dy = if column { dy.unsqueeze(dy.rank())? } else { dy.clone() };
            Ok(if row { dy.unsqueeze(dy.rank() - 1)? } else { dy })
        };
        self.record_binary(
            "matmul",
            other,
            y,
            move |dy| {
                let b = b.get()?;
                // The gradient of a row keeps its axis of 1 in front, which the walk takes off.
                Ok(as_matrix(dy)?.matmul(&if column { b.unsqueeze(0)? } else { turned(b)? })?)
            },
            move |dy| {
                let a = a.get()?;
                if shared {
                    // One product over the rows of all batches, instead of one per batch and their sum.
                    return Ok(rows(a)?.t()?.matmul(&rows(dy)?)?);
                }
                let db = if row { a.unsqueeze(1)? } else { turned(a)? }.matmul(&as_matrix(dy)?)?;
                Ok(if column { db.squeeze(db.rank() - 1)? } else { db })
            },
        )
    }

    /// The matrix product of `a [m, k]` and `b [k, n]`, added to this: [`Tensor::addmm`]. Its gradient is `dy`, summed down to its
    /// shape; `da = dy b^T`, `db = a^T dy`.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{DType, Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let ones = |shape: [usize; 2]| Tensor::ones(&device, shape, DType::F32);
    /// let (a, b) = (tape.constant(ones([2, 3])?), tape.constant(ones([3, 4])?));
    /// let bias = tape.leaf(ones([1, 4])?);
    /// let gradients = bias.addmm(&a, &b)?.sum(..)?.backward()?;
    /// assert_eq!(gradients.get(&bias).map(|db| db.to_vec::<f32>()).transpose()?, Some(vec![2.0; 4]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::addmm`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn addmm(&self, a: &Var, b: &Var) -> Result<Var> {
        let y = self.tensor().addmm(a.tensor(), b.tensor())?;
        let (left, right) = a.saved_crosswise(b);
        self.tape().record("addmm", &[self, a, b], y, move |dy, wants| {
            Ok(vec![
                Gradient::when(wants[0], || Ok(dy.clone()))?,
                Gradient::when(wants[1], || Ok(dy.matmul(&right.get()?.t()?)?))?,
                Gradient::when(wants[2], || Ok(left.get()?.t()?.matmul(dy)?))?,
            ])
        })
    }

    /// A fully connected layer, `y = x w^T + b`: [`Tensor::linear`], with `x` of shape `[.., in]`, the weight `[out,
    /// in]` and the bias `[out]`. `dx = dy w`, `dw = dy^T x`, `db` is the sum of `dy` over all but the last axis.
    ///
    /// ```
    /// # use kiln_autograd::Tape; use kiln_tensor::{Device, Tensor};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::open_default()?;
    /// let tape = Tape::train();
    /// let x = tape.constant(Tensor::from_slice(&device, [1, 2], &[1.0f32, 2.0])?);
    /// let weight = tape.leaf(Tensor::from_slice(&device, [1, 2], &[3.0f32, 4.0])?);
    /// let bias = tape.leaf(Tensor::from_slice(&device, [1], &[5.0f32])?);
    /// let y = x.linear(&weight, Some(&bias))?;
    /// assert_eq!(y.item::<f32>()?, 16.0);
    /// let gradients = y.backward()?;
    /// assert_eq!(gradients.get(&weight).map(|dw| dw.to_vec::<f32>()).transpose()?, Some(vec![1.0, 2.0]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::linear`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn linear(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let y = self.tensor().linear(weight.tensor(), bias.map(Var::tensor))?;
        self.record_linear("linear", weight, bias, y, false)
    }

    /// ReLU of [`Var::linear`], in one launch: [`linear_relu`]. `dy` counts where the result is above 0.
    ///
    /// # Errors
    /// As [`Var::linear`].
    pub fn linear_relu(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let y = linear_relu(self.tensor(), weight.tensor(), bias.map(Var::tensor))?;
        self.record_linear("linear_relu", weight, bias, y, true)
    }

    /// Records a fully connected layer, whether followed by a ReLU.
    fn record_linear(&self, op: &'static str, weight: &Var, bias: Option<&Var>, y: Tensor, relu: bool) -> Result<Var> {
        let (x, w) = self.saved_crosswise(weight);
        let rectifier = Rectifier::when(relu, &y);
        let before = weight.wants_gradient() && self.is_rectified();
        let ours = rectifier.clone();
        let mut inputs = vec![self, weight];
        inputs.extend(bias);
        let y = self.tape().record(op, &inputs, y, move |dy, wants| {
            let dy = &Rectifier::before(ours.as_ref(), dy)?;
            let rectified = if before { Some(x.get()?) } else { None };
            let dx = || Ok(linear_input_grad(dy, w.get()?, rectified)?);
            let mut gradients = vec![Gradient::when(wants[0], dx)?];
            match wants.get(2) {
                Some(true) if wants[1] => {
                    let (dw, db) = linear_weight_bias_grad(x.get()?, dy)?;
                    gradients.extend([dw, db].map(Gradient::Tensor));
                }
                db => {
                    let dw = || Ok(rows(dy)?.t()?.matmul(&rows(x.get()?)?)?);
                    gradients.push(Gradient::when(wants[1], dw)?);
                    if let Some(&wanted) = db {
                        gradients.push(Gradient::when(wanted, || Ok(rows(dy)?.sum(0)?))?);
                    }
                }
            }
            Ok(gradients)
        })?;
        if before {
            self.passed();
        }
        Ok(y.rectified_by(rectifier))
    }

    /// What the rules of a product read: each the other side.
    pub(super) fn saved_crosswise(&self, other: &Var) -> (Saved, Saved) {
        (Saved::when(other.wants_gradient(), self.tensor()), Saved::when(self.wants_gradient(), other.tensor()))
    }
}

/// The last two axes exchanged: a view.
fn turned(matrix: &Tensor) -> kiln_tensor::Result<Tensor> {
    let rank = matrix.rank();
    matrix.transpose(rank - 2, rank - 1)
}

/// All axes but the last merged into one.
fn rows(tensor: &Tensor) -> kiln_tensor::Result<Tensor> {
    let columns = tensor.dim(tensor.rank() - 1)?;
    tensor.reshape([tensor.shape()[..tensor.rank() - 1].iter().product(), columns])
}
