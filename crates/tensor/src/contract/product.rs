//! Dense products: matrix multiplication, fully connected layers, 1x1 convolution, the inner products of Winograd.

use kiln_shaders::contract::{Bias, Mode, Params};
use kiln_shaders::matmul::{self, MatmulParams, Quads};

use super::tiles::{Problem, Way, contract};
use super::{cooperative, lanes, splits};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::launch_planned;
use crate::ops::pointwise::gradient::relu_grad;
use crate::plan::{self, Algorithm};
use crate::tensor::Tensor;

/// Where an operand's element lies: `z * batch + i * index + t * k`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) batch: usize,
    /// From row to row of A, from column to column of B.
    pub(crate) index: usize,
    pub(crate) k: usize,
}

impl Strides {
    /// Whether neighbours in memory are neighbours along k.
    fn along_k(&self) -> bool {
        self.k < self.index
    }
}

/// What becomes of a product's results together with another tensor, which is dense and of their shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rest<'a> {
    /// They are added to it.
    Added(&'a Tensor),
    /// It is the result of a ReLU, and they are its gradient: what passes is the gradient before the ReLU.
    Rectified(&'a Tensor),
}

impl<'a> Rest<'a> {
    fn tensor(self) -> &'a Tensor {
        match self {
            Rest::Added(tensor) | Rest::Rectified(tensor) => tensor,
        }
    }

    /// Whether the kernel can read it as it writes C.
    fn reached(self, quads: Quads) -> bool {
        !quads.c || self.tensor().window().offset.is_multiple_of(4)
    }

    /// The same as an op of its own.
    fn apply(self, product: &Tensor) -> Result<Tensor> {
        let like = |tensor: &Tensor| tensor.reshape(*product.shape());
        match self {
            Rest::Added(tensor) => product.add(&like(tensor)?),
            Rest::Rectified(result) => relu_grad(&like(result)?, product),
        }
    }
}

/// `C[z][m][n] = sum over k of A[z][m][k] B[z][k][n]`, plus a bias, with the rest, and then, if `relu`, no less than 0. There is
/// no rest together with a ReLU.
pub(crate) struct Product<'a> {
    pub(crate) op: &'static str,
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) batches: usize,
    pub(crate) a_strides: Strides,
    pub(crate) b_strides: Strides,
    pub(crate) bias: Option<(&'a Tensor, Bias)>,
    pub(crate) rest: Option<Rest<'a>>,
    pub(crate) relu: bool,
}

/// A product as sums over parts of k.
pub(crate) struct Parts {
    /// `[m, n]` of each batch's each part, `pitch` elements from one to the next.
    pub(crate) products: Tensor,
    /// Sums of A's rows, `[batches * splits, m]`, if wanted and at hand.
    pub(crate) sums: Option<Tensor>,
    /// Parts of a batch.
    pub(crate) splits: usize,
    pub(crate) pitch: usize,
}

