//! Matrix multiplication.

use kiln_shaders::contract::Bias;

use crate::contract::product::{Product, Rest, Strides};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::pointwise::gradient::relu_grad;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// Matrix product `C[.., m, n] = sum over k of A[.., m, k] B[.., k, n]`.
    ///
    /// The axes before the last two are batches and broadcast. As in PyTorch, a vector on the left counts as a row, on the right
    /// as a column, and that axis is dropped from the result. Views are multiplied where they lie: a transposed side costs no
    /// copy. `f32` or `f16`; sums are in `f32`.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let a = Tensor::ones(&device, [4, 2, 3], DType::F32)?;
    /// let b = Tensor::ones(&device, [5, 3], DType::F32)?;
    /// assert_eq!(a.matmul(&b.t()?)?.dims::<3>()?, [4, 2, 5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the inner sizes differ, a side is a scalar, or batches do not broadcast; [`Error::DType`];
    /// [`Error::Gpu`].
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        const OP: &str = "matmul";
        self.check_device(OP, other)?;
        check_floats(OP, self, other)?;
        if self.rank() == 0 || other.rank() == 0 {
            return Err(Error::shape(
                OP,
                format!(
                    "shapes {} and {}; needs at least one axis on each side: multiply scalars by mul",
                    self.shape(),
                    other.shape()
                ),
            ));
        }
        if self.rank() == 1 {
            let product = self.unsqueeze(0)?.matmul(other)?;
            let row = product.rank() - if other.rank() == 1 { 1 } else { 2 };
            return product.squeeze(row);
        }
        if other.rank() == 1 {
            let product = self.matmul(&other.unsqueeze(1)?)?;
            return product.squeeze(product.rank() - 1);
        }
        let (ar, br) = (self.rank(), other.rank());
        let (m, k) = (self.shape()[ar - 2], self.shape()[ar - 1]);
        let (kb, n) = (other.shape()[br - 2], other.shape()[br - 1]);
        if k != kb {
            return Err(Error::shape(
                OP,
                format!(
                    "shapes {} and {}: {k} columns on the left, {kb} rows on the right; needs as many: transpose one side",
                    self.shape(),
                    other.shape()
                ),
            ));
        }
        let batch = Shape::from(&self.shape()[..ar - 2]).broadcast(&Shape::from(&other.shape()[..br - 2]), OP)?;
        let mut dims = batch.to_vec();
        dims.extend([m, n]);
        let shape = Shape::from(dims);
        shape.checked_numel(OP)?;
        // One matrix on the right for every row on the left: all rows are one matrix.
        if br == 2 && ar > 2 && self.is_contiguous() {
            let rows = self.shape()[..ar - 1].iter().product::<usize>();
            return product(&self.reshape([1, rows, k])?, &other.unsqueeze(0)?)?.reshape(shape);
        }
        product(&one_batch(self, &batch)?, &one_batch(other, &batch)?)?.reshape(shape)
    }
}

fn check_floats(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    a.check_dtype(op, "the left side", &[DType::F32, DType::F16])?;
    if a.dtype() == b.dtype() {
        return Ok(());
    }
    Err(Error::dtype(
        op,
        format!("{} on the left, {} on the right; needs one type: convert one by to_dtype", a.dtype(), b.dtype()),
    ))
}

/// A tensor as `[batches, rows, columns]`, its batch expanded.
fn one_batch(tensor: &Tensor, batch: &Shape) -> Result<Tensor> {
    let [rows, columns] = [tensor.rank() - 2, tensor.rank() - 1].map(|axis| tensor.shape()[axis]);
    let mut dims = batch.to_vec();
    dims.extend([rows, columns]);
    let expanded = tensor.expand(dims)?;
    expanded.merge_leading(batch.rank())
}

