//! The contraction kernels' variants and parameters: matrix products and convolutions in all directions.
//!
//! `part/contract.wgsl` says what is computed; `contract_lanes`, `contract_tile` and `contract_cooperative` are loops for it.

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

/// The tile of a workgroup on a GPU, rows by columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileSize {
    /// 128 by 128: the fewest loads for a multiplication.
    T128x128,
    /// 64 by 128, for few rows.
    T64x128,
    /// 64 by 64.
    T64x64,
    /// 32 by 128, for fewer rows still.
    T32x128,
    /// 32 by 32, of a quarter of the others' invocations: for small results.
    T32x32,
}

impl TileSize {
    /// Every size.
    pub const ALL: [TileSize; 5] =
        [TileSize::T128x128, TileSize::T64x128, TileSize::T64x64, TileSize::T32x128, TileSize::T32x32];

    /// Rows and columns.
    pub const fn extent(self) -> [usize; 2] {
        let (blocks, threads, _) = self.shape();
        [4 * (blocks[0] * threads[0]) as usize, 4 * (blocks[1] * threads[1]) as usize]
    }

    /// Invocations of a workgroup.
    pub const fn threads(self) -> usize {
        let (_, [y, x], _) = self.shape();
        (y * x) as usize
    }

    /// Squares of 4 by 4 that an invocation owns, the invocations, each down and across, and the ks of a step. Two steps of both
    /// operands fill at most 16 KiB.
    const fn shape(self) -> ([u32; 2], [u32; 2], u32) {
        match self {
            TileSize::T128x128 => ([2, 2], [16, 16], 8),
            TileSize::T64x128 => ([1, 2], [16, 16], 8),
            TileSize::T64x64 => ([1, 1], [16, 16], 16),
            TileSize::T32x128 => ([1, 1], [8, 32], 8),
            TileSize::T32x32 => ([1, 1], [8, 8], 8),
        }
    }
}

/// How an operand is read into a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// Neighbours in memory are neighbours along k, not along rows or columns.
    pub along_k: bool,
    /// Four neighbours at a time.
    pub quads: bool,
}

/// What a GPU's loop does with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory {
    /// How A is read.
    pub a: Access,
    /// How B is read.
    pub b: Access,
    /// Four columns of C are written at a time.
    pub c_quads: bool,
}

/// Matrices that a GPU multiplies as a whole, with sums in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatrixUnit {
    /// 16 by 16 of f16.
    Half16,
    /// 8 by 8 of f16.
    Half8,
    /// 8 by 8 of f32.
    Single8,
}

impl MatrixUnit {
    /// Every unit, the best first.
    pub const ALL: [MatrixUnit; 3] = [MatrixUnit::Half16, MatrixUnit::Half8, MatrixUnit::Single8];

    /// Rows and columns of its matrices.
    pub const fn side(self) -> u32 {
        match self {
            MatrixUnit::Half16 => 16,
            MatrixUnit::Half8 | MatrixUnit::Single8 => 8,
        }
    }

    /// Whether operands are rounded to f16.
    pub const fn f16(self) -> bool {
        !matches!(self, MatrixUnit::Single8)
    }
}

/// The tile loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loop {
    /// One subgroup of 8 lanes owns `8 * blocks` rows (1, 2 or 4 blocks) by 32 columns: for software adapters.
    Lanes {
        /// Blocks of eight rows.
        blocks: u32,
    },
    /// Invocations share workgroup memory: for GPUs, and for any adapter at the smallest limits.
    Tile {
        /// What a workgroup owns.
        size: TileSize,
        /// How it reads and writes.
        memory: Memory,
    },
    /// The same with matrix units, which own eight of their sides down and across.
    Cooperative {
        /// What is multiplied as a whole.
        unit: MatrixUnit,
        /// How it reads and writes.
        memory: Memory,
    },
}

impl Loop {
    /// Rows and columns of C that a workgroup owns.
    pub const fn tile(self) -> [usize; 2] {
        match self {
            Loop::Lanes { blocks } => [8 * blocks as usize, 32],
            Loop::Tile { size, .. } => size.extent(),
            Loop::Cooperative { unit, .. } => [8 * unit.side() as usize; 2],
        }
    }
}

