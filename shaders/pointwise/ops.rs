//! The table of pointwise ops and of the gradients that are pointwise.
//!
//! A derivative that is another op of the table (that of `exp` is `mul` with the result) has no row of its own.

use super::{Gives, PointwiseOp};

/// The text of `apply` for an arity and an expression.
macro_rules! apply {
    (0, $body:expr) => {
        concat!("fn apply() -> R {\n    return ", $body, ";\n}")
    };
    (1, $body:expr) => {
        concat!("fn apply(a: A) -> R {\n    return ", $body, ";\n}")
    };
    (2, $body:expr) => {
        concat!("fn apply(a: A, b: B) -> R {\n    return ", $body, ";\n}")
    };
    (3, $body:expr) => {
        concat!("fn apply(a: A, b: B, c: C) -> R {\n    return ", $body, ";\n}")
    };
}

macro_rules! bodies {
    ($op:ident, $arity:tt, float, $body:expr) => {
        $op.float = Some(apply!($arity, $body));
    };
    ($op:ident, $arity:tt, int, $body:expr) => {
        $op.int = Some(apply!($arity, $body));
    };
    ($op:ident, $arity:tt, uint, $body:expr) => {
        $op.uint = Some(apply!($arity, $body));
    };
    ($op:ident, $arity:tt, integer, $body:expr) => {
        $op.int = Some(apply!($arity, $body));
        $op.uint = Some(apply!($arity, $body));
    };
    ($op:ident, $arity:tt, number, $body:expr) => {
        $op.float = Some(apply!($arity, $body));
        $op.int = Some(apply!($arity, $body));
        $op.uint = Some(apply!($arity, $body));
    };
}