/// `[z, m, k]` by `[z, k, n]`. What is too large to bind is halved along the axis that steps furthest.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ([z, m, k], [_, _, n]) = (a.dims::<3>()?, b.dims::<3>()?);
    let out_fits = (z * m * n * a.dtype().size()) as u64 <= a.device().info().limits.binding_bytes;
    if !(a.fits() && b.fits() && out_fits) {
        let half = |tensor: &Tensor, axis: usize, size: usize| -> Result<[Tensor; 2]> {
            Ok([tensor.narrow(axis, 0, size / 2)?, tensor.narrow(axis, size / 2, size - size / 2)?])
        };
        let farthest =
            |t: &Tensor, axes: [usize; 2]| if t.strides()[axes[0]] >= t.strides()[axes[1]] { axes[0] } else { axes[1] };
        if z > 1 {
            let ([a0, a1], [b0, b1]) = (half(a, 0, z)?, half(b, 0, z)?);
            return Tensor::cat(&[&product(&a0, &b0)?, &product(&a1, &b1)?], 0);
        }
        let cut_k = (!a.fits() && farthest(a, [1, 2]) == 2) || (!b.fits() && farthest(b, [1, 2]) == 1);
        if cut_k && k > 1 {
            let ([a0, a1], [b0, b1]) = (half(a, 2, k)?, half(b, 1, k)?);
            return product(&a0, &b0)?.add(&product(&a1, &b1)?);
        }
        if m > 1 && (!a.fits() || (b.fits() && m >= n)) {
            let [a0, a1] = half(a, 1, m)?;
            return Tensor::cat(&[&product(&a0, b)?, &product(&a1, b)?], 1);
        }
        if n > 1 {
            let [b0, b1] = half(b, 2, n)?;
            return Tensor::cat(&[&product(a, &b0)?, &product(a, &b1)?], 2);
        }
    }
    dense("matmul", a, b, None).product()
}

/// `[z, m, k]` by `[z, k, n]`, where they lie.
fn dense<'a>(op: &'static str, a: &'a Tensor, b: &'a Tensor, bias: Option<(&'a Tensor, Bias)>) -> Product<'a> {
    let strides = |tensor: &Tensor, index: usize, k: usize| Strides {
        batch: tensor.strides()[0],
        index: tensor.strides()[index],
        k: tensor.strides()[k],
    };
    Product {
        op,
        a,
        b,
        m: a.shape()[1],
        n: b.shape()[2],
        k: a.shape()[2],
        batches: a.shape()[0],
        a_strides: strides(a, 1, 2),
        b_strides: strides(b, 2, 1),
        bias,
        rest: None,
        relu: false,
    }
}

impl Tensor {
    /// `self + a b`: the matrix product `a [m, k]` by `b [k, n]` added to a tensor that broadcasts to `[m, n]`, in one launch where
    /// the sum over `k` is not cut; else `f16` is rounded twice. As PyTorch's `addmm` with its factors at 1.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor};
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let ones = |shape: [usize; 2]| Tensor::ones(&device, shape, DType::F32);
    /// assert_eq!(ones([1, 4])?.addmm(&ones([2, 3])?, &ones([3, 4])?)?.to_vec::<f32>()?, [4.0; 8]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where a side is no matrix, the inner sizes differ or `self` does not broadcast to the product;
    /// [`Error::DType`]; [`Error::Gpu`].
    pub fn addmm(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        const OP: &str = "addmm";
        a.check_device(OP, b)?;
        a.check_device(OP, self)?;
        check_floats(OP, a, b)?;
        check_floats(OP, self, a)?;
        let (&[m, k], &[inner, n]) = (a.shape().dims(), b.shape().dims()) else {
            return Err(Error::shape(
                OP,
                format!(
                    "shapes {} and {}; needs two matrices: take matmul for batches and vectors",
                    a.shape(),
                    b.shape()
                ),
            ));
        };
        if k != inner {
            return Err(Error::shape(
                OP,
                format!(
                    "shapes {} and {}: {k} columns on the left, {inner} rows on the right; needs as many: transpose one side",
                    a.shape(),
                    b.shape()
                ),
            ));
        }
        let added = self.expand([m, n])?.contiguous()?;
        if !(a.fits() && b.fits() && added.fits()) {
            return a.matmul(b)?.add(&added);
        }
        let (a, b) = (a.unsqueeze(0)?, b.unsqueeze(0)?);
        Product { rest: Some(Rest::Added(&added)), ..dense(OP, &a, &b, None) }.product()?.squeeze(0)
    }

    /// A fully connected layer: `y = x W^T + b` with `x` of shape `[.., in]`, `weight` `[out, in]`, `bias` `[out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `in` or `out` differ; [`Error::DType`]; [`Error::Gpu`].
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        affine("linear", self, weight, bias, false)
    }
}

