//! Tensors made from numbers: ranges, random numbers, dropout.
//!
//! Random numbers are counter-based: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the seed
//! as key and (element / 4, 0, stream) as counter, four neighbours from each call. They depend on seed, stream and position
//! alone, not on the adapter or on how the work is cut.

use kiln_gpu::Device;
pub use kiln_shaders::random::Random;
use kiln_shaders::random::{self as kernels, Draw};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

fn draw(device: &Device, op: &'static str, shape: Shape, draw: Draw, random: Random) -> Result<Tensor> {
    let out = Tensor::empty(device, shape, DType::F32, op)?;
    for part in out.parts()? {
        let plan = kernels::random(draw, DType::F32.storage(), random, part.offset(), part.numel(), 0);
        launch_planned(device, &plan, &[part.window().binding])?;
    }
    Ok(out)
}

/// The other kernels here count elements from the tensor's start, so they see all of it at once.
fn check_bound(op: &'static str, tensor: &Tensor) -> Result<()> {
    if tensor.fits() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        format!(
            "{} elements, more than this adapter can bind at once ({} bytes); make parts and join them by cat",
            tensor.numel(),
            tensor.device().info().limits.binding_bytes
        ),
    ))
}

impl Tensor {
    /// `f32` numbers spread evenly from `low` (included) to `high` (excluded). A number for `random` is a seed.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let x = Tensor::uniform(&Device::open_default()?, [1000], -1.0, 1.0, 42)?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (-1.0..1.0).contains(x)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] where `low > high` or one is not finite; [`Error::Gpu`].
    pub fn uniform(
        device: &Device,
        shape: impl Into<Shape>,
        low: f64,
        high: f64,
        random: impl Into<Random>,
    ) -> Result<Tensor> {
        if !(low <= high && low.is_finite() && high.is_finite()) {
            return Err(Error::argument("uniform", format!("low {low} and high {high}; needs finite low <= high")));
        }
        draw(device, "uniform", shape.into(), Draw::Uniform { low: low as f32, high: high as f32 }, random.into())
    }

    /// `f32` numbers of the normal distribution (Box and Muller, 1958).
    ///
    /// # Errors
    /// [`Error::Argument`] where `std` is negative or one is not finite; [`Error::Gpu`].
    pub fn normal(
        device: &Device,
        shape: impl Into<Shape>,
        mean: f64,
        std: f64,
        random: impl Into<Random>,
    ) -> Result<Tensor> {
        if !(std >= 0.0 && std.is_finite() && mean.is_finite()) {
            return Err(Error::argument(
                "normal",
                format!("mean {mean} and std {std}; needs both finite and std >= 0"),
            ));
        }
        draw(device, "normal", shape.into(), Draw::Normal { mean: mean as f32, deviation: std as f32 }, random.into())
    }

    /// `f32` ones with probability `p`, else zeros.
    ///
    /// # Errors
    /// [`Error::Argument`] where `p` is not in 0..=1; [`Error::Gpu`].
    pub fn bernoulli(device: &Device, shape: impl Into<Shape>, p: f64, random: impl Into<Random>) -> Result<Tensor> {
        check_probability("bernoulli", p)?;
        draw(device, "bernoulli", shape.into(), Draw::Bernoulli { p: p as f32 }, random.into())
    }

    /// Dropout (Srivastava et al., 2014): `x / (1 - p)` where a random number is at least `p`, else 0. No mask is kept: the gradient
    /// is the same call on `dy`.
    ///
    /// # Errors
    /// [`Error::Argument`] where `p` is not in 0..=1, [`Error::DType`] for integers; [`Error::Gpu`].
    pub fn dropout(&self, p: f64, random: Random) -> Result<Tensor> {
        const OP: &str = "dropout";
        check_probability(OP, p)?;
        self.check_dtype(OP, "the tensor", &[DType::F32, DType::F16])?;
        let x = self.quads()?;
        let out = Tensor::empty(x.device(), self.shape(), x.dtype(), OP)?;
        if x.numel() > 0 {
            check_bound(OP, &x)?;
            let (from, to) = (x.window(), out.window());
            let (a, b) = (from.offset as usize / 4, to.offset as usize / 4);
            let plan = kernels::dropout(x.dtype().storage(), p as f32, random, x.numel(), a, b);
            launch_planned(x.device(), &plan, &[from.binding, to.binding])?;
        }
        Ok(out)
    }

    /// As [`Tensor::dropout`], of whole channels of `[batch, channels, ..]` (Tompson et al., "Efficient object localization
    /// using convolutional networks", 2015). One random number decides for a channel of an image.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are no channels; as [`Tensor::dropout`].
    pub fn dropout2d(&self, p: f64, random: Random) -> Result<Tensor> {
        const OP: &str = "dropout2d";
        check_probability(OP, p)?;
        self.check_dtype(OP, "the tensor", &[DType::F32, DType::F16])?;
        if self.rank() < 2 {
            return Err(Error::shape(OP, format!("a tensor of shape {}; needs [batch, channels, ..]", self.shape())));
        }
        let mut shape = vec![1; self.rank()];
        shape[..2].copy_from_slice(&self.shape()[..2]);
        let factor = Tensor::ones(self.device(), shape, self.dtype())?.dropout(p, random)?;
        // A selection, so that a dropped NaN or infinity is 0.
        super::pointwise::gradient::keep(
            &factor.gt(&Tensor::zeros(self.device(), (), self.dtype())?)?,
            &self.mul(&factor)?,
        )
    }

    /// `start, start + step, ...` below `end` (above it for a negative step): `ceil((end - start) / step)` numbers of type `f32`,
    /// `i32` or `u32`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a step of 0 or one that leads away from `end`, [`Error::DType`]; [`Error::Gpu`].
    pub fn arange(device: &Device, start: f64, end: f64, step: f64, dtype: DType) -> Result<Tensor> {
        const OP: &str = "arange";
        if !matches!(dtype, DType::F32 | DType::I32 | DType::U32) {
            return Err(Error::dtype(OP, format!("{dtype}; needs f32, i32, u32: convert the result by to_dtype")));
        }
        let count = ((end - start) / step).ceil();
        if !(step != 0.0 && count.is_finite() && count >= 0.0) {
            return Err(Error::argument(
                OP,
                format!("start {start}, end {end}, step {step}; needs finite numbers and a step that leads to end"),
            ));
        }
        let count = count as usize;
        let out = Tensor::empty(device, [count], dtype, OP)?;
        if count > 0 {
            check_bound(OP, &out)?;
            let bits = |value: f64| match dtype {
                DType::F32 => (value as f32).to_bits(),
                // Two's complement, so that a negative step works for u32 too.
                _ => value as i64 as u32,
            };
            let plan = kernels::arange(dtype.storage(), count, 0, bits(start), bits(step));
            launch_planned(device, &plan, &[out.window().binding])?;
        }
        Ok(out)
    }
}

fn check_probability(op: &'static str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::argument(op, format!("p {p}; needs a probability from 0 to 1")))
}
