//! Problems as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dtype::DType;
use crate::ops::conv::Conv2dOptions;

/// Which of a convolution's three products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The result.
    Forward,
    /// The gradient with respect to the input.
    InputGrad,
    /// The gradient with respect to the weight.
    WeightGrad,
}

/// A convolution or product, as far as the choice of its algorithm depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Problem {
    /// A convolution in one direction.
    Conv2d {
        /// Which of its products.
        direction: Direction,
        /// The operands' type.
        dtype: DType,
        /// `[batch, channels, height, width]`.
        input: [usize; 4],
        /// `[out_channels, channels / groups, kernel height, kernel width]`.
        weight: [usize; 4],
        /// Stride, padding, dilation, groups.
        options: Conv2dOptions,
    },
    /// `C[m, n] = sum over k of A[m, k] B[k, n]`, in `batches`.
    Product {
        /// The operands' type.
        dtype: DType,
        /// How many products.
        batches: usize,
        /// Rows of the result.
        m: usize,
        /// Columns of the result.
        n: usize,
        /// Terms of each sum.
        k: usize,
        /// Whether A's neighbours in memory are neighbours along k, not along rows.
        a_along_k: bool,
        /// Whether B's neighbours in memory are neighbours along k, not along columns.
        b_along_k: bool,
    },
}

/// `forward 3x3 64-128 56x56 n8 s2 p1 f32`, and `product 8x4096x9216 tn f32`, where `t` marks a side that is stored transposed.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Problem::Conv2d { direction, dtype, input: [n, c, h, w], weight: [k, _, r, s], options } => {
                let direction = match direction {
                    Direction::Forward => "forward",
                    Direction::InputGrad => "input grad",
                    Direction::WeightGrad => "weight grad",
                };
                let Conv2dOptions { stride, padding, dilation, groups } = options;
                write!(f, "{direction} {r}x{s} {c}-{k} {h}x{w} n{n}")?;
                for (letter, [y, x], plain) in [('s', stride, 1), ('p', padding, 0), ('d', dilation, 1)] {
                    match (y == x, y == plain) {
                        (true, true) => {}
                        (true, false) => write!(f, " {letter}{y}")?,
                        (false, _) => write!(f, " {letter}{y}x{x}")?,
                    }
                }
                if groups > 1 {
                    write!(f, " g{groups}")?;
                }
                write!(f, " {dtype}")
            }
            Problem::Product { dtype, batches, m, n, k, a_along_k, b_along_k } => {
                let layout = |plain: bool| if plain { 'n' } else { 't' };
                write!(f, "product {m}x{n}x{k} {}{}", layout(a_along_k), layout(!b_along_k))?;
                if batches > 1 {
                    write!(f, " of {batches}")?;
                }
                write!(f, " {dtype}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named_shortly() {
        let options = Conv2dOptions { stride: [2, 2], padding: [1, 0], groups: 2, ..Conv2dOptions::default() };
        let (direction, dtype) = (Direction::InputGrad, DType::F16);
        let conv = Problem::Conv2d { direction, dtype, input: [8, 64, 56, 28], weight: [128, 32, 3, 5], options };
        assert_eq!(conv.to_string(), "input grad 3x5 64-128 56x28 n8 s2 p1x0 g2 f16");
        let (dtype, batches) = (DType::F32, 1);
        let product = Problem::Product { dtype, batches, m: 8, n: 4, k: 2, a_along_k: true, b_along_k: true };
        assert_eq!(product.to_string(), "product 8x4x2 nt f32");
    }
}
