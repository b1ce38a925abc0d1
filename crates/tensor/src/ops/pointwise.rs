//! Elementwise operations: arithmetic, comparison, selection, mathematics, and copies between types and layouts.
//!
//! Operands broadcast as in PyTorch: axes are aligned at the end, and an axis of size 1 is repeated. All operands of an op have
//! one type; there is no implicit conversion. `f16` is computed in `f32`, `u8` as `u32`.

use kiln_shaders::Storage;
use kiln_shaders::pointwise::{self as kernels, Operand, PointwiseOp};

use super::reduce::lanes;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::launch::launch_planned;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl DType {
    pub(crate) const fn storage(self) -> Storage {
        match self {
            DType::F32 => Storage::F32,
            DType::F16 => Storage::F16,
            DType::I32 => Storage::I32,
            DType::U32 => Storage::U32,
            DType::U8 => Storage::U8,
        }
    }
}

/// Computes `op` into `out`, whose shape every input broadcasts to. `fresh` says that `out` has its memory for itself.
pub(crate) fn pointwise_into(
    op: &PointwiseOp,
    inputs: &[&Tensor],
    out: &Tensor,
    scalars: [f64; 2],
    fresh: bool,
) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let expanded: Vec<Tensor> = inputs.iter().map(|input| input.expand(out.shape())).collect::<Result<_>>()?;
    // What is too large to bind is halved along the axis over which it extends furthest.
    if let Some(large) = expanded.iter().chain([out]).find(|tensor| !tensor.fits()) {
        let reach = |axis: &usize| (large.shape()[*axis] - 1) * large.strides()[*axis];
        if let Some(axis) = (0..large.rank()).max_by_key(reach) {
            let (size, mut start) = (large.shape()[axis], 0);
            // A multiple of 4 keeps both halves on the fast path.
            for length in [(size / 2).next_multiple_of(4).min(size - 1), size] {
                let length = length.min(size - start);
                let parts: Vec<Tensor> =
                    expanded.iter().map(|input| input.narrow(axis, start, length)).collect::<Result<_>>()?;
                let parts: Vec<&Tensor> = parts.iter().collect();
                pointwise_into(op, &parts, &out.narrow(axis, start, length)?, scalars, false)?;
                start += length;
            }
            return Ok(());
        }
    }
    let windows: Vec<_> = expanded.iter().chain([out]).map(Tensor::window).collect();
    let operands: Vec<Operand<'_>> = expanded
        .iter()
        .chain([out])
        .zip(&windows)
        .map(|(tensor, window)| Operand {
            storage: tensor.dtype().storage(),
            strides: tensor.strides(),
            offset: window.offset as usize,
        })
        .collect();
    let (inputs, result) = (&operands[..inputs.len()], operands[inputs.len()]);
    let plan = kernels::plan(op, out.shape(), inputs, result, scalars, fresh, lanes(out.device()))
        .map_err(|error| Error::argument(op.name, error.to_string()))?;
    let bindings: Vec<_> = windows.iter().map(|window| window.binding).collect();
    launch_planned(out.device(), &plan, &bindings)
}

/// The types on which an op is defined, for messages.
fn defined_on(op: &PointwiseOp) -> Vec<DType> {
    [DType::F32, DType::F16, DType::I32, DType::U32, DType::U8]
        .into_iter()
        .filter(|dtype| op.apply(dtype.storage().compute()).is_some())
        .collect()
}

pub(crate) fn unary(op: &PointwiseOp, name: &'static str, x: &Tensor, scalars: [f64; 2]) -> Result<Tensor> {
    x.check_dtype(name, "the tensor", &defined_on(op))?;
    let out = Tensor::empty(x.device(), x.shape(), x.dtype(), name)?;
    pointwise_into(op, &[x], &out, scalars, true)?;
    Ok(out)
}

/// Checks that operands fit and gives the shape that they broadcast to.
fn check(op: &PointwiseOp, name: &'static str, operands: &[&Tensor]) -> Result<Shape> {
    let first = operands[0];
    first.check_dtype(name, "the first tensor", &defined_on(op))?;
    let mut shape = *first.shape();
    for other in &operands[1..] {
        first.check_device(name, other)?;
        if other.dtype() != first.dtype() {
            return Err(Error::dtype(
                name,
                format!(
                    "{} and {} tensors; needs one type for all: convert one by to_dtype",
                    first.dtype(),
                    other.dtype()
                ),
            ));
        }
        shape = shape.broadcast(other.shape(), name)?;
    }
    shape.checked_numel(name)?;
    Ok(shape)
}

