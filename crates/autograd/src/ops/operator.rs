//! `&a + &b` and the other operators. As indexing does, they panic where the shapes do not fit; the methods are the
//! checked twins.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::error::Result;
use crate::var::Var;

#[track_caller]
#[allow(clippy::panic)] // An operator cannot return an error. Where one is possible, its method is to be called.
fn checked(result: Result<Var>) -> Var {
    match result {
        Ok(var) => var,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident),*) => {
        $(impl $trait<&Var> for &Var {
            type Output = Var;

            #[track_caller]
            fn $method(self, other: &Var) -> Var {
                checked(Var::$method(self, other))
            }
        })*
    };
}
operators!(Add add, Sub sub, Mul mul, Div div);

impl Neg for &Var {
    type Output = Var;

    #[track_caller]
    fn neg(self) -> Var {
        checked(Var::neg(self))
    }
}
