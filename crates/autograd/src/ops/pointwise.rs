//! Elementwise operations. Both sides of the binary ones broadcast; the walk sums their gradients down.

use kiln_tensor::Tensor;
use kiln_tensor::ops::pointwise::gradient;

use crate::error::Result;
use crate::saved::Saved;
use crate::tape::Gradient;
use crate::var::Var;

/// A row per op of one input: its documentation, its name, and its derivative as a function of `dy` and what it saves,
/// the input `x` or the result `y`, whichever makes the derivative cheaper.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident saves $saved:tt: $rule:expr;)*) => {
        impl Var {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                #[doc = concat!("As [`Tensor::", stringify!($name), "`].")]
                pub fn $name(&self) -> Result<Var> {
                    let y = self.tensor().$name()?;
                    unary!(@record $saved, self, y, stringify!($name), $rule)
                }
            )*
        }
    };
    (@record nothing, $x:expr, $y:expr, $op:expr, $rule:expr) => {{
        let rule: fn(&Tensor) -> kiln_tensor::Result<Tensor> = $rule;
        $x.record_unary($op, $y, move |dy| Ok(rule(dy)?))
    }};
    (@record x, $x:expr, $y:expr, $op:expr, $rule:expr) => {
        unary!(@record (Saved::new($x.tensor())), $x, $y, $op, $rule)
    };
    (@record y, $x:expr, $y:expr, $op:expr, $rule:expr) => {
        unary!(@record (Saved::new(&$y)), $x, $y, $op, $rule)
    };
    (@record $saved:expr, $x:expr, $y:expr, $op:expr, $rule:expr) => {{
        let rule: fn(&Tensor, &Tensor) -> kiln_tensor::Result<Tensor> = $rule;
        let saved = $saved;
        $x.record_unary($op, $y, move |dy| Ok(rule(dy, saved.get()?)?))
    }};
}

unary! {
    /// `y = -x`; `dx = -dy`.
    neg saves nothing: |dy| dy.neg();
    /// `y = |x|`; `dx = dy sign(x)`, which is 0 at 0.
    abs saves x: |dy, x| gradient::abs_grad(x, dy);
    /// `y = e^x`; `dx = dy y`.
    exp saves y: |dy, y| dy.mul(y);
    /// `y = ln x`; `dx = dy / x`.
    log saves x: |dy, x| dy.div(x);
    /// `y = sqrt(x)`; `dx = dy / (2 y)`.
    sqrt saves y: |dy, y| gradient::sqrt_grad(y, dy);
    /// `y = 1 / sqrt(x)`; `dx = -dy y^3 / 2`.
    rsqrt saves y: |dy, y| gradient::rsqrt_grad(y, dy);
    /// `y = sin x`; `dx = dy cos x`.
    sin saves x: |dy, x| gradient::sin_grad(x, dy);
    /// `y = cos x`; `dx = -dy sin x`.
    cos saves x: |dy, x| gradient::cos_grad(x, dy);
    /// `y = tanh x`; `dx = dy (1 - y^2)`.
    tanh saves y: |dy, y| gradient::tanh_grad(y, dy);
    /// `y = 1 / (1 + e^-x)`; `dx = dy y (1 - y)`.
    sigmoid saves y: |dy, y| gradient::sigmoid_grad(y, dy);
    /// `y = max(x, 0)`; `dx` is `dy` where `x > 0`, else 0.
    relu saves y: |dy, y| gradient::relu_grad(y, dy);
    /// `y = 1 / x`; `dx = -dy y^2`.
    reciprocal saves y: |dy, y| gradient::reciprocal_grad(y, dy);
    /// `y = x^2`; `dx = 2 x dy`.
    square saves x: |dy, x| gradient::square_grad(x, dy);
}

/// A row per op that is constant between its jumps: its gradient is zero, as PyTorch has it.
macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl Var {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                #[doc = concat!("As [`Tensor::", stringify!($name), "`].")]
                pub fn $name(&self) -> Result<Var> {
                    let y = self.tensor().$name()?;
                    self.tape().record(stringify!($name), &[self], y, |_, _| Ok(vec![Gradient::Zero]))
                }
            )*
        }
    };
}

steps! {
    /// `y` is -1, 0 or 1, the sign of `x`; `dx = 0`.
    sign;
    /// `y` is the largest whole number not above `x`; `dx = 0`.
    floor;
    /// `y` is the smallest whole number not below `x`; `dx = 0`.
    ceil;
    /// `y` is the nearest whole number, the even one of two; `dx = 0`.
    round;
}

