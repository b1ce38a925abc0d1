//! The dense product for software adapters, where both operands can be read by four: `matmul_lanes`.

use crate::launch::params;
use crate::{Kernel, Launch};

params! {
    /// Parameters of `matmul_lanes.wgsl`, where each field is explained.
    #[allow(missing_docs)]
    "matmul_lanes" pub struct MatmulParams {
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
        pub b_column: u32,
        pub b_k: u32,
        pub c_offset: u32,
        pub c_batch: u32,
        pub c_row: u32,
        pub sums_offset: u32,
        pub bias: u32,
        pub bias_offset: u32,
        pub rest: u32,
        pub rest_offset: u32,
        pub relu: u32,
    }
}

/// Where the kernel finds neighbours by four, and what else it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quads {
    /// A's neighbours in memory are neighbours along k, not along rows.
    pub a_along_k: bool,
    /// B's neighbours in memory are neighbours along k, not along columns.
    pub b_along_k: bool,
    /// Four columns of C can be stored at once.
    pub c: bool,
    /// The sums of A's rows are wanted, whose neighbours lie along rows then.
    pub row_sums: bool,
    /// The rows that a workgroup owns where there are enough: 32, or 16. In place of 16 they are 24 where A's neighbours lie
    /// along k, B's do not, and 24 leave little more empty.
    pub rows: u32,
}

impl Quads {
    /// Blocks of eight rows that a workgroup owns, for a product of `m` rows.
    fn blocks(self, m: usize) -> usize {
        let padded = |blocks: usize| m.next_multiple_of(8 * blocks);
        // What 24 rows bring in steps of two terms, on Zen 3: 1.08 of the rate.
        let three = self.a_along_k && !self.b_along_k && 100 * padded(3) <= 108 * padded(2);
        match m {
            0..=8 if self.a_along_k => 1,
            9..=16 if self.a_along_k => 2,
            _ if self.rows == 32 => 4,
            _ if three => 3,
            _ => 2,
        }
    }
}

/// Workgroups of one part of k, for a product of these sizes.
pub fn groups(quads: Quads, m: usize, n: usize, batches: usize) -> u64 {
    (m.div_ceil(8 * quads.blocks(m)) * n.div_ceil(32) * batches) as u64
}

fn kernel(quads: Quads, blocks: usize, operand: &'static str, result: &'static str, int64: bool) -> Kernel {
    Kernel::new("matmul_lanes")
        .part(if int64 { "quads_u64" } else { "quads" })
        .part(if int64 { "a_pair_u64" } else { "a_pair" })
        .part(if quads.b_along_k { "step_k" } else { "step_columns" })
        .constant("BLOCKS", blocks as u32)
        .constant("A_ALONG_K", quads.a_along_k)
        .constant("B_ALONG_K", quads.b_along_k)
        .constant("C_QUADS", quads.c)
        .constant("ROW_SUMS", quads.row_sums)
        .alias("T", operand)
        .alias("C", result)
}

/// The product as a launch. Operands and result are each f32 or f16; the parts of a split sum stay in f32. `int64`: the device
/// has 64-bit integers.
pub fn launch(params: &MatmulParams, quads: Quads, f16: bool, f16_result: bool, int64: bool) -> Launch {
    let name = |f16| if f16 { "f16" } else { "f32" };
    let [m, n, batches] = [params.m, params.n, params.batches].map(|size| size as usize);
    let kernel = kernel(quads, quads.blocks(m), name(f16), name(f16_result), int64 && !f16);
    Launch::new(kernel, params, groups(quads, m, n, batches) * u64::from(params.splits))
}

pub(crate) fn variants() -> Vec<Kernel> {
    let mut variants = Vec::new();
    let shapes = [(true, 1), (true, 2), (true, 3), (true, 4), (false, 2), (false, 4)];
    for ((a_along_k, blocks), b_along_k) in shapes.iter().flat_map(|shape| [false, true].map(|b| (*shape, b))) {
        if blocks == 3 && b_along_k {
            continue;
        }
        for (c, row_sums) in [(false, false), (true, false), (false, true), (true, true)] {
            if row_sums && a_along_k {
                continue;
            }
            for (operand, result) in [("f32", "f32"), ("f16", "f16"), ("f16", "f32")] {
                let quads = Quads { a_along_k, b_along_k, c, row_sums, rows: 32 };
                variants.push(kernel(quads, blocks, operand, result, false));
                if operand == "f32" {
                    variants.push(kernel(quads, blocks, operand, result, true));
                }
            }
        }
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_workgroup_follow_from_those_of_the_product() {
        let quads = Quads { a_along_k: true, b_along_k: false, c: true, row_sums: false, rows: 16 };
        let blocks = |quads: Quads| [8, 16, 20, 64, 70, 128, 192, 1024].map(|m| quads.blocks(m));
        assert_eq!(blocks(quads), [1, 2, 3, 2, 3, 2, 3, 3]);
        assert_eq!(blocks(Quads { b_along_k: true, ..quads }), [1, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(blocks(Quads { a_along_k: false, ..quads }), [2; 8]);
        assert_eq!(blocks(Quads { rows: 32, ..quads }), [1, 2, 4, 4, 4, 4, 4, 4]);
    }
}
