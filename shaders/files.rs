//! The embedded WGSL files. A new kernel or part is one more line here.

macro_rules! embed {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($folder, $name, ".wgsl")))),*]
    };
}

/// The kernels: `shaders/{name}.wgsl`.
pub(crate) const KERNELS: &[(&str, &str)] = embed!["":
    "adam",
    "adaptive_pool",
    "adaptive_pool_grad",
    "arange",
    "augment_image",
    "avg_pool",
    "avg_pool_grad",
    "batch_norm",
    "batch_norm_combine",
    "batch_norm_grad",
    "batch_norm_grad_sums",
    "batch_norm_stats",
    "class_loss",
    "class_loss_grad",
    "contract_lanes",
    "contract_tile",
    "conv_grad_lanes",
    "conv_lanes",
    "copy_quads",
    "cross_entropy",
    "cross_entropy_grad",
    "depthwise",
    "depthwise_any",
    "depthwise_input_grad",
    "depthwise_input_grad_any",
    "depthwise_weight_grad",
    "depthwise_weight_grad_any",
    "dropout",
    "foreach",
    "matmul_lanes",
    "local_response_norm",
    "local_response_norm_grad",
    "max_pool",
    "max_pool_grad",
    "max_pool_grad_pairs",
    "max_pool_pairs",
    "multiply_add",
    "normalize_image",
    "pointwise",
    "pointwise_strided",
    "random",
    "reduce",
    "rmsprop",
    "sgd",
    "softmax",
    "softmax_grad",
    "square_sums",
    "winograd_input",
    "winograd_output",
    "winograd_weight",
    "winograd_weight_grad",
];

/// The parts: `shaders/part/{name}.wgsl`.
pub(crate) const PARTS: &[(&str, &str)] = embed!["part/":
    "adaptive",
    "affine",
    "average",
    "bytes",
    "cascade",
    "chain2",
    "chain3",
    "chain4",
    "chain5",
    "channels",
    "class",
    "contract",
    "depthwise",
    "epilogue",
    "float",
    "index",
    "kernel_rows",
    "math",
    "moments",
    "momentum",
    "no_affine",
    "no_momentum",
    "normal",
    "normalised",
    "pairs",
    "philox",
    "pixel_row",
    "quads",
    "quads_u64",
    "response",
    "row_single",
    "row_tree",
    "rows",
    "segments",
    "segments1",
    "segments3",
    "segments7",
    "segments13",
    "single",
    "taps",
    "tile_quads",
    "tile_quads_u64",
    "single_narrow",
    "tree",
    "unpack",
    "weights3",
    "window",
    "winograd2",
    "winograd2_block",
    "winograd2_load",
    "winograd2_out",
    "winograd2_store",
    "winograd2_window",
    "winograd4",
    "winograd4_block",
    "winograd4_load",
    "winograd4_out",
    "winograd4_store",
    "winograd4_window",
    "winograd_backward",
    "winograd_forward",
    "winograd_params",
    "winograd_pixel",
];

pub(crate) fn kernel(name: &str) -> Option<&'static str> {
    KERNELS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

pub(crate) fn part(name: &str) -> Option<(&'static str, &'static str)> {
    PARTS.iter().find(|(known, _)| *known == name).copied()
}

/// The names in a table, for messages.
pub(crate) fn names(table: &[(&str, &str)]) -> String {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
