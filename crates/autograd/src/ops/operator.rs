//! `&a + &b`, `a * 2.0` and the other operators. As indexing does, they panic where the operands do not fit; the methods are the
//! checked twins.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::error::Result;
use crate::var::Var;

#[track_caller]
#[allow(clippy::panic)] // An operator cannot return an error. Where one is possible, its method is to be called.
fn checked(result: Result<Var>) -> Var {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operator {
    ($trait:ident $method:ident: $left:ty, $right:ty => $compute:expr) => {
        impl $trait<$right> for $left {
            type Output = Var;

            /// # Panics
            /// Where the checked method returns an error: shapes that do not broadcast, types that differ.
            #[track_caller]
            fn $method(self, other: $right) -> Var {
                checked($compute(&self, &other))
            }
        }
    };
}

/// An operator of owned and borrowed operands, and of a number behind it.
macro_rules! operators {
    ($($trait:ident $method:ident, $number:expr;)*) => {$(
        operator!($trait $method: &Var, &Var => Var::$method);
        operator!($trait $method: &Var, Var => Var::$method);
        operator!($trait $method: Var, &Var => Var::$method);
        operator!($trait $method: Var, Var => Var::$method);
        operator!($trait $method: &Var, f64 => $number);
        operator!($trait $method: Var, f64 => $number);
    )*};
}

/// An operator of a number and what is behind it.
macro_rules! operators_of_numbers {
    ($($trait:ident $method:ident, $compute:expr;)*) => {$(
        operator!($trait $method: f64, &Var => $compute);
        operator!($trait $method: f64, Var => $compute);
    )*};
}

operators! {
    Add add, |x: &Var, value: &f64| x.add_scalar(*value);
    Sub sub, |x: &Var, value: &f64| x.add_scalar(-value);
    Mul mul, |x: &Var, value: &f64| x.mul_scalar(*value);
    Div div, |x: &Var, value: &f64| x.div_scalar(*value);
}
operators_of_numbers! {
    Add add, |value: &f64, x: &Var| x.add_scalar(*value);
    Sub sub, |value: &f64, x: &Var| Var::neg(x)?.add_scalar(*value);
    Mul mul, |value: &f64, x: &Var| x.mul_scalar(*value);
}

macro_rules! negation {
    ($($operand:ty),*) => {$(
        impl Neg for $operand {
            type Output = Var;

            /// # Panics
            /// Where the method of the same name returns an error.
            #[track_caller]
            fn neg(self) -> Var {
                checked(Var::neg(&self))
            }
        }
    )*};
}
negation!(&Var, Var);