impl Product<'_> {
    /// Whether, and how, the kernel that reads by four can take it.
    pub(crate) fn quads(&self) -> Option<Quads> {
        let device = self.a.device();
        let four = |strides: &[usize]| strides.iter().all(|stride| stride.is_multiple_of(4));
        if !lanes(device) || self.m == 0 || self.n == 0 || self.k == 0 || !four(&[self.k]) {
            return None;
        }
        // What is never stepped over does not matter.
        let reached = |strides: &Strides, count: usize| {
            let index = if count == 1 { 0 } else { strides.index };
            Strides { batch: if self.batches == 1 { 0 } else { strides.batch }, index, k: strides.k }
        };
        let along_k = |tensor: &Tensor, strides: &Strides, count: usize| -> Option<bool> {
            let Strides { batch, index, k } = reached(strides, count);
            let base = four(&[tensor.window().offset as usize, batch]);
            match () {
                () if base && k == 1 && four(&[index]) => Some(true),
                () if base && strides.index == 1 && four(&[k, count]) => Some(false),
                () => None,
            }
        };
        let a_along_k = along_k(self.a, &self.a_strides, self.m)?;
        let b_along_k = along_k(self.b, &self.b_strides, self.n)?;
        // Few rows that lie along rows would leave most of the 32 rows of a workgroup empty.
        if !a_along_k && self.m < 16 {
            return None;
        }
        Some(Quads { a_along_k, b_along_k, c: four(&[self.n]), row_sums: false, rows: plan::tile_rows(device) })
    }

    /// Launches it into `out`, `batches * splits` results of `[m, n]`, `pitch` elements apart; `sums`, `[batches * splits, m]`, get
    /// the sums of A's rows.
    fn run(&self, quads: Quads, out: &Tensor, sums: Option<&Tensor>, splits: u32, pitch: usize) -> Result<()> {
        let (a, b, c) = (self.a.window(), self.b.window(), out.window());
        let bias = self.bias.map(|(bias, axis)| (bias.window(), axis));
        let rest = self.rest.map(|rest| rest.tensor().window());
        let sums = sums.map(Tensor::window);
        let params = MatmulParams {
            m: self.m as u32,
            n: self.n as u32,
            k: self.k as u32,
            batches: self.batches as u32,
            splits,
            split_k: (self.k as u32).div_ceil(splits).next_multiple_of(4),
            a_offset: a.offset,
            a_batch: self.a_strides.batch as u32,
            a_row: self.a_strides.index as u32,
            a_k: self.a_strides.k as u32,
            b_offset: b.offset,
            b_batch: self.b_strides.batch as u32,
            b_column: self.b_strides.index as u32,
            b_k: self.b_strides.k as u32,
            c_offset: c.offset,
            c_batch: pitch as u32,
            c_row: self.n as u32,
            sums_offset: sums.map_or(0, |window| window.offset),
            bias: bias.map_or(0, |(_, axis)| axis as u32),
            bias_offset: bias.map_or(0, |(window, _)| window.offset),
            rest: match self.rest {
                None => 0,
                Some(Rest::Added(_)) => 1,
                Some(Rest::Rectified(_)) => 2,
            },
            rest_offset: rest.map_or(0, |window| window.offset),
            relu: u32::from(self.relu),
        };
        let [f16, f16_result] = [self.a, out].map(|tensor| tensor.dtype() == DType::F16);
        let int64 = out.device().info().features.int64;
        let launch = matmul::launch(&params, Quads { row_sums: sums.is_some(), ..quads }, f16, f16_result, int64);
        let bindings = [
            a.binding,
            b.binding,
            c.binding,
            bias.map_or(c.binding, |(window, _)| window.binding),
            rest.map_or(c.binding, |window| window.binding),
            sums.map_or(c.binding, |window| window.binding),
        ];
        launch_planned(out.device(), &launch, &bindings)
    }

    /// The product, `[batches, m, n]`, by whatever kernel fits.
    pub(crate) fn product(&self) -> Result<Tensor> {
        Ok(self.product_with_sums(false)?.0)
    }

    /// The product, and where the kernel can give them for nothing and they are wanted, the sums of A's rows, `[batches, m]`.
    pub(crate) fn product_with_sums(&self, row_sums: bool) -> Result<(Tensor, Option<Tensor>)> {
        let quads = self.quads();
        let device = self.a.device();
        let applies = |algorithm| match algorithm {
            Algorithm::Tiles | Algorithm::Tile(_) => true,
            Algorithm::Cooperative => cooperative::unit(device).is_some(),
            Algorithm::Quads => quads.is_some(),
            _ => false,
        };
        let usual = || match quads {
            _ if cooperative::worth([self.m, self.n, self.k]) && applies(Algorithm::Cooperative) => {
                Algorithm::Cooperative
            }
            Some(_) => Algorithm::Quads,
            None => Algorithm::Tiles,
        };
        let chosen = plan::choose(device, self.as_data(), applies, usual)?;
        let quads = quads.filter(|_| chosen == Algorithm::Quads);
        // The kernel sees whole sums only where k is not cut.
        let fused =
            quads.is_some_and(|quads| self.rest.is_some_and(|rest| rest.reached(quads) && self.splits(quads) == 1));
        let product = Product { rest: self.rest.filter(|_| fused), ..*self };
        let (result, sums) = match quads {
            Some(quads) => product.by_quads(quads, row_sums)?,
            None => (contract(&product.problem(Way::of(device, chosen)))?, None),
        };
        match self.rest {
            Some(rest) if !fused => Ok((rest.apply(&result)?, sums)),
            _ => Ok((result, sums)),
        }
    }

    /// The product by the kernel that reads by four, and the sums of A's rows if they are wanted and A lies along them.
    pub(crate) fn by_quads(&self, quads: Quads, row_sums: bool) -> Result<(Tensor, Option<Tensor>)> {
        let Parts { products, sums, splits, .. } = self.parts_by(quads, row_sums, self.m * self.n)?;
        let whole = |tensor: Tensor, shape: &[usize]| -> Result<Tensor> {
            let mut split = vec![self.batches, splits];
            split.extend(shape);
            let split = tensor.reshape(split)?;
            let summed = if splits == 1 { split.squeeze(1)? } else { split.sum(1)? };
            summed.to_dtype(self.a.dtype())
        };
        Ok((whole(products, &[self.m, self.n])?, sums.map(|sums| whole(sums, &[self.m])).transpose()?))
    }

    /// The product as sums over parts of k, for a transform around it. Results lie `pitch` elements apart if the kernel can do
    /// that.
    pub(crate) fn parts(&self, row_sums: bool, pitch: usize) -> Result<Parts> {
        match self.quads() {
            Some(quads) => self.parts_by(quads, row_sums, pitch),
            None => {
                let products = contract(&self.problem(Way::Usual))?;
                Ok(Parts { products, sums: None, splits: 1, pitch: self.m * self.n })
            }
        }
    }

    /// The parts that k is cut into.
    fn splits(&self, quads: Quads) -> u32 {
        let groups = matmul::groups(quads, self.m, self.n, self.batches);
        let plain = self.bias.is_none() && !self.relu;
        if plain { splits(self.a.device(), groups, self.k as u32) } else { 1 }
    }

    fn parts_by(&self, quads: Quads, row_sums: bool, pitch: usize) -> Result<Parts> {
        let device = self.a.device();
        let row_sums = row_sums && !quads.a_along_k;
        let splits = self.splits(quads);
        let parts = self.batches * splits as usize;
        let dtype = if splits > 1 { DType::F32 } else { self.a.dtype() };
        let products = Tensor::empty(device, [parts, pitch], dtype, self.op)?;
        let sums = row_sums.then(|| Tensor::empty(device, [parts, self.m], DType::F32, self.op)).transpose()?;
        plan::note(device, Algorithm::Quads, None, splits);
        self.run(quads, &products, sums.as_ref(), splits, pitch)?;
        Ok(Parts { products, sums, splits: splits as usize, pitch })
    }

    fn as_data(&self) -> plan::Problem {
        plan::Problem::Product {
            dtype: self.a.dtype(),
            batches: self.batches,
            m: self.m,
            n: self.n,
            k: self.k,
            a_along_k: self.a_strides.along_k(),
            b_along_k: self.b_strides.along_k(),
        }
    }

    /// The same for the general kernels.
    fn problem(&self, way: Way) -> Problem<'_> {
        let params = Params {
            m: self.m as u32,
            n: self.n as u32,
            k: self.k as u32,
            batches: self.batches as u32,
            a_batch: self.a_strides.batch as u32,
            a_row: self.a_strides.index as u32,
            a_k: self.a_strides.k as u32,
            b_batch: self.b_strides.batch as u32,
            b_k: self.b_strides.k as u32,
            b_column: self.b_strides.index as u32,
            ..Params::default()
        };
        let along_k = [&self.a_strides, &self.b_strides].map(Strides::along_k);
        Problem {
            bias: self.bias,
            relu: self.relu,
            way,
            ..Problem::plain(self.op, Mode::Dense, [self.a, self.b], along_k, params)
        }
    }
}
