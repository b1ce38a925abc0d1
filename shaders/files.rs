//! The embedded WGSL files. A new kernel or part is one more line here.

macro_rules! embed {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($folder, $name, ".wgsl")))),*]
    };
}

/// The kernels: `shaders/{name}.wgsl`.
pub(crate) const KERNELS: &[(&str, &str)] = embed!["":
    "adam",
    "arange",
    "avg_pool",
    "avg_pool_grad",
    "contract_lanes",
    "contract_tile",
    "cross_entropy",
    "cross_entropy_grad",
    "dropout",
    "max_pool",
    "max_pool_grad",
    "pointwise",
    "pointwise_strided",
    "random",
    "reduce",
    "sgd",
    "softmax",
    "softmax_grad",
];

/// The parts: `shaders/part/{name}.wgsl`.
pub(crate) const PARTS: &[(&str, &str)] = embed!["part/":
    "average",
    "bytes",
    "cascade",
    "contract",
    "float",
    "index",
    "math",
    "momentum",
    "no_momentum",
    "philox",
    "row_single",
    "row_tree",
    "segments",
    "segments1",
    "segments3",
    "segments7",
    "segments13",
    "single",
    "tree",
    "window",
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
