//! `&a + &b`, `a * 2.0` and the other operators. As indexing does, they panic where the operands do not fit; the methods are the
//! checked twins.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::error::Result;
use crate::tensor::Tensor;

#[track_caller]
#[allow(clippy::panic)] // An operator cannot return an error. Where one is possible, its method is to be called.
fn checked(result: Result<Tensor>) -> Tensor {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operator {
    ($trait:ident $method:ident: $left:ty, $right:ty => $compute:expr) => {
        impl $trait<$right> for $left {
            type Output = Tensor;

            /// # Panics
            /// Where the checked method returns an error: shapes that do not broadcast, types that differ.
            #[track_caller]
            fn $method(self, other: $right) -> Tensor {
                checked($compute(&self, &other))
            }
        }
    };
}

/// An operator of owned and borrowed operands, and of a number behind it.
macro_rules! operators {
    ($($trait:ident $method:ident, $number:expr;)*) => {$(
        operator!($trait $method: &Tensor, &Tensor => Tensor::$method);
        operator!($trait $method: &Tensor, Tensor => Tensor::$method);
        operator!($trait $method: Tensor, &Tensor => Tensor::$method);
        operator!($trait $method: Tensor, Tensor => Tensor::$method);
        operator!($trait $method: &Tensor, f64 => $number);
        operator!($trait $method: Tensor, f64 => $number);
    )*};
}

/// An operator of a number and what is behind it.
macro_rules! operators_of_numbers {
    ($($trait:ident $method:ident, $compute:expr;)*) => {$(
        operator!($trait $method: f64, &Tensor => $compute);
        operator!($trait $method: f64, Tensor => $compute);
    )*};
}

operators! {
    Add add, |x: &Tensor, value: &f64| x.add_scalar(*value);
    Sub sub, |x: &Tensor, value: &f64| x.add_scalar(-value);
    Mul mul, |x: &Tensor, value: &f64| x.mul_scalar(*value);
    Div div, |x: &Tensor, value: &f64| x.div_scalar(*value);
}
operators_of_numbers! {
    Add add, |value: &f64, x: &Tensor| x.add_scalar(*value);
    Sub sub, |value: &f64, x: &Tensor| Tensor::neg(x)?.add_scalar(*value);
    Mul mul, |value: &f64, x: &Tensor| x.mul_scalar(*value);
}

macro_rules! negation {
    ($($operand:ty),*) => {$(
        impl Neg for $operand {
            type Output = Tensor;

            /// # Panics
            /// Where the method of the same name returns an error.
            #[track_caller]
            fn neg(self) -> Tensor {
                checked(Tensor::neg(&self))
            }
        }
    )*};
}
negation!(&Tensor, Tensor);