params! {
    /// Parameters of `part/contract.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "contract_cooperative" "contract_lanes" "contract_tile" pub struct Params {
        pub m: u32,
        pub n: u32,
        pub k: u32,
        pub batches: u32,
        pub splits: u32,
        pub finish: u32,
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

/// `Params::finish`: which bias is added, and whether what is then negative becomes 0.
pub fn finish(bias: Bias, relu: bool) -> u32 {
    bias as u32 + if relu { 4 } else { 0 }
}

/// The kernel of a loop and a mode. Operands and result are each f32 or f16; the parts of a split sum stay in f32.
pub fn kernel(tiles: Loop, mode: Mode, f16: bool, f16_result: bool) -> Kernel {
    let kernel = match tiles {
        Loop::Lanes { blocks } => Kernel::new("contract_lanes").constant("BLOCKS", blocks),
        Loop::Tile { size, memory } => {
            let ([block_rows, block_columns], [threads_y, threads_x], depth) = size.shape();
            operands(Kernel::new("contract_tile"), memory)
                .constant("BLOCK_ROWS", block_rows)
                .constant("BLOCK_COLUMNS", block_columns)
                .constant("THREADS_Y", threads_y)
                .constant("THREADS_X", threads_x)
                .constant("DEPTH", depth)
        }
        Loop::Cooperative { unit, memory } => {
            let [element, a, b, c] = match unit {
                MatrixUnit::Half16 => {
                    ["f16", "coop_mat16x16<f16, A>", "coop_mat16x16<f16, B>", "coop_mat16x16<f32, C>"]
                }
                MatrixUnit::Half8 => ["f16", "coop_mat8x8<f16, A>", "coop_mat8x8<f16, B>", "coop_mat8x8<f32, C>"],
                MatrixUnit::Single8 => ["f32", "coop_mat8x8<f32, A>", "coop_mat8x8<f32, B>", "coop_mat8x8<f32, C>"],
            };
            operands(Kernel::new("contract_cooperative"), memory)
                .constant("SIDE", unit.side())
                .alias("E", element)
                .alias("MatrixA", a)
                .alias("MatrixB", b)
                .alias("MatrixC", c)
        }
    };
    kernel
        .constant("MODE", mode as u32)
        .alias("T", if f16 { "f16" } else { "f32" })
        .alias("R", if f16_result { "f16" } else { "f32" })
}

/// The header's items that say how memory is read and written.
fn operands(kernel: Kernel, memory: Memory) -> Kernel {
    kernel
        .part(if memory.a.quads { "a_quads" } else { "a_single" })
        .part(if memory.b.quads { "b_quads" } else { "b_single" })
        .part(if memory.c_quads { "c_quads" } else { "c_single" })
        .constant("A_ALONG_K", memory.a.along_k)
        .constant("A_QUADS", memory.a.quads)
        .constant("B_ALONG_K", memory.b.along_k)
        .constant("B_QUADS", memory.b.quads)
        .constant("C_QUADS", memory.c_quads)
}

impl Memory {
    /// The ways in which a mode's operands can lie, without those that [`Memory::usual`] makes another of.
    fn all(mode: Mode) -> Vec<Memory> {
        let mut ways = Vec::new();
        for bits in 0..16 {
            let [a, b, quads, c_quads] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let access = |along_k| Access { along_k, quads };
            let way = Memory { a: access(a), b: access(b), c_quads }.usual(mode);
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }

    /// What a kernel exists for: of matrices both are read by four or neither, and C is written by four only where both are.
    /// A convolution's image is read one by one: its neighbours begin anywhere. What it reads along k is a weight gradient.
    pub fn usual(self, mode: Mode) -> Memory {
        let Memory { mut a, mut b, c_quads } = self;
        if mode == Mode::Dense {
            let quads = a.quads && b.quads;
            (a.quads, b.quads) = (quads, quads);
            return Memory { a, b, c_quads: c_quads && quads };
        }
        b.quads = false;
        if mode == Mode::Patches {
            a.along_k = true;
        } else {
            b.along_k = false;
            // A weight's neighbours lie along k within a window, of which quads would be parts.
            a.quads &= !a.along_k;
        }
        Memory { a, b, c_quads: false }
    }
}

/// Every variant that the library can ask for.
pub(crate) fn variants() -> Vec<Kernel> {
    let mut variants = Vec::new();
    for mode in [Mode::Dense, Mode::Patches, Mode::Scatter, Mode::UnitScatter] {
        let mut loops: Vec<Loop> = [1, 2, 4].map(|blocks| Loop::Lanes { blocks }).to_vec();
        for memory in Memory::all(mode) {
            loops.extend(TileSize::ALL.map(|size| Loop::Tile { size, memory }));
            loops.extend(MatrixUnit::ALL.map(|unit| Loop::Cooperative { unit, memory }));
        }
        for tiles in loops {
            variants.extend([false, true].map(|f16| kernel(tiles, mode, f16, f16)));
            // Only results without gaps are cut along k.
            if matches!(mode, Mode::Dense | Mode::Patches) {
                variants.push(kernel(tiles, mode, true, false));
            }
        }
    }
    variants
}