impl Var {
    /// `y = a + b`; `da = dy`, `db = dy`.
    ///
    /// # Errors
    /// As [`Tensor::add`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn add(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().add(other.tensor())?;
        self.record_binary("add", other, y, |dy| Ok(dy.clone()), |dy| Ok(dy.clone()))
    }

    /// `y = a - b`; `da = dy`, `db = -dy`.
    ///
    /// # Errors
    /// As [`Tensor::sub`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn sub(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().sub(other.tensor())?;
        self.record_binary("sub", other, y, |dy| Ok(dy.clone()), |dy| Ok(dy.neg()?))
    }

    /// `y = a b`; `da = dy b`, `db = dy a`.
    ///
    /// # Errors
    /// As [`Tensor::mul`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn mul(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().mul(other.tensor())?;
        let (a, b) = self.saved_crosswise(other);
        self.record_binary("mul", other, y, move |dy| Ok(dy.mul(b.get()?)?), move |dy| Ok(dy.mul(a.get()?)?))
    }

    /// `y = a / b`; `da = dy / b`, `db = -dy a / b^2`.
    ///
    /// # Errors
    /// As [`Tensor::div`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn div(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().div(other.tensor())?;
        let (a, b) = (Saved::when(other.wants_gradient(), self.tensor()), Saved::new(other.tensor()));
        let divisor = b.clone();
        self.record_binary(
            "div",
            other,
            y,
            move |dy| Ok(dy.div(b.get()?)?),
            move |dy| Ok(gradient::div_grad(a.get()?, divisor.get()?, dy)?),
        )
    }

    /// `y = a^b`; `da = dy b a^(b-1)`, which is 0 where `b = 0`; `db = dy y ln a`, which is 0 where `a = 0` and `b >=
    /// 0`.
    ///
    /// # Errors
    /// As [`Tensor::pow`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn pow(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().pow(other.tensor())?;
        self.record_pair("pow", other, y, gradient::pow_grad_base, gradient::pow_grad_exponent)
    }

    /// `y = max(a, b)`; the larger side gets `dy`, each side half of it where they are equal, and each all of it where one is
    /// NaN.
    ///
    /// # Errors
    /// As [`Tensor::maximum`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn maximum(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().maximum(other.tensor())?;
        self.record_pair("maximum", other, y, gradient::maximum_grad, |a, b, dy| gradient::maximum_grad(b, a, dy))
    }

    /// `y = min(a, b)`; the smaller side gets `dy`, each side half of it where they are equal, and each all of it where one is
    /// NaN.
    ///
    /// # Errors
    /// As [`Tensor::minimum`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn minimum(&self, other: &Var) -> Result<Var> {
        let y = self.tensor().minimum(other.tensor())?;
        self.record_pair("minimum", other, y, gradient::minimum_grad, |a, b, dy| gradient::minimum_grad(b, a, dy))
    }

    /// Records an op whose two rules are functions of both sides and `dy`.
    fn record_pair(
        &self,
        op: &'static str,
        other: &Var,
        y: Tensor,
        rule: PairRule,
        other_rule: PairRule,
    ) -> Result<Var> {
        let (a, b) = (Saved::new(self.tensor()), Saved::new(other.tensor()));
        let (a_again, b_again) = (a.clone(), b.clone());
        self.record_binary(
            op,
            other,
            y,
            move |dy| Ok(rule(a.get()?, b.get()?, dy)?),
            move |dy| Ok(other_rule(a_again.get()?, b_again.get()?, dy)?),
        )
    }

    /// `y` is `a` where the condition is not 0, and `b` elsewhere; each gets `dy` where it was chosen, and 0 elsewhere.
    ///
    /// # Errors
    /// As [`Tensor::where_`]; [`Error::TwoTapes`](crate::Error::TwoTapes).
    pub fn where_(condition: &Tensor, a: &Var, b: &Var) -> Result<Var> {
        let y = Tensor::where_(condition, a.tensor(), b.tensor())?;
        let condition = Saved::new(condition);
        let refused = condition.clone();
        a.record_binary(
            "where_",
            b,
            y,
            move |dy| Ok(gradient::keep(condition.get()?, dy)?),
            move |dy| Ok(gradient::drop(refused.get()?, dy)?),
        )
    }

    /// `y = x + value`; `dx = dy`.
    ///
    /// # Errors
    /// As [`Tensor::add_scalar`].
    pub fn add_scalar(&self, value: f64) -> Result<Var> {
        self.record_unary("add_scalar", self.tensor().add_scalar(value)?, |dy| Ok(dy.clone()))
    }

    /// `y = x value`; `dx = dy value`.
    ///
    /// # Errors
    /// As [`Tensor::mul_scalar`].
    pub fn mul_scalar(&self, value: f64) -> Result<Var> {
        self.record_unary("mul_scalar", self.tensor().mul_scalar(value)?, move |dy| Ok(dy.mul_scalar(value)?))
    }

    /// `y = x / value`; `dx = dy / value`.
    ///
    /// # Errors
    /// As [`Tensor::div_scalar`].
    pub fn div_scalar(&self, value: f64) -> Result<Var> {
        self.record_unary("div_scalar", self.tensor().div_scalar(value)?, move |dy| Ok(dy.div_scalar(value)?))
    }

    /// `y = x^exponent`; `dx = dy exponent x^(exponent - 1)`, which is 0 where the exponent is 0.
    ///
    /// # Errors
    /// As [`Tensor::pow_scalar`].
    pub fn pow_scalar(&self, exponent: f64) -> Result<Var> {
        let y = self.tensor().pow_scalar(exponent)?;
        let x = Saved::new(self.tensor());
        self.record_unary("pow_scalar", y, move |dy| Ok(gradient::pow_scalar_grad(x.get()?, dy, exponent)?))
    }

    /// `y = min(max(x, low), high)`; `dx` is `dy` where `low <= x <= high`, else 0.
    ///
    /// # Errors
    /// As [`Tensor::clamp`].
    pub fn clamp(&self, low: f64, high: f64) -> Result<Var> {
        let y = self.tensor().clamp(low, high)?;
        let x = Saved::new(self.tensor());
        self.record_unary("clamp", y, move |dy| Ok(gradient::clamp_grad(x.get()?, dy, low, high)?))
    }
}

/// The gradient of one side from `a`, `b` and `dy`.
type PairRule = fn(&Tensor, &Tensor, &Tensor) -> kiln_tensor::Result<Tensor>;