pub(crate) fn broadcasting(op: &PointwiseOp, name: &'static str, operands: &[&Tensor], dtype: DType) -> Result<Tensor> {
    let shape = check(op, name, operands)?;
    let out = Tensor::empty(operands[0].device(), shape, dtype, name)?;
    pointwise_into(op, operands, &out, [0.0; 2], true)?;
    Ok(out)
}

/// An op of tensors that broadcast, with scalars.
pub(crate) fn with_scalars(
    op: &PointwiseOp,
    name: &'static str,
    operands: &[&Tensor],
    scalars: [f64; 2],
) -> Result<Tensor> {
    let shape = check(op, name, operands)?;
    let out = Tensor::empty(operands[0].device(), shape, operands[0].dtype(), name)?;
    pointwise_into(op, operands, &out, scalars, true)?;
    Ok(out)
}

macro_rules! unary_ops {
    ($($(#[$doc:meta])* pub fn $name:ident => $op:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`Error::DType`] on a type for which it is not defined; [`Error::Gpu`].
            pub fn $name(&self) -> Result<Tensor> {
                unary(&kernels::$op, stringify!($name), self, [0.0; 2])
            })*
        }
    };
}

unary_ops! {
    /// `-x`; modulo 2^32 on `u32`, 2^8 on `u8`.
    pub fn neg => NEG;
    /// `|x|`
    pub fn abs => ABS;
    /// -1, 0 or 1 by the sign of `x`; 0 for a NaN.
    pub fn sign => SIGN;
    /// `e^x`, within 4 ULP. Floats only.
    pub fn exp => EXP;
    /// The natural logarithm, within 4 ULP; NaN below 0. Floats only.
    pub fn log => LOG;
    /// The square root; NaN below 0. Floats only.
    pub fn sqrt => SQRT;
    /// `1 / sqrt(x)`. Floats only.
    pub fn rsqrt => RSQRT;
    /// The sine of `x` in radians. Floats only.
    pub fn sin => SIN;
    /// The cosine of `x` in radians. Floats only.
    pub fn cos => COS;
    /// The hyperbolic tangent, within 4 ULP. Floats only.
    pub fn tanh => TANH;
    /// `1 / (1 + e^-x)`, within 4 ULP. Floats only.
    pub fn sigmoid => SIGMOID;
    /// `max(x, 0)`; a NaN stays.
    pub fn relu => RELU;
    /// The largest integer that is not above `x`.
    pub fn floor => FLOOR;
    /// The smallest integer that is not below `x`.
    pub fn ceil => CEIL;
    /// The nearest integer; of two, the even one.
    pub fn round => ROUND;
    /// `1 / x`. Floats only.
    pub fn reciprocal => RECIPROCAL;
    /// `x * x`
    pub fn square => SQUARE;
}

macro_rules! binary_ops {
    ($($(#[$doc:meta])* pub fn $name:ident => $op:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`Error::Shape`] where the shapes do not broadcast, [`Error::DType`] where the types differ or the op is not defined
            /// on them, [`Error::Argument`] for tensors of two devices; [`Error::Gpu`].
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                broadcasting(&kernels::$op, stringify!($name), &[self, other], self.dtype())
            })*
        }
    };
}

binary_ops! {
    /// `x + y`, elementwise, broadcasting.
    pub fn add => ADD;
    /// `x - y`, elementwise, broadcasting.
    pub fn sub => SUB;
    /// `x * y`, elementwise, broadcasting.
    pub fn mul => MUL;
    /// `x / y`, elementwise, broadcasting. On integers toward zero, and 0 where `y` is 0.
    pub fn div => DIV;
    /// `x ^ y`, elementwise, broadcasting.
    pub fn pow => POW;
    /// The larger of `x` and `y`, elementwise, broadcasting; NaN if either is.
    pub fn maximum => MAXIMUM;
    /// The smaller of `x` and `y`, elementwise, broadcasting; NaN if either is.
    pub fn minimum => MINIMUM;
}

macro_rules! comparison_ops {
    ($($(#[$doc:meta])* pub fn $name:ident => $op:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            ///
            /// Elementwise, broadcasting; 1 or 0 as `u8`.
            ///
            /// # Errors
            /// [`Error::Shape`] where the shapes do not broadcast, [`Error::DType`] where the types differ, [`Error::Argument`] for
            /// tensors of two devices; [`Error::Gpu`].
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                broadcasting(&kernels::$op, stringify!($name), &[self, other], DType::U8)
            })*
        }
    };
}

comparison_ops! {
    /// Whether `x == y`; false with a NaN.
    pub fn eq => EQ;
    /// Whether `x != y`; true with a NaN.
    pub fn ne => NE;
    /// Whether `x < y`; false with a NaN.
    pub fn lt => LT;
    /// Whether `x <= y`; false with a NaN.
    pub fn le => LE;
    /// Whether `x > y`; false with a NaN.
    pub fn gt => GT;
    /// Whether `x >= y`; false with a NaN.
    pub fn ge => GE;
}

