//! The parity tests: every public op against an f64 reference, against finite differences and against values that
//! PyTorch recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary has no outside; the reference keeps the whole vocabulary whether or not a row uses all of it.
#![allow(missing_docs, unreachable_pub, dead_code)]

use kiln_tensor::plan::Algorithm;

mod coverage;
mod large;
mod non_finite;
mod recorded;
mod reference;
mod row;
mod rows;
mod run;
mod tolerance;

/// One test per family of rows, so that they run side by side, and the table of all.
macro_rules! families {
    ($($family:ident),* $(,)?) => {
        $(#[test]
        fn $family() {
            run::run(stringify!($family), &rows::$family::rows());
        })*

        fn table() -> Vec<row::Row> {
            [$(rows::$family::rows()),*].into_iter().flatten().collect()
        }
    };
}

families!(
    view,
    unary,
    binary,
    create,
    reduce,
    matmul,
    conv,
    conv_transpose,
    pool,
    softmax,
    norm,
    activation,
    elementwise_loss,
    class_loss,
    adaptive_pool,
    interpolate,
    local_response_norm,
    random,
    gradient,
    image,
    optim
);

#[test]
fn conv_pinned() {
    run::run_pinned("conv", &rows::conv::rows(), |_| true);
}

#[test]
fn matmul_pinned() {
    run::run_pinned("matmul", &rows::matmul::rows(), |algorithm| {
        matches!(algorithm, Algorithm::Tiles | Algorithm::Tile(_) | Algorithm::Cooperative | Algorithm::Quads)
    });
}