macro_rules! ops {
    ($($(#[$meta:meta])* $id:ident = $name:literal ($arity:tt) -> $gives:ident $(use $part:literal)?
        { $($class:ident: $body:expr),+ $(,)? })*) => {
        $(
            $(#[$meta])*
            pub static $id: PointwiseOp = {
                #[allow(unused_mut, unused_assignments)]
                let mut part = None;
                $(part = Some($part);)?
                let mut op = PointwiseOp {
                    name: $name, arity: $arity, gives: Gives::$gives, float: None, int: None, uint: None, part,
                };
                $(bodies!(op, $arity, $class, $body);)+
                op
            };
        )*
        /// Every pointwise op.
        pub static OPS: &[&PointwiseOp] = &[$(&$id),*];
    };
}

/// [`CAST`] from a float: toward zero, what is beyond the range becomes its end, and a NaN 0.
pub(super) const FLOAT_TO_INT: &str =
    apply!(1, "select(select(i32(a), 2147483647i, a >= 2147483648.0), 0i, is_nan(a))");

/// As [`FLOAT_TO_INT`], to an unsigned integer.
pub(super) const FLOAT_TO_UINT: &str =
    apply!(1, "select(select(u32(a), 4294967295u, a >= 4294967296.0), 0u, is_nan(a))");

impl PointwiseOp {
    /// Whether the first operand is a mask, of [`Storage::U8`](crate::Storage::U8) whatever the others are.
    pub fn takes_mask(&self) -> bool {
        [&WHERE, &KEEP, &DROP].contains(&self)
    }
}

ops! {
    /// `s0` everywhere.
    FILL = "fill" (0) -> Same { float: "bitcast<f32>(params.s0)", int: "bitcast<i32>(params.s0)", uint: "params.s0" }
    /// `a`
    COPY = "copy" (1) -> Same { number: "a" }
    /// `a` in another type. From float to integer toward zero, saturated at the type's ends, and 0 for a NaN; to bytes by way
    /// of `u32`, modulo 256. Between floats a NaN stays.
    CAST = "cast" (1) -> Any { number: "R(a)" }

    /// `-a`; modulo 2^32 on unsigned integers.
    NEG = "neg" (1) -> Same { float: "-a", int: "-a", uint: "0u - a" }
    /// `|a|`
    ABS = "abs" (1) -> Same { float: "abs(a)", int: "abs(a)", uint: "a" }
    /// -1, 0 or 1; 0 for a NaN.
    SIGN = "sign" (1) -> Same use "float" {
        float: "select(sign(a), 0.0, is_nan(a))", int: "sign(a)", uint: "min(a, 1u)",
    }
    /// `e^a`
    EXP = "exp" (1) -> Same use "math" { float: "exp_f32(a)" }
    /// The natural logarithm.
    LOG = "log" (1) -> Same use "math" { float: "log_f32(a)" }
    /// The square root; NaN below 0.
    SQRT = "sqrt" (1) -> Same use "float" { float: "select(sqrt(a), nan(), a < 0.0 || is_nan(a))" }
    /// `1 / sqrt(a)`; an infinity of its sign at 0, NaN below 0.
    RSQRT = "rsqrt" (1) -> Same use "float" {
        float: "select(select(1.0 / sqrt(a), from_bits((bitcast<u32>(a) & 0x80000000u) | 0x7f800000u), a == 0.0), \
                nan(), a < 0.0 || is_nan(a))",
    }
    /// The sine, for every finite `a`.
    SIN = "sin" (1) -> Same use "math" { float: "sin_f32(a)" }
    /// The cosine, for every finite `a`.
    COS = "cos" (1) -> Same use "math" { float: "cos_f32(a)" }
    /// The hyperbolic tangent.
    TANH = "tanh" (1) -> Same use "math" { float: "tanh_f32(a)" }
    /// `1 / (1 + e^-a)`
    SIGMOID = "sigmoid" (1) -> Same use "math" { float: "sigmoid_f32(a)" }
    /// `max(a, 0)`; a NaN stays.
    RELU = "relu" (1) -> Same use "float" {
        float: "select(max(a, 0.0), a, is_nan(a))", int: "max(a, 0i)", uint: "a",
    }
    /// `a` where `a > 0`, else `s0 a`.
    LEAKY_RELU = "leaky_relu" (1) -> Same { float: "select(bitcast<f32>(params.s0) * a, a, a > 0.0)" }
    /// `a sigmoid(a)`
    SILU = "silu" (1) -> Same use "math" { float: "a * sigmoid_f32(a)" }
    /// `a` times the share of normal numbers below it.
    GELU = "gelu" (1) -> Same use "normal" { float: "a * normal_share(a)" }
    /// `a / 2 (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3)))`, as a sigmoid of twice the argument.
    GELU_TANH = "gelu_tanh" (1) -> Same use "math" {
        float: "a * sigmoid_f32(1.595769122f * fma(0.044715f * a * a, a, a))",
    }
    /// The next integer downward.
    FLOOR = "floor" (1) -> Same { float: "floor(a)", integer: "a" }
    /// The next integer upward.
    CEIL = "ceil" (1) -> Same { float: "ceil(a)", integer: "a" }
    /// The nearest integer, of two the even one.
    ROUND = "round" (1) -> Same { float: "round(a)", integer: "a" }
    /// `1 / a`
    RECIPROCAL = "reciprocal" (1) -> Same { float: "1.0 / a" }
    /// `a * a`
    SQUARE = "square" (1) -> Same { number: "a * a" }
    /// `a`, at least `s0` and at most `s1`; a NaN stays, and `s1` where `s0 > s1`.
    CLAMP = "clamp" (1) -> Same use "float" {
        float: "select(min(max(a, bitcast<f32>(params.s0)), bitcast<f32>(params.s1)), a, is_nan(a))",
        int: "min(max(a, bitcast<i32>(params.s0)), bitcast<i32>(params.s1))",
        uint: "min(max(a, params.s0), params.s1)",
    }
    /// `a + s0`
    ADD_SCALAR = "add_scalar" (1) -> Same {
        float: "a + bitcast<f32>(params.s0)", int: "a + bitcast<i32>(params.s0)", uint: "a + params.s0",
    }
    /// `a * s0`
    MUL_SCALAR = "mul_scalar" (1) -> Same {
        float: "a * bitcast<f32>(params.s0)", int: "a * bitcast<i32>(params.s0)", uint: "a * params.s0",
    }
    /// `a ^ s0`
    POW_SCALAR = "pow_scalar" (1) -> Same use "math" {
        float: "pow_f32(a, bitcast<f32>(params.s0))",
        int: "pow_i32(a, bitcast<i32>(params.s0))",
        uint: "pow_u32(a, params.s0)",
    }

    /// `a + b`
    ADD = "add" (2) -> Same { number: "a + b" }
    /// `a - b`
    SUB = "sub" (2) -> Same { number: "a - b" }
    /// `a * b`
    MUL = "mul" (2) -> Same { number: "a * b" }
    /// `a / b`; on integers toward zero, and 0 where `b` is 0.
    DIV = "div" (2) -> Same {
        float: "a / b",
        int: "select(a / select(b, 1i, b == 0i), 0i, b == 0i)",
        uint: "select(a / select(b, 1u, b == 0u), 0u, b == 0u)",
    }
    /// `a ^ b`
    POW = "pow" (2) -> Same use "math" { float: "pow_f32(a, b)", int: "pow_i32(a, b)", uint: "pow_u32(a, b)" }
    /// The larger one; NaN if either is.
    MAXIMUM = "maximum" (2) -> Same use "float" { float: "maximum_f32(a, b)", integer: "max(a, b)" }
    /// The smaller one; NaN if either is.
    MINIMUM = "minimum" (2) -> Same use "float" { float: "minimum_f32(a, b)", integer: "min(a, b)" }
    /// `a + s0 * b`
    ADD_SCALED = "add_scaled" (2) -> Same { float: "a + bitcast<f32>(params.s0) * b" }

    /// `a` where `a > 0`, else `b a`.
    PRELU = "prelu" (2) -> Same { float: "select(b * a, a, a > 0.0)" }
    /// `(a - b)^2`
    SQUARED_ERROR = "squared_error" (2) -> Same { float: "(a - b) * (a - b)" }
    /// `|a - b|`
    ABSOLUTE_ERROR = "absolute_error" (2) -> Same { float: "abs(a - b)" }
    /// With `d = |a - b|`: `d^2 / (2 s0)` where `d < s0`, else `d - s0 / 2`.
    SMOOTH_ERROR = "smooth_error" (2) -> Same {
        float: "select(abs(a - b) - 0.5 * bitcast<f32>(params.s0), 0.5 * (a - b) * (a - b) / bitcast<f32>(params.s0), \
                abs(a - b) < bitcast<f32>(params.s0))",
    }
    /// With `d = |a - b|`: `d^2 / 2` where `d < s0`, else `s0 (d - s0 / 2)`.
    HUBER_ERROR = "huber_error" (2) -> Same {
        float: "select(bitcast<f32>(params.s0) * (abs(a - b) - 0.5 * bitcast<f32>(params.s0)), 0.5 * (a - b) * (a - b), \
                abs(a - b) < bitcast<f32>(params.s0))",
    }
    /// Binary cross-entropy of the logit `a` and the probability `b`: `log(1 + e^-|a|)`, and `a (1 - b)` or `-a b`, whichever
    /// is not negative. Nothing cancels, at a target of 1 or 0 either.
    LOGISTIC_LOSS = "logistic_loss" (2) -> Same use "math" {
        float: "log_1p_unit(exp_f32(-abs(a))) + select(a * (1.0 - b), -a * b, a < 0.0)",
    }
    /// As LOGISTIC_LOSS, with the part of `b` times `c`.
    WEIGHTED_LOGISTIC_LOSS = "weighted_logistic_loss" (3) -> Same use "math" {
        float: "fma(c - 1.0, b, 1.0) * log_1p_unit(exp_f32(-abs(a))) + select(a * (1.0 - b), -a * (b * c), a < 0.0)",
    }

    /// `a == b`; false with a NaN.
    EQ = "eq" (2) -> Mask use "float" {
        float: "u32(a == b && !is_nan(a) && !is_nan(b))", integer: "u32(a == b)",
    }
    /// `a != b`; true with a NaN.
    NE = "ne" (2) -> Mask use "float" { float: "u32(a != b || is_nan(a) || is_nan(b))", integer: "u32(a != b)" }
    /// `a < b`; false with a NaN.
    LT = "lt" (2) -> Mask use "float" { float: "u32(a < b && !is_nan(a) && !is_nan(b))", integer: "u32(a < b)" }
    /// `a <= b`; false with a NaN.
    LE = "le" (2) -> Mask use "float" { float: "u32(a <= b && !is_nan(a) && !is_nan(b))", integer: "u32(a <= b)" }
    /// `a > b`; false with a NaN.
    GT = "gt" (2) -> Mask use "float" { float: "u32(a > b && !is_nan(a) && !is_nan(b))", integer: "u32(a > b)" }
    /// `a >= b`; false with a NaN.
    GE = "ge" (2) -> Mask use "float" { float: "u32(a >= b && !is_nan(a) && !is_nan(b))", integer: "u32(a >= b)" }

    /// `b` where the mask `a` is not 0, else `c`.
    WHERE = "where" (3) -> Same { number: "select(c, b, a != 0u)" }
    /// `b` where the mask `a` is not 0, else 0: the gradient of `where`'s second operand.
    KEEP = "keep" (2) -> Same { number: "select(R(0), b, a != 0u)" }
    /// `b` where the mask `a` is 0, else 0: the gradient of `where`'s third operand.
    DROP = "drop" (2) -> Same { number: "select(R(0), b, a == 0u)" }

    /// `b * sign(a)`; operands x, dy.
    ABS_GRAD = "abs_grad" (2) -> Same use "float" { float: "b * select(sign(a), 0.0, is_nan(a))" }
    /// `b / (2 a)`; operands y, dy.
    SQRT_GRAD = "sqrt_grad" (2) -> Same { float: "b / (2.0 * a)" }
    /// `-b a^3 / 2`; operands y, dy.
    RSQRT_GRAD = "rsqrt_grad" (2) -> Same { float: "-0.5 * b * (a * a * a)" }
    /// `b cos(a)`; operands x, dy.
    SIN_GRAD = "sin_grad" (2) -> Same use "math" { float: "b * cos_f32(a)" }
    /// `-b sin(a)`; operands x, dy.
    COS_GRAD = "cos_grad" (2) -> Same use "math" { float: "-b * sin_f32(a)" }
    /// `b (1 - a^2)`; operands y, dy.
    TANH_GRAD = "tanh_grad" (2) -> Same { float: "b * ((1.0 - a) * (1.0 + a))" }
    /// `b a (1 - a)`; operands y, dy.
    SIGMOID_GRAD = "sigmoid_grad" (2) -> Same { float: "b * (a * (1.0 - a))" }
    /// `b` where `a > 0`, else 0; operands x or y, dy.
    RELU_GRAD = "relu_grad" (2) -> Same use "float" { float: "select(0.0, b, a > 0.0 || is_nan(a))" }
    /// `b` where `a > 0`, else `s0 b`; operands x, dy.
    LEAKY_RELU_GRAD = "leaky_relu_grad" (2) -> Same { float: "select(bitcast<f32>(params.s0) * b, b, a > 0.0)" }
    /// `c` where `a > 0`, else `b c`; operands x, weight, dy.
    PRELU_GRAD = "prelu_grad" (3) -> Same { float: "select(b * c, c, a > 0.0)" }
    /// `a b` where `a <= 0`, else 0; operands x, dy.
    PRELU_GRAD_WEIGHT = "prelu_grad_weight" (2) -> Same { float: "select(a * b, 0.0, a > 0.0)" }
    /// `b s (1 + a (1 - s))` with `s = sigmoid(a)`; operands x, dy.
    SILU_GRAD = "silu_grad" (2) -> Same use "math" {
        float: "b * (sigmoid_f32(a) * fma(a, sigmoid_f32(-a), 1.0))",
    }
    /// `b` times the share of normal numbers below `a` and `a` times their density; operands x, dy.
    GELU_GRAD = "gelu_grad" (2) -> Same use "normal" { float: "b * fma(a, normal_density(a), normal_share(a))" }
    /// The slope of GELU_TANH, times `b`; operands x, dy. Beyond 1e3 the sigmoid's slope is 0.
    GELU_TANH_GRAD = "gelu_tanh_grad" (2) -> Same use "math" {
        float: "b * (sigmoid_f32(1.595769122f * fma(0.044715f * a * a, a, a)) * (1.0 + a * (1.595769122f * \
                fma(0.134145f, min(a * a, 1e6), 1.0)) * sigmoid_f32(-1.595769122f * fma(0.044715f * a * a, a, a))))",
    }
    /// `2 c (a - b)`; operands x, target, dy.
    SQUARED_ERROR_GRAD = "squared_error_grad" (3) -> Same { float: "2.0 * c * (a - b)" }
    /// `c sign(a - b)`, where the sign of a NaN is 0; operands x, target, dy.
    ABSOLUTE_ERROR_GRAD = "absolute_error_grad" (3) -> Same use "float" {
        float: "c * select(sign(a - b), 0.0, is_nan(a - b))",
    }
    /// `c (a - b) / s0` where `|a - b| < s0`, else `c sign(a - b)`; operands x, target, dy.
    SMOOTH_ERROR_GRAD = "smooth_error_grad" (3) -> Same use "float" {
        float: "c * select(sign(a - b), (a - b) / bitcast<f32>(params.s0), \
                abs(a - b) < bitcast<f32>(params.s0) || is_nan(a - b))",
    }
    /// `c (a - b)` where `|a - b| < s0`, else `c s0 sign(a - b)`; operands x, target, dy.
    HUBER_ERROR_GRAD = "huber_error_grad" (3) -> Same use "float" {
        float: "c * select(bitcast<f32>(params.s0) * sign(a - b), a - b, \
                abs(a - b) < bitcast<f32>(params.s0) || is_nan(a - b))",
    }
    /// `c (sigmoid(a) - b)`, as a sum in which nothing cancels at a target of 1; operands x, target, dy.
    LOGISTIC_LOSS_GRAD = "logistic_loss_grad" (3) -> Same use "math" {
        float: "c * ((1.0 - b) * sigmoid_f32(a) - b * sigmoid_f32(-a))",
    }
    /// `(1 - b) sigmoid(a) - c b sigmoid(-a)`; operands x, target, weight.
    WEIGHTED_LOGISTIC_LOSS_GRAD = "weighted_logistic_loss_grad" (3) -> Same use "math" {
        float: "(1.0 - b) * sigmoid_f32(a) - c * b * sigmoid_f32(-a)",
    }
    /// `-b a^2`; operands y, dy.
    RECIPROCAL_GRAD = "reciprocal_grad" (2) -> Same { float: "-b * (a * a)" }
    /// `2 a b`; operands x, dy.
    SQUARE_GRAD = "square_grad" (2) -> Same { float: "2.0 * a * b" }
    /// `b` where `s0 <= a <= s1`, else 0; operands x, dy.
    CLAMP_GRAD = "clamp_grad" (2) -> Same {
        float: "select(0.0, b, a >= bitcast<f32>(params.s0) && a <= bitcast<f32>(params.s1))",
    }
    /// `b s0 a^(s0 - 1)`; operands x, dy. 0 where `s0` is 0.
    POW_SCALAR_GRAD = "pow_scalar_grad" (2) -> Same use "math" {
        float: "select(b * (bitcast<f32>(params.s0) * pow_f32(a, bitcast<f32>(params.s0) - 1.0)), 0.0, \
                (params.s0 & 0x7fffffffu) == 0u)",
    }
    /// The gradient of `a / b` to `b`: `-c a / b^2`; operands a, b, dy.
    DIV_GRAD = "div_grad" (3) -> Same { float: "-c * ((a / b) / b)" }
    /// The gradient of `a ^ b` to `a`: `c b a^(b - 1)`; operands a, b, dy. 0 where `b` is 0.
    POW_GRAD_BASE = "pow_grad_base" (3) -> Same use "math" {
        float: "select(c * (b * pow_f32(a, b - 1.0)), 0.0, b == 0.0)",
    }
    /// The gradient of `a ^ b` to `b`: `c a^b log(a)`; operands a, b, dy. `0 c` where `a` is 0 and `b` is not negative.
    POW_GRAD_EXPONENT = "pow_grad_exponent" (3) -> Same use "math" {
        float: "c * select(pow_f32(a, b) * log_f32(a), 0.0, a == 0.0 && b >= 0.0)",
    }
    /// The gradient of `maximum(a, b)` to `a`: `c` where `a > b` or either is NaN, half of it where they are equal, else 0;
    /// operands a, b, dy. For `b`, swap the two.
    MAXIMUM_GRAD = "maximum_grad" (3) -> Same use "float" {
        float: "select(select(0.0, 0.5 * c, a == b), c, a > b || is_nan(a) || is_nan(b))",
    }
    /// The gradient of `minimum(a, b)` to `a`: `c` where `a < b` or either is NaN, half of it where they are equal, else 0;
    /// operands a, b, dy. For `b`, swap the two.
    MINIMUM_GRAD = "minimum_grad" (3) -> Same use "float" {
        float: "select(select(0.0, 0.5 * c, a == b), c, a < b || is_nan(a) || is_nan(b))",
    }
}