/// ReLU of a fully connected layer, in one launch: the larger of [`Tensor::linear`] and 0.
///
/// # Errors
/// As [`Tensor::linear`].
pub fn linear_relu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    affine("linear_relu", x, weight, bias, true)
}

fn affine(op: &'static str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Result<Tensor> {
    x.check_device(op, weight)?;
    check_floats(op, x, weight)?;
    let features = x.shape().last().copied();
    let [out_features, in_features] = weight.shape().dims().try_into().map_err(|_| {
        Error::shape(op, format!("weight has shape {}; needs [out_features, in_features]", weight.shape()))
    })?;
    if features != Some(in_features) {
        return Err(Error::shape(
            op,
            format!(
                "input has shape {}, weight {}; the input's last axis must be {in_features}: flatten the input or change in_features",
                x.shape(),
                weight.shape()
            ),
        ));
    }
    if let Some(bias) = bias {
        x.check_device(op, bias)?;
        if bias.shape().dims() != [out_features] || bias.dtype() != x.dtype() {
            return Err(Error::shape(
                op,
                format!(
                    "bias has shape {} of {}, weight {} of {}; needs a bias of [{out_features}] of {3}",
                    bias.shape(),
                    bias.dtype(),
                    weight.shape(),
                    weight.dtype()
                ),
            ));
        }
    }
    let mut dims = x.shape().to_vec();
    let rows = dims[..dims.len() - 1].iter().product::<usize>();
    let last = dims.len() - 1;
    dims[last] = out_features;
    let flat = x.reshape([rows, in_features])?;
    let out_fits = (rows * out_features * x.dtype().size()) as u64 <= x.device().info().limits.binding_bytes;
    if flat.fits() && weight.fits() && out_fits {
        let bias = bias.map(Tensor::contiguous).transpose()?;
        let (a, b) = (flat.unsqueeze(0)?, weight.t()?.unsqueeze(0)?);
        let bias = bias.as_ref().map(|bias| (bias, Bias::Column));
        return Product { relu, ..dense(op, &a, &b, bias) }.product()?.reshape(dims);
    }
    let mut product = flat.matmul(&weight.t()?)?;
    if let Some(bias) = bias {
        product = product.add(bias)?;
    }
    if relu {
        product = product.relu()?;
    }
    product.reshape(dims)
}

