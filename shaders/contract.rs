//! The contraction kernels' variants and parameters: matrix products and convolutions in all directions.
//!
//! `part/contract.wgsl` says what is computed; `contract_lanes` and `contract_tile` are two tile loops for it.

use crate::Kernel;
use crate::launch::params;

/// How an index of the contraction becomes an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Matrices with any strides.
    Dense = 0,
    /// B is an image, read through windows: convolution forward and weight gradient.
    Patches = 1,
    /// B is the gradient of windows' results: the data gradient.
    Scatter = 2,
    /// The same for a stride of 1.
    UnitScatter = 3,
}

/// Which bias is added to a finished sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bias {
    /// None.
    None = 0,
    /// One per row of C: a convolution's.
    Row = 1,
    /// One per column of C: a fully connected layer's.
    Column = 2,
}

/// The tile loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loop {
    /// One subgroup of 8 lanes owns `8 * blocks` rows (1, 2 or 4 blocks) by 32 columns: for software adapters.
    Lanes {
        /// Blocks of eight rows.
        blocks: u32,
    },
    /// 256 invocations own 64 by 64 and share workgroup memory: for GPUs.
    Tile {
        /// Whether A's neighbours in memory are neighbours along k, not along rows.
        a_along_k: bool,
        /// Whether B's neighbours in memory are neighbours along k, not along columns.
        b_along_k: bool,
    },
}

impl Loop {
    /// Rows and columns of C that a workgroup owns.
    pub const fn tile(self) -> (usize, usize) {
        match self {
            Loop::Lanes { blocks } => (8 * blocks as usize, 32),
            Loop::Tile { .. } => (64, 64),
        }
    }
}

params! {
    /// Parameters of `part/contract.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "contract_lanes" "contract_tile" pub struct Params {
        pub m: u32,
        pub n: u32,
        pub k: u32,
        pub batches: u32,
        pub splits: u32,
        pub split_k: u32,
        pub a_offset: u32,
        pub a_batch: u32,
        pub a_row: u32,
        pub a_k: u32,
        pub b_offset: u32,
        pub b_batch: u32,
        pub b_k: u32,
        pub b_column: u32,
        pub c_offset: u32,
        pub c_batch: u32,
        pub c_row: u32,
        pub c_outer: u32,
        pub inner: u32,
        pub bias_offset: u32,
        pub k_rows: u32,
        pub k_columns: u32,
        pub column_rows: u32,
        pub column_columns: u32,
        pub height: u32,
        pub width: u32,
        pub k_step_y: u32,
        pub k_step_x: u32,
        pub column_step_y: u32,
        pub column_step_x: u32,
        pub pad_y: u32,
        pub pad_x: u32,
    }
}

/// The kernel of a loop, a mode, a bias, and whether negative results become 0. Operands and result are each f32 or f16; the
/// parts of a split sum stay in f32.
pub fn kernel(tiles: Loop, mode: Mode, bias: Bias, relu: bool, f16: bool, f16_result: bool) -> Kernel {
    let kernel = match tiles {
        Loop::Lanes { blocks } => Kernel::new("contract_lanes").constant("BLOCKS", blocks),
        Loop::Tile { a_along_k, b_along_k } => {
            Kernel::new("contract_tile").constant("A_ALONG_K", a_along_k).constant("B_ALONG_K", b_along_k)
        }
    };
    kernel
        .constant("MODE", mode as u32)
        .constant("BIAS", bias as u32)
        .constant("RELU", relu)
        .alias("T", if f16 { "f16" } else { "f32" })
        .alias("C", if f16_result { "f16" } else { "f32" })
}

/// Every variant that the library can ask for.
pub(crate) fn variants() -> Vec<Kernel> {
    let mut loops: Vec<Loop> = [1, 2, 4].map(|blocks| Loop::Lanes { blocks }).to_vec();
    for a_along_k in [false, true] {
        loops.extend([false, true].map(|b_along_k| Loop::Tile { a_along_k, b_along_k }));
    }
    let mut variants = Vec::new();
    for tiles in loops {
        for mode in [Mode::Dense, Mode::Patches, Mode::Scatter, Mode::UnitScatter] {
            for bias in [Bias::None, Bias::Row, Bias::Column] {
                for f16 in [false, true] {
                    variants.extend([false, true].map(|relu| kernel(tiles, mode, bias, relu, f16, f16)));
                }
            }
            variants.push(kernel(tiles, mode, Bias::None, false, true, false));
        }
    }
    variants
}
