//! The general tiled product: any strides, any window, any adapter.
//!
//! An op describes its [`Problem`]; the tile loop and the number of parts that k is cut into follow from it.

use kiln_gpu::{Binding, Device};
use kiln_shaders::contract::{Bias, Loop, Mode, Params, kernel};

use super::{lanes, splits};
use crate::dtype::DType;
use crate::error::Result;
use crate::launch::launch;
use crate::plan::{Algorithm, note};
use crate::tensor::Tensor;

/// `C[z][m][n] = sum over k of A[z][m][k] B[z][k][n]`, with the addresses of `shaders/part/contract.wgsl` in `params`. Offsets are
/// counted from each tensor's first element.
pub(crate) struct Problem<'a> {
    pub(crate) op: &'static str,
    pub(crate) mode: Mode,
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
    pub(crate) bias: Option<(&'a Tensor, Bias)>,
    pub(crate) relu: bool,
    pub(crate) params: Params,
    /// Whether neighbours in memory are neighbours along k.
    pub(crate) a_along_k: bool,
    pub(crate) b_along_k: bool,
}

/// How a problem is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    tiles: Loop,
    splits: u32,
}

fn plan(device: &Device, problem: &Problem<'_>) -> Plan {
    let tiles = if lanes(device) {
        let blocks = match problem.params.m {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        };
        Loop::Lanes { blocks }
    } else {
        Loop::Tile { a_along_k: problem.a_along_k, b_along_k: problem.b_along_k }
    };
    Plan { tiles, splits: splits(device, groups(tiles, &problem.params), problem.params.k) }
}

fn groups(tiles: Loop, params: &Params) -> u64 {
    let (rows, columns) = tiles.tile();
    u64::from(params.m).div_ceil(rows as u64) * u64::from(params.n).div_ceil(columns as u64) * u64::from(params.batches)
}

/// Runs a problem whose result is laid out as `params` say, into `out`.
pub(crate) fn contract_into(problem: &Problem<'_>, out: &Tensor) -> Result<()> {
    let plan = Plan { splits: 1, ..plan(out.device(), problem) };
    run(problem, out, plan)
}

/// Runs a problem whose result is dense, `[batches, m, n]`. Where k is very long, or one workgroup per tile would
/// leave the adapter idle, k is cut into parts whose results are then summed in order.
pub(crate) fn contract(problem: &Problem<'_>) -> Result<Tensor> {
    let Params { m, n, batches, .. } = problem.params;
    let device = problem.a.device();
    let mut plan = plan(device, problem);
    if problem.bias.is_some() || problem.relu {
        plan.splits = 1;
    }
    let parts = batches as usize * plan.splits as usize;
    let dtype = if plan.splits > 1 { DType::F32 } else { problem.a.dtype() };
    let out = Tensor::empty(device, [parts, m as usize, n as usize], dtype, problem.op)?;
    let dense = Problem {
        params: Params { c_batch: m * n, c_row: n, c_outer: 0, inner: n.max(1), ..problem.params },
        ..*problem
    };
    run(&dense, &out, plan)?;
    if plan.splits == 1 {
        return Ok(out);
    }
    let parts = out.reshape([batches as usize, plan.splits as usize, m as usize, n as usize])?;
    parts.sum(&[1], false)?.to_dtype(problem.a.dtype())
}

fn run(problem: &Problem<'_>, out: &Tensor, plan: Plan) -> Result<()> {
    let (a, b, c) = (problem.a.window(), problem.b.window(), out.window());
    let bias = problem.bias.map(|(bias, place)| (bias.window(), place));
    let params = Params {
        splits: plan.splits,
        split_k: problem.params.k.div_ceil(plan.splits).next_multiple_of(4),
        a_offset: a.offset,
        b_offset: b.offset,
        c_offset: c.offset,
        bias_offset: bias.map_or(0, |(window, _)| window.offset),
        ..problem.params
    };
    let (rows, columns) = plan.tiles.tile();
    note(out.device(), Algorithm::Tiles, Some([rows, columns]), plan.splits);
    let place = bias.map_or(Bias::None, |(_, place)| place);
    let f16 = [problem.a, out].map(|tensor| tensor.dtype() == DType::F16);
    let kernel = kernel(plan.tiles, problem.mode, place, problem.relu, f16[0], f16[1]);
    let bindings: [Binding<'_>; 4] = [a.binding, b.binding, c.binding, bias.map_or(c.binding, |(w, _)| w.binding)];
    launch(out.device(), &kernel, &bindings, &params, groups(plan.tiles, &params) * u64::from(plan.splits))
}