/// The gradient of [`Tensor::linear`] with respect to its input: `dx[.., i] = sum over o of dy[.., o] weight[o, i]`. With
/// `rectified`, the input, which is the result of a ReLU, it is the gradient before that ReLU, in one launch where it can be:
/// 0 where the input is not above 0.
///
/// ```
/// # use kiln_gpu::Device; use kiln_tensor::{DType, Tensor, ops::matmul::linear_input_grad};
/// # fn main() -> Result<(), kiln_tensor::Error> {
/// let device = Device::open_default()?;
/// let x = Tensor::from_slice(&device, [1, 2], &[0.0f32, 3.0])?;
/// let (weight, dy) = (Tensor::ones(&device, [5, 2], DType::F32)?, Tensor::ones(&device, [1, 5], DType::F32)?);
/// assert_eq!(linear_input_grad(&dy, &weight, None)?.to_vec::<f32>()?, [5.0, 5.0]);
/// assert_eq!(linear_input_grad(&dy, &weight, Some(&x))?.to_vec::<f32>()?, [0.0, 5.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Shape`] where the sizes do not fit; [`Error::DType`]; [`Error::Gpu`].
pub fn linear_input_grad(dy: &Tensor, weight: &Tensor, rectified: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "linear_input_grad";
    let Some(x) = rectified else { return dy.matmul(weight) };
    dy.check_device(OP, weight)?;
    check_floats(OP, dy, weight)?;
    dy.check_device(OP, x)?;
    let [rank, columns] = [dy.rank(), weight.rank()].map(|rank| rank.wrapping_sub(1));
    let fit = weight.rank() == 2
        && rank < dy.rank()
        && dy.shape()[rank] == weight.shape()[0]
        && x.rank() == dy.rank()
        && x.shape()[..rank] == dy.shape()[..rank]
        && x.shape()[rank] == weight.shape()[columns]
        && x.dtype() == dy.dtype();
    if !fit {
        return Err(Error::shape(
            OP,
            format!(
                "dy has shape {} of {}, weight {}, the input {} of {}; needs [.., out_features], [out_features, in_features] and \
                 [.., in_features] of one type, with the same leading axes",
                dy.shape(),
                dy.dtype(),
                weight.shape(),
                x.shape(),
                x.dtype()
            ),
        ));
    }
    let (out, features) = (weight.shape()[0], weight.shape()[1]);
    let rows = dy.shape()[..rank].iter().product::<usize>();
    if !(dy.fits() && weight.fits() && x.fits()) {
        return relu_grad(x, &dy.matmul(weight)?);
    }
    let x = x.contiguous()?;
    let (a, b) = (dy.reshape([1, rows, out])?, weight.unsqueeze(0)?);
    let product = Product { rest: Some(Rest::Rectified(&x)), ..dense(OP, &a, &b, None) }.product()?;
    product.reshape([&dy.shape()[..rank], &[features]].concat())
}

/// The gradients of [`Tensor::linear`] with respect to its weight and bias: `dw[o, i] = sum over rows of dy[row, o] x[row, i]`
/// and `db[o] = sum over rows of dy[row, o]`, with `x` of shape `[.., in]` and `dy` `[.., out]`.
///
/// # Errors
/// [`Error::Shape`] where the leading axes differ; [`Error::DType`]; [`Error::Gpu`].
pub fn linear_weight_bias_grad(x: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "linear_weight_bias_grad";
    x.check_device(OP, dy)?;
    check_floats(OP, x, dy)?;
    let leading = |tensor: &Tensor| tensor.shape().dims().split_last().map(|(_, leading)| leading.to_vec());
    if leading(x).is_none() || leading(x) != leading(dy) {
        return Err(Error::shape(
            OP,
            format!(
                "x has shape {}, dy {}; needs [.., in_features] and [.., out_features] with the same leading axes",
                x.shape(),
                dy.shape()
            ),
        ));
    }
    let rows = |tensor: &Tensor| -> Result<Tensor> {
        let columns = tensor.dim(tensor.rank() - 1)?;
        tensor.reshape([1, tensor.shape()[..tensor.rank() - 1].iter().product(), columns])
    };
    let (x, dy) = (rows(x)?, rows(dy)?);
    let turned = dy.transpose(1, 2)?;
    let fits =
        x.fits() && dy.fits() && (x.shape()[2] * dy.shape()[2] * 4) as u64 <= x.device().info().limits.binding_bytes;
    let (dw, db) =
        if fits { dense(OP, &turned, &x, None).product_with_sums(true)? } else { (product(&turned, &x)?, None) };
    let db = match db {
        Some(db) => db.squeeze(0)?,
        None => dy.sum([0, 1])?,
    };
    Ok((dw.squeeze(0)?, db))
}