impl Tensor {
    /// `x + value`.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        unary(&kernels::ADD_SCALAR, "add_scalar", self, [value, 0.0])
    }

    /// `x * value`.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        unary(&kernels::MUL_SCALAR, "mul_scalar", self, [value, 0.0])
    }

    /// `x / value`, computed as `x * (1 / value)`. Floats only.
    ///
    /// # Errors
    /// [`Error::DType`] for integers; [`Error::Gpu`].
    pub fn div_scalar(&self, value: f64) -> Result<Tensor> {
        self.check_dtype("div_scalar", "the tensor", &[DType::F32, DType::F16])?;
        self.mul_scalar(1.0 / value)
    }

    /// `x ^ value`.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn pow_scalar(&self, value: f64) -> Result<Tensor> {
        unary(&kernels::POW_SCALAR, "pow_scalar", self, [value, 0.0])
    }

    /// `x`, at least `min` and at most `max`; a NaN stays. Where `min > max`, `max` everywhere, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Argument`] where `min` or `max` is NaN; [`Error::Gpu`].
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        if min.is_nan() || max.is_nan() {
            return Err(Error::argument("clamp", format!("min {min} and max {max}; needs two numbers")));
        }
        unary(&kernels::CLAMP, "clamp", self, [min, max])
    }

    /// `a` where `condition` is not 0, else `b`; all three broadcast. `condition` is `u8`, as comparisons give it.
    ///
    /// ```
    /// # use kiln_gpu::Device; use kiln_tensor::Tensor;
    /// # fn main() -> Result<(), kiln_tensor::Error> {
    /// let device = Device::open_default()?;
    /// let x = Tensor::from_slice(&device, [3], &[-1.0f32, 0.5, 2.0])?;
    /// let zero = Tensor::from_slice(&device, (), &[0.0f32])?;
    /// assert_eq!(Tensor::where_(&x.gt(&zero)?, &x, &zero)?.to_vec::<f32>()?, [0.0, 0.5, 2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not broadcast, [`Error::DType`] where `condition` is not `u8` or `a` and `b` differ,
    /// [`Error::Argument`] for tensors of two devices; [`Error::Gpu`].
    pub fn where_(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        const OP: &str = "where_";
        condition.check_dtype(OP, "the condition", &[DType::U8])?;
        condition.check_device(OP, a)?;
        let shape = check(&kernels::WHERE, OP, &[a, b])?.broadcast(condition.shape(), OP)?;
        shape.checked_numel(OP)?;
        let out = Tensor::empty(a.device(), shape, a.dtype(), OP)?;
        pointwise_into(&kernels::WHERE, &[condition, a, b], &out, [0.0; 2], true)?;
        Ok(out)
    }

    /// The same values in another type: toward zero from float to integer, saturated (NaN to 0), modulo 256 to `u8`. From `f32` to
    /// `f16` rounded to nearest, to an infinity beyond 65,504; a NaN stays.
    ///
    /// # Errors
    /// [`Error::DType`] for `f16` on an adapter without it; [`Error::Gpu`].
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        let out = Tensor::empty(self.device(), self.shape(), dtype, "to_dtype")?;
        pointwise_into(&kernels::CAST, &[self], &out, [0.0; 2], true)?;
        Ok(out)
    }

    /// The same elements in row-major order without gaps: this tensor where it is so already, a copy otherwise.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() {
            return Ok(self.clone());
        }
        let out = Tensor::empty(self.device(), self.shape(), self.dtype(), "contiguous")?;
        pointwise_into(&kernels::COPY, &[self], &out, [0.0; 2], true)?;
        Ok(out)
    }

    /// A tensor with one value everywhere.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shape is too large, [`Error::DType`] for `f16` on an adapter without it; [`Error::Gpu`].
    pub fn full(device: &kiln_gpu::Device, shape: impl Into<Shape>, value: f64, dtype: DType) -> Result<Tensor> {
        let out = Tensor::empty(device, shape, dtype, "full")?;
        pointwise_into(&kernels::FILL, &[], &out, [value, 0.0], true)?;
        Ok(out)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn zeros(device: &kiln_gpu::Device, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        Tensor::full(device, shape, 0.0, dtype)
    }

    /// A tensor of ones.
    ///
    /// # Errors
    /// As [`Tensor::full`].
    pub fn ones(device: &kiln_gpu::Device, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        Tensor::full(device, shape, 1.0, dtype)
    }
}

/// Derivatives of elementwise operations, each in one launch: the rules of autograd. Operands broadcast.
pub mod gradient {
    use super::{DType, Result, Tensor, broadcasting, kernels, pointwise_into, with_scalars};

