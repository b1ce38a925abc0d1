//! Every kernel that the library can ask for, as data.

use crate::{
    Kernel, Layout, adaptive_pool, batch_norm, ceiling, class_loss, contract, conv, depthwise, foreach, image,
    interpolate, local_response_norm, matmul, optim, pointwise, pool, random, reduce, softmax, winograd,
};
use std::collections::HashSet;

/// Every variant of every kernel that the library can ask for, each once.
///
/// Tests parse, validate and translate each of them; a kernel file that no variant names fails a test.
pub fn variants() -> Vec<Kernel> {
    // Ops may share a kernel: `floor` of integers is `copy`.
    let mut seen = HashSet::new();
    [
        ceiling::variants(),
        batch_norm::variants(),
        class_loss::variants(),
        contract::variants(),
        conv::variants(),
        depthwise::variants(),
        image::variants(),
        matmul::variants(),
        adaptive_pool::variants(),
        foreach::variants(),
        interpolate::variants(),
        local_response_norm::variants(),
        optim::variants(),
        pointwise::variants(),
        pool::variants(),
        random::variants(),
        reduce::variants(),
        softmax::variants(),
        winograd::variants(),
    ]
    .into_iter()
    .flatten()
    .filter(|kernel| seen.insert(kernel.clone()))
    .collect()
}

/// The layouts of the host's parameter structs, which a test compares with the kernels'.
pub fn layouts() -> Vec<Layout> {
    vec![
        ceiling::CopyParams::LAYOUT,
        ceiling::MultiplyAddParams::LAYOUT,
        batch_norm::BatchNormParams::LAYOUT,
        class_loss::ClassLossParams::LAYOUT,
        contract::Params::LAYOUT,
        conv::ConvGradParams::LAYOUT,
        conv::ConvParams::LAYOUT,
        depthwise::DepthwiseParams::LAYOUT,
        image::AugmentParams::LAYOUT,
        image::NormalizeParams::LAYOUT,
        matmul::MatmulParams::LAYOUT,
        adaptive_pool::AdaptivePoolParams::LAYOUT,
        foreach::PairParams::LAYOUT,
        interpolate::InterpolateParams::LAYOUT,
        local_response_norm::ResponseParams::LAYOUT,
        optim::AdamParams::LAYOUT,
        optim::RmspropParams::LAYOUT,
        optim::SgdParams::LAYOUT,
        pointwise::FlatParams::LAYOUT,
        pointwise::StridedParams::LAYOUT,
        pool::PoolParams::LAYOUT,
        random::ArangeParams::LAYOUT,
        random::DropoutParams::LAYOUT,
        random::RandomParams::LAYOUT,
        reduce::ReduceParams::LAYOUT,
        softmax::CrossEntropyGradParams::LAYOUT,
        softmax::CrossEntropyParams::LAYOUT,
        softmax::SoftmaxGradParams::LAYOUT,
        softmax::SoftmaxParams::LAYOUT,
        winograd::ImageParams::LAYOUT,
        winograd::WeightGradParams::LAYOUT,
        winograd::WeightParams::LAYOUT,
    ]
}