    macro_rules! gradients {
        ($($(#[$doc:meta])* pub fn $name:ident($($operand:ident),*) => $op:ident;)*) => {
            $($(#[$doc])*
            ///
            /// # Errors
            /// As [`Tensor::add`].
            pub fn $name($($operand: &Tensor),*) -> Result<Tensor> {
                let operands = [$($operand),*];
                broadcasting(&kernels::$op, stringify!($name), &operands, operands[0].dtype())
            })*
        };
    }

    gradients! {
        /// `dy sign(x)`
        pub fn abs_grad(x, dy) => ABS_GRAD;
        /// `dy / (2 y)` for `y = sqrt(x)`
        pub fn sqrt_grad(y, dy) => SQRT_GRAD;
        /// `-dy y^3 / 2` for `y = 1 / sqrt(x)`
        pub fn rsqrt_grad(y, dy) => RSQRT_GRAD;
        /// `dy cos(x)`
        pub fn sin_grad(x, dy) => SIN_GRAD;
        /// `-dy sin(x)`
        pub fn cos_grad(x, dy) => COS_GRAD;
        /// `dy (1 - y^2)` for `y = tanh(x)`
        pub fn tanh_grad(y, dy) => TANH_GRAD;
        /// `dy y (1 - y)` for `y = sigmoid(x)`
        pub fn sigmoid_grad(y, dy) => SIGMOID_GRAD;
        /// `dy` where `y > 0`, else 0, for `y = relu(x)`
        pub fn relu_grad(y, dy) => RELU_GRAD;
        /// `-dy y^2` for `y = 1 / x`
        pub fn reciprocal_grad(y, dy) => RECIPROCAL_GRAD;
        /// `2 x dy`
        pub fn square_grad(x, dy) => SQUARE_GRAD;
        /// The gradient of `a / b` to `b`: `-dy a / b^2`
        pub fn div_grad(a, b, dy) => DIV_GRAD;
        /// The gradient of `a ^ b` to `a`: `dy b a^(b - 1)`
        pub fn pow_grad_base(a, b, dy) => POW_GRAD_BASE;
        /// The gradient of `a ^ b` to `b`: `dy a^b log(a)`
        pub fn pow_grad_exponent(a, b, dy) => POW_GRAD_EXPONENT;
        /// The gradient of `maximum(a, b)` to `a`: `dy` where `a > b` or either is NaN, half of it where they are equal
        pub fn maximum_grad(a, b, dy) => MAXIMUM_GRAD;
        /// The gradient of `minimum(a, b)` to `a`: `dy` where `a < b` or either is NaN, half of it where they are equal
        pub fn minimum_grad(a, b, dy) => MINIMUM_GRAD;
    }

    /// `dy` where `min <= x <= max`, else 0. The bounds are rounded as [`Tensor::clamp`] stores them, so that what it set to one
    /// is at the bound.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn clamp_grad(x: &Tensor, dy: &Tensor, min: f64, max: f64) -> Result<Tensor> {
        let stored = |bound: f64| if x.dtype() == DType::F16 { half::f16::from_f64(bound).to_f64() } else { bound };
        with_scalars(&kernels::CLAMP_GRAD, "clamp_grad", &[x, dy], [stored(min), stored(max)])
    }

    /// `dy p x^(p - 1)`.
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn pow_scalar_grad(x: &Tensor, dy: &Tensor, exponent: f64) -> Result<Tensor> {
        with_scalars(&kernels::POW_SCALAR_GRAD, "pow_scalar_grad", &[x, dy], [exponent, 0.0])
    }

    /// `dy` where the mask is not 0, else 0: the gradient of [`Tensor::where_`] to its second operand.
    ///
    /// # Errors
    /// As [`Tensor::where_`].
    pub fn keep(mask: &Tensor, dy: &Tensor) -> Result<Tensor> {
        masked(&kernels::KEEP, "keep", mask, dy)
    }

    /// `dy` where the mask is 0, else 0: the gradient of [`Tensor::where_`] to its third operand.
    ///
    /// # Errors
    /// As [`keep`].
    pub fn drop(mask: &Tensor, dy: &Tensor) -> Result<Tensor> {
        masked(&kernels::DROP, "drop", mask, dy)
    }

    fn masked(op: &kernels::PointwiseOp, name: &'static str, mask: &Tensor, dy: &Tensor) -> Result<Tensor> {
        mask.check_dtype(name, "the mask", &[DType::U8])?;
        mask.check_device(name, dy)?;
        let shape = mask.shape().broadcast(dy.shape(), name)?;
        let out = Tensor::empty(dy.device(), shape, dy.dtype(), name)?;
        pointwise_into(op, &[mask, dy], &out, [0.0; 2], true)?;
        Ok(out)
    }
}
